"""The modes of generation that trainers offer, and what each of them gives in the long run."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from abs_theory import monte_carlo, steady_state
from abs_theory.checks import MAX_WORKERS, check_count, check_nonnegative, check_positive, explains_types
from abs_theory.delays import Delay, as_delay
from abs_theory.monte_carlo import Rules
from abs_theory.results import SteadyState, TrainerState
from abs_theory.typing import DelayLike
from abs_theory.workers import as_workers

__all__ = ["Mode", "Setup", "admission", "batches", "modes", "over_sampling", "synchronous", "tail_batching"]

REPLICATES, SIMULATED_TASKS = 16, 40_000  # of a mode without a formula; tasks in all replicates
IN_ORDER_REPLICATES, IN_ORDER_TASKS = 64, 160_000  # of one that trains in order or in a window, whose rounds are cheap
LEAST_ROUNDS = 20
SPARE_SLOTS = (0.125, 0.25, 0.5, 1.0, 2.0)  # tried in tail batching, as shares of a batch
USUAL_AHEAD = (0.5, 1.0, 2.0, 4.0, 8.0)  # batches
USUAL_THRESHOLDS = (1, 2, 4, 8)  # updates
MOST_AHEAD_IN_ORDER = 4  # batches
MOST_AHEAD_OF_FEW = 2  # batches, with fewer slots than a batch: all of them are busy then
MAX_SIZE = 1e50  # of a number in a setup; products of three are then floating-point numbers
MAX_UPDATE = 1e6  # mean tasks; equations for the waiting of the slots are singular far beyond
INSTANT = 1e-9  # of a mean task: an update that takes no time, in the formulas for those that take some
MOST_ERROR, MOST_PMF_ERROR = 0.04, 0.03  # of a round, and of a probability, that the mean field may state
SPEED_STEPS = 12  # of the fixed point of the speed of shared GPUs


@explains_types
@dataclass(frozen=True)
class Setup:
    """A trainer and its generation slots; times are in seconds, lengths in tokens."""

    task: DelayLike  #: tokens of a task: an answer, or the longest answer of a group
    batch: int  #: tasks of an update
    slots: int  #: tasks that can be generated at the same time
    trainer_seconds: float = 0.0  #: of an update
    seconds_per_token: float = 1.0  #: of a task that has a GPU for itself
    slowdown: float = 0.0  #: further seconds per token for each task in flight on the same GPU
    gpus: float | None = None  #: for generation; None: every slot has its own speed
    group: int = 1  #: answers of a task, for trainers that count them

    def __post_init__(self) -> None:
        check_count("batch", self.batch, maximum=MAX_WORKERS)
        check_count("slots", self.slots, maximum=MAX_WORKERS)
        check_count("group", self.group)
        check_positive("seconds_per_token", self.seconds_per_token)
        check_nonnegative("slowdown", self.slowdown)
        check_nonnegative("trainer_seconds", self.trainer_seconds)
        for name in ("seconds_per_token", "slowdown", "trainer_seconds", "gpus"):
            value = getattr(self, name)
            if value and not 1 / MAX_SIZE <= value <= MAX_SIZE:
                raise ValueError(f"{name} must be {1 / MAX_SIZE:g} to {MAX_SIZE:g}, or left out, got {name}={value:g}")
        task = self.seconds_per_token * as_delay(self.task).mean
        if self.trainer_seconds > MAX_UPDATE * task:
            raise ValueError(
                f"trainer_seconds must be at most {MAX_UPDATE:g} times a mean task of {task:.3g} s, "
                f"got {self.trainer_seconds:g}: an update takes that long and the slots hardly matter"
            )
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
    #: the steady state for a law of task lengths and the time of an update, both in the unit of time of the law
    solve: Callable[[Delay, float], TrainerState]
    #: what to type in trainers that have this mode, as read in their sources (docs/knobs.md); none if none is known
    settings: tuple[str, ...] = ()
    system: str = ""  #: a trainer with this mode; its settings are not known

    def state(self, setup: Setup, law: Delay) -> tuple[TrainerState, float]:
        """The steady state in units of one token's time, and the seconds per token at which it runs.

        Slots that share GPUs are as fast as the number of tasks in flight allows, and that number depends on their
        speed: a fixed point, found by bisection.
        """
        if not setup.slowdown:
            speed = setup.per_token(0.0)
            return self.solve(law, setup.trainer_seconds / speed), speed
        low, high = setup.per_token(0.0), setup.per_token(self.slots)
        state, speed = None, high
        for _ in range(SPEED_STEPS):
            state = self.solve(law, setup.trainer_seconds / speed)
            settled = setup.per_token(self.slots * (1 - float(state.idle_fraction)))
            low, high = (speed, high) if settled > speed else (low, speed)
            following = min(max(settled, low), high)
            if abs(following - speed) < 1e-4 * speed:
                break
            speed = following
        assert state is not None
        return state, speed


@explains_types
def modes(
    setup: Setup,
    ahead: Sequence[float] = (),
    thresholds: Sequence[int] = USUAL_THRESHOLDS,
    in_order: bool = True,
) -> list[Mode]:
    """The modes to compare: three of staleness 0, running ahead, thresholds, and training in order.

    ``ahead``: batches that generation may run ahead of the trainer; by default .5, 1, 2, 4, 8, up to what the slots
    allow, and that.  The modes ``in_order``, or in a window of one batch, are simulated.  So are all with fewer slots
    than a batch, which run ahead by up to two batches and cannot over-sample.

    >>> from abs_theory.delays import Exponential
    >>> names = [mode.name for mode in modes(Setup(Exponential(1.0), batch=8, slots=16), thresholds=(2,))]
    >>> names[:7]
    ['synchronous', 'over-sampling', 'tail batching', 'ahead 0.5', 'ahead 1', 'abort 2', 'drop 2']
    >>> names[7:]
    ['window 8, ahead 1', 'in order, ahead 1']
    """
    most = setup.slots / setup.batch - 1
    usual = {eta for eta in USUAL_AHEAD if eta <= most} | {float(f"{most:.3g}")}
    if most < 0:
        usual = {eta for eta in USUAL_AHEAD if eta <= MOST_AHEAD_OF_FEW}
    ahead = [eta for eta in ahead or sorted(usual) if eta > 0]
    rows = [synchronous(setup)]
    if setup.slots > setup.batch:
        rows += [over_sampling(setup), tail_batching(setup)]
    rows += [admission(setup, eta) for eta in ahead]
    rows += [batches(setup, theta, in_flight) for in_flight in (True, False) for theta in thresholds]
    whole = [eta for eta in ahead if eta == int(eta) and eta <= MOST_AHEAD_IN_ORDER]
    windows = (setup.batch, 1)[setup.batch == 1 :] if in_order else ()
    return rows + [admission(setup, eta, window) for window in windows for eta in whole]


@explains_types
def synchronous(setup: Setup) -> Mode:
    """All tasks of a batch start from the newest model: together, or with fewer slots one after another.

    >>> from abs_theory.delays import Exponential
    >>> setup = Setup(Exponential(1.0), batch=2, slots=4)
    >>> round(synchronous(setup).solve(Exponential(1.0), 0.0).round_time, 6)
    1.5
    """
    k = setup.batch
    settings = ("AReaL max_head_offpolicyness=0",)
    if setup.slots < k:
        n = setup.slots
        return Mode("synchronous", n, 0, lambda law, T: _simulated(law, n, Rules(k, k), T), settings)
    return Mode("synchronous", k, 0, lambda law, T: _abs_sgd(law, k, k, None, T), settings)


@explains_types
def over_sampling(setup: Setup) -> Mode:
    """All slots start together from the newest model, and the first tasks make the batch; the others are stopped.

    >>> from abs_theory.delays import Exponential
    >>> setup = Setup(Exponential(1.0), batch=2, slots=4)
    >>> round(over_sampling(setup).solve(Exponential(1.0), 0.0).round_time, 6)  # 1/4 + 1/3
    0.583333
    """
    k, n = setup.batch, setup.slots
    settings = (f"slime --rollout-batch-size {k} --over-sampling-batch-size {n}",)
    return Mode("over-sampling", n, 0, lambda law, T: _abs_sgd(law, k, n, 0, T), settings)


@explains_types
def tail_batching(setup: Setup) -> Mode:
    """Over-sampling in which late tasks are put off and trained in rounds of their own, so that none is lost.

    It uses the number of slots that makes it fastest: all of them, or a batch and an eighth to two of it.

    >>> from abs_theory.delays import LogNormal
    >>> law = LogNormal(median=1.0, sigma=1.0)
    >>> tail_batching(Setup(law, batch=8, slots=32)).slots
    10
    """
    k, n = setup.batch, setup.slots
    law, sizes = as_delay(setup.task), {n} | {min(n, math.ceil(k * (1 + spare))) for spare in SPARE_SLOTS}
    size = min(sorted(sizes), key=lambda slots: float(steady_state.tail_batching(law, k, slots).round_time))
    return Mode(
        "tail batching", size, 0, lambda law, T: steady_state.tail_batching(law, k, size, T),
        system="RollPacker (arXiv 2509.21009)",
    )  # fmt: skip


@explains_types
def batches(setup: Setup, max_staleness: int, in_flight: bool = True) -> Mode:
    """No slot waits; too stale tasks are stopped ``in_flight``, or dropped when they end (``steady_state.abs_batch``).

    >>> from abs_theory.delays import Exponential
    >>> batches(Setup(Exponential(1.0), batch=2, slots=4), 3).name
    'abort 3'
    """
    k, n = setup.batch, setup.slots

    def solve(law: Delay, seconds: float) -> TrainerState:
        if k > n:
            return _simulated(law, n, Rules(k, max_staleness=max_staleness, in_flight=in_flight), seconds)
        return _quick(lambda method: steady_state.abs_batch(law, k, n, max_staleness, seconds, in_flight, method))

    if in_flight:  # prime-rl counts one update less
        settings = (f"prime-rl max_off_policy_steps={max_staleness - 1}",) * (max_staleness > 0)
        return Mode(f"abort {max_staleness:g}", n, max_staleness, solve, settings)
    trl = f"TRL max_staleness={max_staleness} max_inflight_tasks={n * setup.group}"  # it counts answers
    settings = trl, f"open-instruct async_steps={max_staleness}"
    return Mode(f"drop {max_staleness:g}", n, max_staleness, solve, settings)


@explains_types
def admission(setup: Setup, ahead: float, window: int | None = None) -> Mode:
    """A task starts only while fewer than (``ahead`` + 1) batches are started and not yet trained.

    With a ``window`` the trainer takes tasks nearly in the order of their starts: one that has ended is taken only if
    fewer than ``window`` tasks have started from the oldest untrained one on.  That, and more tasks than slots, is
    simulated.

    >>> from abs_theory.delays import Exponential
    >>> setup = Setup(Exponential(1.0), batch=2, slots=4)
    >>> admission(setup, 1).largest, admission(setup, 1, window=2).largest
    (inf, 2)
    """
    k, n = setup.batch, setup.slots
    most = int((ahead + 1) * k + 1e-9)
    slots = min(n, most)
    if window is None:
        settings = _ahead_settings(ahead, slots)
        if most <= n:
            return Mode(f"ahead {ahead:g}", most, math.inf, lambda law, T: _abs_sgd(law, k, most, None, T), settings)
        rules = Rules(k, most)
        return Mode(f"ahead {ahead:g}", slots, math.inf, lambda law, T: _simulated(law, slots, rules, T), settings)
    rules, largest = Rules(k, most, window=window), (most + window - 2) // k
    order, settings, system = f"window {window}", (), "MiniMax Forge (windowed FIFO)"
    if window == 1:
        order, settings, system = "in order", (f"NeMo-RL InOrderSampler max_trajectory_age_steps={ahead:g}",), ""
    return Mode(
        f"{order}, ahead {ahead:g}", slots, largest, lambda law, T: _simulated(law, slots, rules, T), settings, system
    )


def _ahead_settings(ahead: float, slots: int) -> tuple[str, ...]:
    """What to type to run ahead; most trainers take whole numbers only."""
    verl = f"verl staleness_threshold={ahead:.3g} partial_rollout=True"
    if ahead != int(ahead):
        return (verl,)
    return (
        f"AReaL max_head_offpolicyness={ahead:g} max_concurrent_rollouts={slots}",
        f"SkyRL max_staleness_steps={ahead:g}",
        f"Tinker sampling_steps_ahead={ahead:g}",
        f"ROLL async_generation_ratio={ahead:g}",
        verl,
    )


def _abs_sgd(law: Delay, k: int, n: int, bound: float | None, seconds: float) -> TrainerState:
    T = max(seconds, INSTANT * law.mean)
    return _quick(lambda method: steady_state.abs_sgd(law, k, n, bound, method, update_seconds=T))


def _quick(solve: Callable[[str], SteadyState]) -> TrainerState:
    """The mean field if it states small errors; else what "auto" gives, which may simulate for a second."""
    state = solve("mean-field")
    rough = float(state.error.round_time) > MOST_ERROR * float(state.round_time)
    if rough or np.max(state.error.staleness_pmf) > MOST_PMF_ERROR:
        state = solve("auto")
    assert isinstance(state, TrainerState)
    return state


def _simulated(law: Delay, n: int, rules: Rules, seconds: float) -> TrainerState:
    """By simulation, always of the same luck."""
    update, rng = monte_carlo.update_law(seconds), np.random.default_rng([n, rules.k])
    in_order = n == rules.most_open and rules.window < math.inf
    replicates, tasks = (IN_ORDER_REPLICATES, IN_ORDER_TASKS) if in_order else (REPLICATES, SIMULATED_TASKS)
    rounds = max(LEAST_ROUNDS, tasks // (replicates * rules.k))
    return monte_carlo.played(as_workers(law, n), rules, update, rng, rounds, replicates, max(8, rounds // 3))
