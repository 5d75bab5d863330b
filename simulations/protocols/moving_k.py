"""Protocols whose k moves: AdaSync, and the fastest k of Kas Hanna et al."""

from abs_theory.bounds import Constants
from abs_theory.typing import Laws
from simulations.policies import ADASYNC, adasync_rule, pflug_rule, switching_times
from simulations.protocols.waiting import k_async, k_batch_async, k_batch_sync, k_sync
from simulations.protocols.weights import by_staleness
from simulations.server import Protocol

VARIANTS = {"k_sync": k_sync, "k_async": k_async, "k_batch_sync": k_batch_sync, "k_batch_async": k_batch_async}


def adasync(delay: Laws, n: int, k0: int, *, variant: str = "k_async", interval: float = 0.0) -> Protocol:
    """K-sync, K-async or one of their batch variants with k raised greedily from ``k0`` (``policies.adasync_rule``).

    Round: K-async's, k moves; staleness: mean (n - k) / k; restarts: nobody.
    Source: Dutta, Wang & Joshi (2021, AdaSync, arXiv 2003.10579).
    """
    if variant not in VARIANTS:
        raise ValueError(f"protocol must be one of {', '.join(ADASYNC)}, got {variant!r}")
    return VARIANTS[variant](adasync_rule(delay, n, k0, variant, interval))


def staleness_aware_adasync(delay: Laws, n: int, k0: int, *, interval: float = 0.0) -> Protocol:
    """AdaSync on K-async with each gradient scaled by 1 / (1 + staleness).

    Round: K-async's, k moves; staleness: mean (n - k) / k; restarts: nobody.
    Source: our reading of the name; no definition of SA-AdaSync, a rival in the ABS paper, is public.
    """
    return k_async(adasync_rule(delay, n, k0, "k_async", interval), by_staleness)


def fastest_k(constants: Constants, step_size: float, delay: Laws, n: int) -> Protocol:
    """K-sync whose k grows at the times at which the error bound asks for one more (``policies.switching_times``).

    Round: K-sync's, k moves; staleness: 0; restarts: all late workers.
    Source: Kas Hanna, Bitar, Parag, Dasari & El Rouayheb (2020, ICASSP; arXiv 2208.03134), Theorem 2.
    """
    return k_sync(switching_times(constants, step_size, delay, n))


def fastest_k_pflug(k0: int = 1, raise_by: int = 1, threshold: int = 10, burn_in: int = 10) -> Protocol:
    """K-sync whose k grows when successive steps oppose each other (``policies.pflug_rule``).

    Round: K-sync's, k moves; staleness: 0; restarts: all late workers.
    Source: the statistical heuristic of Kas Hanna et al. (2020, arXiv 2208.03134), after Pflug (1990).
    """
    return k_sync(pflug_rule(k0, raise_by, threshold, burn_in))
