"""Protocols whose k changes during the run: AdaSync, fastest-k of Kas Hanna et al., and ABS that tunes itself."""

from abs_theory.bounds import Constants
from abs_theory.checks import explains_types
from abs_theory.typing import Laws
from simulations.policies import adasync_rule, pflug_rule, self_tuning, switching_times
from simulations.protocols.waiting import abs_sgd, k_async, k_batch_async, k_batch_sync, k_sync
from simulations.protocols.weights import by_staleness
from simulations.server import Protocol

VARIANTS = {"k_sync": k_sync, "k_async": k_async, "k_batch_sync": k_batch_sync, "k_batch_async": k_batch_async}


@explains_types
def adasync(delay: Laws, n: int, k0: int, *, variant: str = "k_async", interval: float = 0.0) -> Protocol:
    """K-async, or another ``variant``, whose k rises greedily from ``k0`` (``policies.adasync_rule``).

    ``variant`` is "k_sync", "k_async", "k_batch_sync" or "k_batch_async".  ``delay`` is the law of a task.

    Round: K-async's, k moves; staleness: mean (n - k) / k; restarts: nobody.
    Source: Dutta, Wang & Joshi (2021, AdaSync, arXiv 2003.10579).
    See also ``staleness_aware_adasync``; ``policies.adasync_rule``, the rule alone.

    >>> from abs_theory.delays import Exponential
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import NoisyQuadratic
    >>> problem = NoisyQuadratic((1.0, 0.5), sigma2=0.1)
    >>> law = Exponential(1.0)
    >>> run = simulate(adasync(law, 3, k0=1), problem, law, 3, step_size=0.1, num_updates=400, seed=0)
    >>> run["k"].iloc[[0, -1]].tolist()
    [1, 3]
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, got {variant!r}")
    return VARIANTS[variant](adasync_rule(delay, n, k0, variant, interval))


@explains_types
def staleness_aware_adasync(delay: Laws, n: int, k0: int, *, interval: float = 0.0) -> Protocol:
    """AdaSync on K-async with each gradient multiplied by 1 / (1 + staleness).

    Round: K-async's, k moves; staleness: mean (n - k) / k; restarts: nobody.
    Source: our reading of the name; no definition of SA-AdaSync, a rival in the ABS paper, is public.
    See also ``adasync``, without the weights.

    >>> from abs_theory.delays import Exponential
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import NoisyQuadratic
    >>> problem = NoisyQuadratic((1.0, 0.5), sigma2=0.1)
    >>> law = Exponential(1.0)
    >>> run = simulate(
    ...     staleness_aware_adasync(law, 3, k0=1), problem, law, 3, step_size=0.1, num_updates=400, seed=0
    ... )
    >>> run["k"].iloc[[0, -1]].tolist()
    [1, 3]
    """
    return k_async(adasync_rule(delay, n, k0, "k_async", interval), by_staleness)


@explains_types
def fastest_k(constants: Constants, step_size: float, delay: Laws, n: int) -> Protocol:
    """K-sync whose k grows at the times that the error bound gives (``policies.switching_times``).

    Round: K-sync's, k moves; staleness: 0; restarts: all late workers.
    Source: Kas Hanna, Bitar, Parag, Dasari & El Rouayheb (2020, ICASSP; arXiv 2208.03134), Theorem 2.
    See also ``fastest_k_pflug``, which needs no constants.

    >>> from abs_theory.delays import Exponential
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import NoisyQuadratic
    >>> problem = NoisyQuadratic((1.0, 0.5), sigma2=0.1)
    >>> law = Exponential(1.0)
    >>> run = simulate(
    ...     fastest_k(problem.constants, 0.1, law, 3), problem, law, 3, step_size=0.1, num_updates=200, seed=0
    ... )
    >>> run["k"].iloc[[0, -1]].tolist()
    [1, 3]
    """
    return k_sync(switching_times(constants, step_size, delay, n))


def fastest_k_pflug(k0: int = 1, raise_by: int = 1, threshold: int = 10, burn_in: int = 10) -> Protocol:
    """K-sync whose k grows when successive steps oppose each other (``policies.pflug_rule``).

    Round: K-sync's, k moves; staleness: 0; restarts: all late workers.
    Source: the statistical heuristic of Kas Hanna et al. (2020, arXiv 2208.03134), after Pflug (1990).
    See also ``fastest_k``, which knows the constants of the problem.

    >>> from abs_theory.delays import Exponential
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import NoisyQuadratic
    >>> problem = NoisyQuadratic((1.0, 0.5), sigma2=0.1)
    >>> law = Exponential(1.0)
    >>> run = simulate(
    ...     fastest_k_pflug(threshold=1, burn_in=1), problem, law, 3, step_size=0.1, num_updates=200, seed=0
    ... )
    >>> run["k"].iloc[[0, -1]].tolist()
    [1, 3]
    """
    return k_sync(pflug_rule(k0, raise_by, threshold, burn_in))


@explains_types
def self_tuning_abs(objective: str = "time", curvature: float | None = None, least_loss: float = 0.0) -> Protocol:
    """ABS whose k and threshold follow from what the server measures during the run (``policies.self_tuning``).

    ``objective`` is "time" or "messages".  It is told nothing about the workers or the problem but the step size, and
    the ``curvature`` along the steps and the ``least_loss`` that can be reached, if these are known.  Without a step
    size, give the run that of the rule: ``step_size=policies.self_tuning().step_size``.

    Round: ABS's, k moves; staleness: at most ``max_staleness``; restarts: workers staler than that.
    Source: our rule, derived in the notebook on self-tuning.
    See also ``abs_sgd``, for a k and a threshold of one's own; ``choose.best``, which computes them.

    >>> from abs_theory.delays import Exponential
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import NoisyQuadratic
    >>> problem = NoisyQuadratic((1.0, 0.5), sigma2=1.0)
    >>> run = simulate(self_tuning_abs(), problem, Exponential(1.0), 8, step_size=0.3, num_updates=400, seed=0)
    >>> run["k"].iloc[0].item(), bool(run["k"].iloc[-1] > 1)
    (1, True)
    """
    tuning = self_tuning(objective, curvature, least_loss)
    return abs_sgd(tuning.k, tuning.max_staleness)
