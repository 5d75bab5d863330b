"""What the toolkit says of a setting: its steady state, the same for other k, and the first seconds of its workers."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from abs_theory import steady_state
from abs_theory.checks import explains_types
from abs_theory.results import SteadyState
from simulations import plot, protocols
from simulations.experiment import simulate
from simulations.explore.setting import Setting
from simulations.problems import TimingOnly

__all__ = ["Answer", "answer", "timeline_of"]

MOST_POINTS = {"fast": 16, "auto": 24}  # of the curves over k, the own k included
SECONDS = {"fast": 0.15, "auto": 1.2}  # after which no further point of the curves is begun
KEPT = 4000  # steady states that are remembered, about 2 kB each
TASKS_SHOWN = 6  # per worker, on average


@dataclass(frozen=True)
class Answer:
    """The numbers of a setting, and of the same setting with other k."""

    setting: Setting  #: what was asked
    state: SteadyState  #: the steady state, with its errors
    #: one row for each k that was computed: k, round_time, round_time_error, rate, rate_error
    curve: pd.DataFrame

    @property
    def numbers(self) -> dict[str, tuple[float, float]]:
        """What the page shows of the setting: each number with the half-width of its error."""
        state, error = self.state, self.state.error
        rate, rate_error = _rate(self.setting.k, state)
        messages, messages_error = state.uplinks + state.downlinks, error.uplinks + error.downlinks
        values = {
            "round time (s)": (state.round_time, error.round_time),
            "gradients per second": (rate, rate_error),
            "mean staleness (updates)": (state.mean_staleness, error.mean_staleness),
            "restarts per round": (state.restarts, error.restarts),
            "messages per round": (messages, messages_error),
            "idle share of worker time": (state.idle_fraction, error.idle_fraction),
            "wasted share of worker time": (state.wasted_fraction, error.wasted_fraction),
        }
        return {name: (float(value), float(half_width)) for name, (value, half_width) in values.items()}

    @property
    def best(self) -> int:
        """The k of the curve that delivers the most gradients per second."""
        return int(self.curve["k"].iloc[int(np.nanargmax(self.curve["rate"]))])


@explains_types
def answer(setting: Setting, method: str = "fast") -> Answer:
    """The steady state of a setting by ``steady_state.abs_sgd``, and that of other k as far as time allows.

    ``method`` is "fast", for a slider that moves, or "auto", whose errors are small.  Both give the curves up to 24
    values of k, but begin no further one after .15 s or 1.2 s.  With update times both take the mean field.

    >>> found = answer(Setting("exponential:mean=1", n=4, k=2, max_staleness=1))
    >>> round(found.numbers["round time (s)"][0], 4), found.curve["k"].tolist(), found.best
    (0.5833, [1, 2, 3, 4], 1)
    """
    begin = time.perf_counter()
    own = _state(setting, setting.k, method)
    states = {setting.k: own}
    for k in _others(setting.n, setting.k, MOST_POINTS[method]):
        if time.perf_counter() - begin > SECONDS[method]:
            break
        states[k] = _state(setting, k, method)
    rows = []
    for k, state in sorted(states.items()):
        rows.append((k, float(state.round_time), float(state.error.round_time), *_rate(k, state)))
    columns = ["k", "round_time", "round_time_error", "rate", "rate_error"]
    return Answer(setting, own, pd.DataFrame(rows, columns=columns))


@explains_types
def timeline_of(setting: Setting, seed: int = 0) -> tuple[pd.DataFrame, list[float], float]:
    """What the workers do in the first seconds: spans as in ``plot.bars``, times of updates, and the seconds shown.

    >>> spans, updates, seconds = timeline_of(Setting("deterministic:value=1", n=2, k=2))
    >>> len(spans), updates, seconds
    (12, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 6.0)
    """
    return _timeline(setting, seed)


@lru_cache(maxsize=64)
def _timeline(setting: Setting, seed: int) -> tuple[pd.DataFrame, list[float], float]:
    law = setting.law
    typical = float(law.mean) if math.isfinite(law.mean) else 2 * float(law.ppf(0.5))
    seconds = TASKS_SHOWN * typical
    bound = None if math.isinf(setting.max_staleness) else setting.max_staleness
    rounds, tasks = simulate(
        protocols.abs_sgd(setting.k, bound), TimingOnly(), law, setting.n, step_size=1.0, time_budget=3 * seconds,
        update_seconds=setting.update_seconds, seed=seed, jobs=True, n_jobs=1,
    )  # fmt: skip
    spans = plot.spans(tasks)
    return spans[spans["start"] < seconds], rounds["time"][rounds["time"] <= seconds].tolist(), seconds


def _rate(k: int, state: SteadyState) -> tuple[float, float]:
    """Gradients per second, with the half-width that follows from that of the round time."""
    seconds, error = float(state.round_time), float(state.error.round_time)
    rate = k / seconds if seconds > 0 else math.nan
    return rate, rate * error / seconds if seconds > 0 and math.isfinite(seconds) else 0.0


def _others(n: int, own: int, most: int) -> Iterator[int]:
    """Values of k: first the ends and the neighbours of the own one, then ever more in between."""
    wanted = np.unique(np.round(np.geomspace(1, n, min(most, n))).astype(int)).tolist()
    if n <= most:
        wanted = list(range(1, n + 1))
    order = [1, n, max(own - 1, 1), min(own + 1, n)]
    step = 1
    while step < len(wanted):
        step *= 2
    while step:
        order += wanted[::step]
        step //= 2
    yield from (k for k in dict.fromkeys(order) if k != own)


def _state(setting: Setting, k: int, method: str) -> SteadyState:
    if setting.update_seconds:  # "auto" may simulate each k for a second
        method = "mean-field"
    return _remembered(setting.delay, k, setting.n, setting.max_staleness, setting.update_seconds, method)


@lru_cache(maxsize=KEPT)
def _remembered(delay: str, k: int, n: int, max_staleness: float, update_seconds: float, method: str) -> SteadyState:
    law = Setting(delay, n, k, max_staleness).law
    bound = None if math.isinf(max_staleness) else max_staleness
    return steady_state.abs_sgd(law, k, n, bound, method, update_seconds=update_seconds)
