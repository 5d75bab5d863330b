"""The modes of generation that trainers offer, and what each of them gives in the long run."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from abs_theory import monte_carlo, steady_state
from abs_theory.checks import check_count, check_nonnegative, check_positive, explains_types
from abs_theory.delays import Delay
from abs_theory.monte_carlo import Rules
from abs_theory.results import TrainerState
from abs_theory.typing import DelayLike
from abs_theory.workers import as_workers

__all__ = ["Mode", "Setup", "modes"]

SIMULATED_TASKS, REPLICATES = 40_000, 16  # of a mode without a formula
SPEED_STEPS = 12  # of the fixed point of the speed of shared GPUs


@explains_types
@dataclass(frozen=True)
class Setup:
    """A trainer and its generation slots; times are in seconds, lengths in tokens."""

    task: DelayLike  #: tokens of a task: an answer, or the longest answer of a group
    batch: int  #: tasks of an update
    slots: int  #: tasks that can be generated at the same time
    trainer_seconds: float | DelayLike = 0.0  #: of an update
    seconds_per_token: float = 1.0  #: of a task that has a GPU for itself
    slowdown: float = 0.0  #: further seconds per token for each task in flight on the same GPU
    gpus: float | None = None  #: for generation; None: every slot has its own speed

    def __post_init__(self) -> None:
        check_count("batch", self.batch)
        check_count("slots", self.slots)
        if self.slots < self.batch:
            raise ValueError(f"slots must be at least batch={self.batch}, got slots={self.slots}: use a smaller batch")
        check_positive("seconds_per_token", self.seconds_per_token)
        check_nonnegative("slowdown", self.slowdown)
        if self.gpus is not None:
            check_positive("gpus", self.gpus)
        if self.slowdown and self.gpus is None:
            raise ValueError("a slowdown for each task on a GPU needs the number of gpus")

    def per_token(self, in_flight: float) -> float:
        """Seconds per token if so many tasks are in flight."""
        return self.seconds_per_token + self.slowdown * (in_flight / self.gpus if self.gpus else 0.0)


@explains_types
@dataclass(frozen=True)
class Mode:
    """A way to generate, with its knob; ``solve(law, trainer_seconds)`` gives its steady state."""

    name: str  #: in the words of the trainers
    slots: int  #: that it uses
    largest: float  #: staleness that it never exceeds; inf if there is none
    solve: Callable[[Delay, float | DelayLike], TrainerState]

    def state(self, setup: Setup, law: Delay) -> tuple[TrainerState, float]:
        """The steady state in units of one token's time, and the seconds per token at which it runs.

        Slots that share GPUs are as fast as the number of tasks in flight allows, and that number depends on their
        speed: a fixed point, found by bisection.
        """
        if not setup.slowdown:
            speed = setup.per_token(0.0)
            return self.solve(law, _scaled(setup.trainer_seconds, speed)), speed
        low, high = setup.per_token(0.0), setup.per_token(self.slots)
        state, speed = None, high
        for _ in range(SPEED_STEPS):
            state = self.solve(law, _scaled(setup.trainer_seconds, speed))
            settled = setup.per_token(self.slots * (1 - float(state.idle_fraction)))
            low, high = (speed, high) if settled > speed else (low, speed)
            following = min(max(settled, low), high)
            if abs(following - speed) < 1e-4 * speed:
                break
            speed = following
        assert state is not None
        return state, speed


def _scaled(seconds: float | DelayLike, unit: float) -> float | DelayLike:
    if isinstance(seconds, int | float):
        return seconds / unit
    raise ValueError(f"trainer_seconds must be a number of seconds, got {seconds!r}")


@explains_types
def modes(setup: Setup, ahead: tuple[float, ...] = (), thresholds: tuple[int, ...] = (1, 2, 4, 8)) -> list[Mode]:
    """The modes to compare: synchronous, over-sampling, admission, abort, drop at arrival, windows.

    ``ahead``: batches that generation may run ahead of the trainer (eta); by default .5, 1, 2, 4, ... up to what the
    slots allow.

    >>> from abs_theory.delays import Exponential
    >>> [mode.name for mode in modes(Setup(Exponential(1.0), batch=8, slots=16), thresholds=(2,))]
    ['synchronous', 'over-sampling', 'ahead 0.5', 'ahead 1', 'abort 2', 'drop 2', 'window 1, ahead 1']
    """
    k, n = setup.batch, setup.slots
    most = n / k - 1
    ahead = ahead or tuple(sorted({eta for eta in (0.5, 1.0, 2.0, 4.0, 8.0) if eta <= most} | {float(f"{most:.3g}")}))
    rows = [Mode("synchronous", k, 0, lambda law, T: _abs_sgd(law, k, k, None, T))]
    if n > k:
        rows.append(Mode("over-sampling", n, 0, lambda law, T: _abs_sgd(law, k, n, 0, T)))
    for eta in ahead:
        if eta > 0:
            rows.append(_admission(k, n, eta))
    for theta in thresholds:
        rows.append(Mode(f"abort {theta}", n, theta, _batches(k, n, theta, True)))
    for theta in thresholds:
        rows.append(Mode(f"drop {theta}", n, theta, _batches(k, n, theta, False)))
    for eta in ahead:
        if eta == int(eta) >= 1 and eta <= 4:
            rows.append(_window(k, n, int(eta)))
    return rows


def _abs_sgd(law: Delay, k: int, n: int, bound: float | None, T: float | DelayLike) -> TrainerState:
    return steady_state.abs_sgd(law, k, n, bound, update_seconds=T or INSTANT * law.mean)  # pyright: ignore


INSTANT = 1e-9  # of a mean task: an update that takes no time, in the formulas for those that take some


def _batches(k: int, n: int, theta: int, in_flight: bool) -> Callable[[Delay, float | DelayLike], TrainerState]:
    return lambda law, T: steady_state.abs_batch(law, k, n, theta, T, in_flight)


def _admission(k: int, n: int, eta: float) -> Mode:
    """Starts wait until fewer than (eta + 1) k tasks are started and not yet trained."""
    most = round((eta + 1) * k)
    name = f"ahead {eta:g}"
    if most <= n:
        return Mode(name, most, math.inf, lambda law, T: _abs_sgd(law, k, most, None, T))
    return Mode(name, n, math.inf, lambda law, T: _simulated(law, n, Rules(k, most), T))


def _window(k: int, n: int, eta: int) -> Mode:
    """Admission with (eta + 1) k tasks; the trainer takes tasks in the order of their starts, within one batch."""
    most = (eta + 1) * k
    largest = (most + k - 2) // k
    return Mode(
        f"window 1, ahead {eta}",
        min(n, most),
        largest,
        lambda law, T: _simulated(law, min(n, most), Rules(k, most, window=k), T),
    )


def _simulated(law: Delay, n: int, rules: Rules, T: float | DelayLike) -> TrainerState:
    update, rng = monte_carlo.update_law(T), np.random.default_rng([n, rules.k])
    rounds = max(20, SIMULATED_TASKS // (REPLICATES * rules.k))
    return monte_carlo.played(as_workers(law, n), rules, update, rng, rounds, REPLICATES, max(8, rounds // 3))
