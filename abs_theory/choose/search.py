"""What to choose: how many workers to wait for, when to restart a worker, and how long a step to take.

Every candidate (k, max_staleness, step size) is one row of a table: seconds and messages per round from the delay law
(``steady_state``), updates to a target or error after a budget from the objective's constants, as expected near a
quadratic (``expected``) or as guaranteed (``bounds``).  Nothing is trained.  A choice is as good as its model is at
*ranking* candidates; the flat part of its curve says how much depends on that, and ``benchmarks/choice.py`` compares it
with training.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from abs_theory.bounds import Constants
from abs_theory.checks import check_k, check_max_staleness, check_nonnegative, check_positive
from abs_theory.choose import candidates
from abs_theory.choose.by_the_clock import Descent, Timetable, exponential, fastest, measured
from abs_theory.choose.candidates import Goal
from abs_theory.choose.result import Choice
from abs_theory.choose.thresholds import fleet_ageing, time_optimal_threshold
from abs_theory.workers import Workers, as_workers

__all__ = ["Choice", "Timetable", "best", "best_k", "time_optimal_threshold", "timetable"]

SEARCH = "search"
MODELS = ("expected", "bound")


def best(  # noqa: PLR0913
    delay: Any,
    n: int,
    constants: Constants,
    *,
    target: float | None = None,
    time_budget: float | None = None,
    objective: str = "time",
    model: str = "expected",
    k: int | Sequence[int] | None = None,
    max_staleness: Any = SEARCH,
    step_size: float | Sequence[float] | None = None,
    round_time: Callable[[int], float] | ArrayLike | None = None,
    message_seconds: float = 0.0,
    delta: float = 0.01,
    gamma: float | None = None,
    method: str = "auto",
    rng: np.random.Generator | None = None,
) -> Choice:
    r"""The k, threshold and step that are soonest at a ``target``, or have the least error after a ``time_budget``.

    The error is the mean over updates of E|grad F|^2: with ``model`` "expected" as estimated by ``expected.abs_sgd``,
    with "bound" as bounded by ``bounds.abs_sgd``, which is never exceeded but ranks candidates worse.  Minimised is

    - with ``target``, objective "time": the seconds J (T + message_seconds (uplinks + downlinks)) until the error is
      there, with T the round time and J the updates it takes, at least 1; "communication": the messages
      J (uplinks + downlinks);
    - with ``time_budget`` (seconds): the error at its end.

    Candidates are all ``k`` or those given (for n > 128 about 100 of them, then finer around the best); with each,
    ``max_staleness`` 0, 1, 2, 3, 4, 6, 8, 12, 16, 32, ... up to 8 n/k and none, or those given (None is none); with
    each, the best step, or the ``step_size`` or sizes given as far as the model covers them.  Without a threshold the
    bound covers a run with probability 1 - ``delta``, by the staleness that it then does not exceed
    (``bounds.staleness_quantile``): much for heavy tails, and in simulated cells, where it is the length of the run;
    both then look worse than they are.

    ``delay`` is one law or a sequence of n; ``method`` and ``rng`` go to ``steady_state.abs_sgd``.  ``round_time``, a
    function of k or an array over k = 1..n, replaces its round times under every threshold: measured ones, say, or
    those of K-batch-sync with ``max_staleness=0``; staleness and messages stay those of ABS.  ``gamma`` replaces the
    staleness in the bound by the assumption of Dutta et al. (2018), see ``bounds.k_async_gradient_norm``, which covers
    K-async and K-batch-async; it asks for ``max_staleness=None``.  ``message_seconds`` is charged for one message after
    another, as by a server that computes nothing while its link is busy.

    Cost: a steady state for each k and threshold, in all about 1 s at n = 20, 4 s at n = 100; remembered, so that other
    constants, goals and steps for the same delays take milliseconds.
    Source: for k alone, the idea of Dutta, Wang & Joshi (2021, AdaSync); the bound, notebooks/03_choosing_k.ipynb.
    Raises ValueError unless one of target and time_budget is given, gap > 0, and some candidate gets there.
    """
    workers = _checked(delay, n, constants)
    check_nonnegative("message_seconds", message_seconds)
    ks, thresholds, steps = _given_k(k, n), _given_thresholds(max_staleness), _given_steps(step_size)
    times = _given_round_times(round_time, n)
    goal = _goal(target, time_budget, objective, model, delta, gamma)
    if gamma is not None and (thresholds is None or not np.isinf(thresholds).all()):
        raise ValueError("gamma is an assumption about K-async and K-batch-async: give max_staleness=None with it")
    has_mean = all(math.isfinite(law.mean) for law in workers.laws)

    def table(ks: NDArray[np.int64]) -> pd.DataFrame:
        cells = candidates.grid(ks, n, thresholds, has_mean)
        each = candidates.rounds(delay, n, cells, times, message_seconds, method, rng)
        return pd.concat([candidates.outcomes(constants, n, each, step, goal) for step in steps], ignore_index=True)

    curve = table(candidates.coarse(n) if ks is None else ks)
    while ks is None and (finer := candidates.between(curve)).size:
        curve = pd.concat([curve, table(finer)], ignore_index=True)
    curve = curve.sort_values(["k", "max_staleness"], kind="stable", ignore_index=True)
    if not np.isfinite(curve["objective"]).any():
        raise ValueError(_nothing_works(curve, constants, n, goal))
    return Choice.of(curve, n, model, goal.column, fleet_ageing(workers))


def best_k(delay: Any, n: int, constants: Constants, *, max_staleness: float | None = None, **options: Any) -> Choice:
    """As ``best``, over k alone: the threshold is given (None is none), the step the best for each k, or given too."""
    return best(delay, n, constants, max_staleness=max_staleness, **options)


def timetable(  # noqa: PLR0913
    delay: Any,
    n: int,
    constants: Constants,
    *,
    target: float | None = None,
    time_budget: float | None = None,
    k: int | Sequence[int] | None = None,
    max_staleness: Any = SEARCH,
    step_size: float | Sequence[float] | None = None,
    descent: pd.DataFrame | None = None,
    message_seconds: float = 0.0,
    method: str = "auto",
    rng: np.random.Generator | None = None,
) -> Timetable:
    """k and threshold by the clock, and the step: soonest at a ``target``, or of least error after a ``time_budget``.

    As ``best`` with the model "expected", over all orders of the same candidates, except that the error is the mean of
    E|grad F|^2 over *time* (the same for a constant k).  What is known of the delays and of the constants is enough:
    nothing is measured during the run.  Often it starts with one gradient per update and ends with nearly all.
    ``constants.noise_curvature`` must be known.  How fast descent without noise shrinks the gradient can be told by
    ``descent``, a table with columns flow (sum of the steps, from 0 on) and gradient_norm2, such as the ``path`` of
    ``simulations.problems.constants.estimate``; with columns sigma2, noise_curvature and noise_curvature2 it also
    says how the noise changes.  Beyond its end everything is taken to stay as it is.  Without it the gradient shrinks
    as on a quadratic that has the curvature of the noise in all directions, which is too fast for many others.

    Cost: that of ``best``, which it shares, and some tenths of a second.
    Source: derived in notebooks/03_choosing_k.ipynb.
    Raises ValueError unless one of target and time_budget is given, gap and noise_curvature are > 0, and a step gets
    there.
    """
    workers = _checked(delay, n, constants)
    if not constants.noise_curvature:
        raise ValueError(
            "a timetable needs constants with noise_curvature > 0, which says how fast noise is forgotten, got "
            f"noise_curvature={constants.noise_curvature}"
        )
    check_nonnegative("message_seconds", message_seconds)
    ks, thresholds, steps = _given_k(k, n), _given_thresholds(max_staleness), _given_steps(step_size)
    goal = _goal(target, time_budget, "time", "expected", 0.5, None)
    has_mean = all(math.isfinite(law.mean) for law in workers.laws)
    cells = candidates.grid(candidates.coarse(n) if ks is None else ks, n, thresholds, has_mean)
    each = candidates.rounds(delay, n, cells, None, message_seconds, method, rng)
    if time_budget is not None and time_budget < each.charged.min():
        raise ValueError(
            f"time_budget must leave time for one update, {each.charged.min():.4g} s at least, got {time_budget:g}"
        )
    found = fastest(constants, each, goal, _descent(descent, constants), [step for step in steps if step] or None)
    if found is None:
        raise ValueError(
            "no step and order of these candidates serves this goal: allow more k, shorter steps, or more time"
        )
    return found


def _descent(path: Any, constants: Constants) -> Descent:
    if path is None:
        return exponential(constants)
    if not (isinstance(path, pd.DataFrame) and {"flow", "gradient_norm2"} <= set(path.columns)):
        raise ValueError("descent must be a table with columns flow and gradient_norm2")
    return measured(constants, path)


def _checked(delay: Any, n: int, constants: Any) -> Workers:
    workers = as_workers(delay, n)
    if not isinstance(constants, Constants):
        raise ValueError(f"constants must be Constants(L=..., sigma2=..., gap=...), got {constants!r}")
    if constants.gap == 0:
        raise ValueError("gap must be > 0: at the optimum there is nothing left to choose, got gap=0")
    return workers


def _nothing_works(curve: pd.DataFrame, constants: Constants, n: int, goal: Goal) -> str:
    """Why no candidate has a finite objective, and what to do."""
    if np.isinf(curve["round_time"]).all() and goal.column != "messages":
        return "every round lasts infinitely long on average: these delays have no mean; try a smaller k or a threshold"
    if goal.time_budget is not None and (curve["round_time"] > goal.time_budget).all():
        shortest = curve["round_time"].min()
        return f"time_budget must leave time for one update, {shortest:.4g} s at least, got {goal.time_budget:g}"
    k, tau, largest = (curve[name].to_numpy() for name in ("k", "mean_staleness", "largest_staleness"))
    about = candidates.tradeoff(constants, k, n, tau, largest, goal)
    if goal.target is not None and curve["step_size"].notna().any():  # given, and too long for the target
        longest = 2 * goal.target / (about.noise + np.sqrt(about.noise**2 + 4 * about.drift * goal.target))
        return (
            f"target={goal.target:g} is below the noise floor of every candidate at this step_size; it must be below "
            f"{longest.max():.4g}, and well below to get there soon"
        )
    return f"step_size must be at most {np.max(about.limit):.6g} for the model to cover any of these candidates"


# ---------------------------------------------------------------- arguments


def _goal(target: Any, time_budget: Any, objective: Any, model: Any, delta: Any, gamma: float | None) -> Goal:
    if (target is None) == (time_budget is None):
        raise ValueError("give target (a mean squared gradient norm) or time_budget (seconds), one of the two")
    check_positive("target" if time_budget is None else "time_budget", target if time_budget is None else time_budget)
    check_positive("delta", delta)
    if not delta < 1:
        raise ValueError(f"delta must be in (0, 1), got {delta}")
    columns = {"time": "seconds" if time_budget is None else "gradient_norm2", "communication": "messages"}
    if objective not in columns:
        raise ValueError(f"objective must be one of {', '.join(columns)}, got {objective!r}")
    if objective == "communication" and target is None:
        raise ValueError('objective="communication" counts messages to a target: give target, not time_budget')
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, got {model!r}")
    if gamma is not None and model != "bound":
        raise ValueError('gamma is an assumption of a bound: give model="bound" with it')
    return Goal(target, time_budget, columns[objective], model, delta, gamma)


def _several(name: str, value: Any) -> list[Any]:
    """One or several of what the user may give, as a list."""
    values = list(value) if np.ndim(value) else [value]
    if not values:
        raise ValueError(f"{name} must not be empty")
    return values


def _given_k(k: Any, n: int) -> NDArray[np.int64] | None:
    if k is None:
        return None
    ks = _several("k", k)
    for each in ks:
        check_k(each, n)
    return np.unique(ks).astype(np.int64)


def _given_thresholds(max_staleness: Any) -> NDArray[np.float64] | None:
    if isinstance(max_staleness, str) and max_staleness == SEARCH:
        return None
    thresholds = _several("max_staleness", max_staleness)
    for each in thresholds:
        check_max_staleness(each)
    return np.unique([math.inf if each is None else float(each) for each in thresholds])


def _given_steps(step_size: Any) -> list[float | None]:
    steps = _several("step_size", step_size)
    for each in steps:
        if step_size is not None:
            check_positive("step_size", each)
    return steps


def _given_round_times(round_time: Any, n: int) -> NDArray[np.float64] | None:
    if round_time is None:
        return None
    times = np.asarray([round_time(k) for k in range(1, n + 1)] if callable(round_time) else round_time, dtype=float)
    if times.shape != (n,) or not np.all(times > 0):
        raise ValueError(f"round_time must be a function of k, or n={n} times in seconds > 0, got {round_time!r}")
    return times
