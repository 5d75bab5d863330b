r"""ABS that tunes itself: k and the threshold from what the server measures, told nothing about problem or workers.

At t seconds it plans for a time in proportion to t.  It minimises, over k and the threshold, a bound on the mean
squared gradient norm of ABS over that time:

.. math:: J = \frac{2 F\, T}{\eta\, \alpha t} + \beta \frac{b S}{k} V(b, \tau)

F is the measured loss, less the least that can be reached if that is known.  S is the measured variance of one
gradient, and b the product of the step eta and the measured curvature along the steps.  T and tau are round time and
mean staleness of ABS under the measured law of the task times.  V is the factor by which staleness raises the noise of
the model (``stale_noise``); it is infinite where stale steps diverge.  While the loss rises, no staleness is allowed.
b is the mean of a guess and the measurement, weighted by their errors.  A run begins with the guess 1, which is right
where a step is as long as it may be.  Later it is a share of eta E|g|^2 / F, which is known much sooner than the
curvature.
Tasks of several local steps follow the data of their workers, and the measured b is then too small.  So k and b have
lower limits, which rise with the number of local steps.

The step, if it is left to the rule as well, is a share of F / E|g|^2.
Source: the bound of Koloskova, Stich & Jaggi (2022, arXiv 2206.08307) with measured quantities and V in place of its
bound on staleness; the step of Loizou et al. (2021, arXiv 2002.10542) with means; our rule, see
notebooks/09_self_tuning.ipynb.
"""

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from abs_theory.checks import check_positive, explains_types, is_finite
from abs_theory.typing import Array
from simulations.measuring import Measured, Quantity
from simulations.policies.measured_rounds import Rounds, measured_rounds
from simulations.server import Progress

HORIZON = 0.7  # alpha: seconds planned for, as a share of those that have passed
NOISE_SHARE = 0.25  # beta: of the measured curvature, in the term of noise
GUESS, GUESS_ERROR = 1.0, 0.25  # of step times curvature, before it is measured; its relative standard error
STEEPNESS_SHARE = 0.55  # of E|g|^2 / F, which the curvature is about
GUESS_UPDATES = 4.0  # as many updates tell as much as the first guess
STEP_SHARE = 0.8  # of F / E|g|^2, that the step by rule is in the end; about half of it in the first updates
FIRST_STEP = 1e-9  # of the step by rule, before any gradient has arrived: too small to change anything
FIRST_SHARE = 0.1  # of the workers, whose gradients the first update waits for
MANY_LOCAL_STEPS = 6  # from which on a task has gone its own way; in proportion with fewer
LEAST_SHARE = 0.25  # of the workers, that an update waits for after many local steps
LEAST_BEND = 0.7  # of a task of many local steps
CERTAIN = 5.0  # standard errors, by which a loss below the least loss is no noise
GROWTH = 1.05  # of the time of the run, after which it decides again
FIRST_UPDATES = 4  # after each of which it decides

Objective = Literal["time", "messages"]


class SelfTuning(NamedTuple):
    """The policies of ABS that tunes itself: ``abs_sgd(tuning.k, tuning.max_staleness)``, and the step if wanted.

    >>> self_tuning().k.decides
    'k'
    """

    k: "MeasuredRule"  #: gradients to wait for
    max_staleness: "MeasuredRule"  #: the threshold, inf if none
    step_size: "MeasuredStep"  #: for the ``step_size`` of a run, if this is to be tuned as well

    @property
    def decides(self) -> tuple[str, ...]:
        """What its policies decide."""
        return self._fields


@dataclass(frozen=True)
class MeasuredRule:
    """One of the two policies of ``self_tuning``.

    >>> MeasuredRule("k").objective
    'time'
    """

    measures: ClassVar[bool] = True  #: the server measures for it

    decides: Literal["k", "max_staleness"]  #: what this policy decides
    objective: Objective = "time"  #: what is to be saved
    horizon: float = HORIZON  #: alpha
    noise_share: float = NOISE_SHARE  #: beta
    growth: float = GROWTH  #: of the time of the run, after which it decides again
    curvature: float | None = None  #: along the steps, if it is known; None: it is measured
    least_loss: float = 0.0  #: that can be reached

    def __call__(self, progress: Progress) -> float:
        """The k or the threshold from now on."""
        measured, of_k = progress.measured, self.decides == "k"
        if progress.updates == 0:
            self._check_start(progress.initial_loss)
        if progress.updates == 0 or measured is None:
            return max(round(FIRST_SHARE * progress.n), _least_k(progress)) if of_k else math.inf
        if math.isnan(progress.loss) or not _is_due(progress, self.growth) or measured.delay.deliveries == 0:
            return progress.k if of_k else progress.max_staleness
        if of_k:
            self._warn_of_less(measured.latest_loss)
        rounds = _rounds(measured, progress.n)
        cost = self._cost(progress, measured, rounds)
        if not of_k:  # k has been decided
            cost = np.where(rounds.k == progress.k, cost, math.inf)
        row, column = np.unravel_index(int(cost.argmin()), cost.shape)
        return int(rounds.k[row, 0]) if of_k else float(rounds.max_staleness[0, column])

    def _check_start(self, loss: float) -> None:
        """Raise ValueError if the model of the start, whose loss is exact, has less than the least loss."""
        if loss < self.least_loss:
            raise ValueError(
                f"self-tuning needs losses above least_loss={self.least_loss:g}, got {loss:.4g} at the start: give it "
                "a least_loss that no loss falls below"
            )

    def _warn_of_less(self, loss: Quantity) -> None:
        """Warn if the measured loss is below the least loss by more than noise."""
        if loss.value + CERTAIN * loss.stderr < self.least_loss:
            warnings.warn(
                f"the loss has fallen below least_loss={self.least_loss:g}, so self-tuning takes it as reached and "
                "waits for more and more workers: give it a number that no loss falls below",
                stacklevel=2,
            )

    def _cost(self, progress: Progress, measured: Measured, rounds: Rounds) -> Array:
        """J of all pairs; inf where stale steps diverge.

        While the loss rises, no staleness is allowed unless the curvature is known: staleness may be the cause, and
        a measured curvature that is too small would not stop it.
        """
        step = progress.step_size * progress.local_steps  # of an update
        if self.objective == "time":
            spent, passed = rounds.seconds, progress.time
        else:
            spent, passed = rounds.messages, float(measured.messages)
        descent = 2 * max(measured.loss.value - self.least_loss, 0.0) * spent / (step * self.horizon * passed)
        if self.curvature is None:
            bend = expected_bend(step, measured, progress.updates, self.least_loss)
            bend = bend._replace(value=max(bend.value, LEAST_BEND * _own_way(progress.local_steps)))
        else:
            bend = Quantity(step * self.curvature, 0.0)
        variance, stale = measured.gradient_variance.value, rounds.mean_staleness
        noise = bend.value * max(variance, 0.0) if math.isfinite(variance) else 0.0
        if self.curvature is None and measured.latest_loss.value > measured.loss.value:
            more = np.where(rounds.max_staleness == 0, 1.0, math.inf)
        else:
            more = stale_noise(bend.value, stale)
        allowed = (more < math.inf) & (rounds.k >= _least_k(progress))
        cost = descent + self.noise_share * noise / rounds.k * np.where(allowed, more, 1.0)
        return np.where(allowed, cost, math.inf)


@dataclass(frozen=True)
class MeasuredStep:
    """The step of ``self_tuning``, if nobody gives one: a share of F / E|g|^2 as measured.

    >>> MeasuredStep().measures
    True
    """

    measures: ClassVar[bool] = True  #: the server measures for it
    decides: ClassVar[str] = "step_size"  #: what this policy decides

    least_loss: float = 0.0  #: that can be reached

    def __call__(self, progress: Progress) -> float:
        """The step size from now on.  Raises ValueError if the loss is below 0 and below ``least_loss``."""
        measured = progress.measured
        if progress.updates == 0 or measured is None:
            return FIRST_STEP
        if math.isnan(progress.loss) or not _is_due(progress, GROWTH):
            return progress.step_size
        steepness = _steepness(measured, self.least_loss)
        if not 0 < steepness < math.inf:
            if measured.latest_loss.value < min(self.least_loss, 0.0):
                raise ValueError(
                    f"the step by rule needs a loss above 0 or above least_loss={self.least_loss:g}, got "
                    f"{measured.latest_loss.value:.3g}; give self_tuning the least_loss, or the run a step_size"
                )
            return progress.step_size
        caution = (progress.updates + GUESS_UPDATES / 2) / (progress.updates + GUESS_UPDATES)
        return STEP_SHARE * caution / (steepness * progress.local_steps)


def stale_noise(bend: float, staleness: Array) -> Array:
    r"""How many times the noise of the model is that without staleness, if step times curvature is ``bend``.

    A parameter x with curvature h, whose gradients are all stale by tau updates, moves by
    :math:`x_{t+1} = x_t - b x_{t-\tau}` plus noise of variance v.  In equilibrium its variance is

    .. math:: \frac{v}{2 b} \cdot \frac{1 + \sin\varphi}{\cos\varphi \cos a},
        \qquad a = \arcsin (b / 2), \quad \varphi = (2 \tau + 1) a

    and it diverges where phi reaches pi / 2.  The result is inf there, but 1 for staleness 0.
    Source: ours, see notebooks/09_self_tuning.ipynb; for small b and long delays Kuechler & Mensch (1992).

    >>> stale_noise(0.5, np.array([0.0, 1.0, 4.0])).round(6).tolist()
    [1.0, 1.8, inf]
    """
    a = math.asin(min(bend / 2, 1.0))
    angle = (2 * staleness + 1) * a
    stable = np.minimum(angle, math.pi / 2 - 1e-9)
    more = np.tan(math.pi / 4 + stable / 2) * math.tan(math.pi / 4 - a / 2)
    return np.where(staleness == 0, 1.0, np.where(angle < math.pi / 2, more, math.inf))


def expected_bend(step_size: float, measured: Measured, updates: int, least_loss: float) -> Quantity:
    """Step times curvature: the mean of guess and measurement, weighted by their errors."""
    guess = GUESS
    steepness = _steepness(measured, least_loss)
    if 0 < steepness < math.inf:
        later = min(STEEPNESS_SHARE * step_size * steepness, GUESS)
        guess = (GUESS_UPDATES * GUESS + updates * later) / (GUESS_UPDATES + updates)
    bend, stderr = step_size * measured.curvature.value, step_size * measured.curvature.stderr
    weight = (GUESS_ERROR * guess) ** -2
    total = guess * weight
    if 0 < stderr < math.inf:
        weight, total = weight + stderr**-2, total + bend * stderr**-2
    return Quantity(max(total / weight, 0.0), weight**-0.5)


def _own_way(local_steps: int) -> float:
    """How far a task follows the data of its worker: 0 with one step, 1 with many."""
    return min((local_steps - 1) / (MANY_LOCAL_STEPS - 1), 1.0)


def _least_k(progress: Progress) -> int:
    """The fewest models to wait for: 1, or with local steps up to a quarter of the workers."""
    return max(1, math.ceil(LEAST_SHARE * _own_way(progress.local_steps) * progress.n))


def _steepness(measured: Measured, least_loss: float) -> float:
    """E|g|^2 / F, which is about the curvature of the noise.

    A step of the inverse would bring the loss of one mini-batch to 0, if the gradient did not change.  A least loss
    above 0 is not subtracted, because a single mini-batch can be fitted better than all of them.
    """
    loss = measured.latest_loss.value - min(least_loss, 0.0)
    return measured.gradient_square.value / loss if loss > 0 else math.nan


@explains_types
def self_tuning(objective: str = "time", curvature: float | None = None, least_loss: float = 0.0) -> SelfTuning:
    """k and the threshold of ABS from what the server measures: the task times, the noise and the curvature.

    It starts with k = n / 10 and no threshold, and decides again when the time has grown by 5 %.  With 6 or more local
    steps per task it always waits for a quarter of the workers or more, with fewer for less.  With ``objective``
    "messages" it saves messages instead of seconds.  The step size is that of the run.  If nobody knows one, the run
    can be given the policy ``step_size`` of the result.  After the first update its step is .8 times the loss over
    the mean square of a gradient, or less.
    A ``curvature`` that is known from an earlier run, such as ``Constants.noise_curvature``, is not measured.
    ``least_loss`` is the least loss that can be reached, if it is known to be far from 0: then k grows in time.  A
    number below it is safe, and nothing is gained by one that is far below; with one above it, k grows too much.
    Source: our rule, see notebooks/09_self_tuning.ipynb.
    Raises ValueError for another objective, unless the curvature is positive, or unless the least loss is finite; in a
    run, if its first loss is below ``least_loss``.  A run warns (UserWarning) if its loss falls below it later.
    See also ``protocols.self_tuning_abs``, the protocol with both; ``choose.best`` and ``choose.timetable``, which know
    the delay law and the constants of the problem.

    >>> from abs_theory.delays import LogNormal
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import NoisyQuadratic
    >>> from simulations.protocols import abs_sgd
    >>> tuning, problem = self_tuning(), NoisyQuadratic((1.0, 0.3), sigma2=1.0)
    >>> law = LogNormal(median=1.0, sigma=1.0)
    >>> protocol = abs_sgd(tuning.k, tuning.max_staleness)
    >>> run = simulate(protocol, problem, law, n=8, step_size=0.1, num_updates=400, seed=0)
    >>> int(run["k"].iloc[0]), bool(run["k"].iloc[-1] > 1)
    (1, True)
    >>> run = simulate(protocol, problem, law, n=8, step_size=tuning.step_size, num_updates=400, seed=0)
    >>> bool(run["loss"].iloc[-1] < 0.1 * problem.loss(problem.initial))
    True
    """
    if objective != "time" and objective != "messages":
        raise ValueError(f'objective must be "time" or "messages", got {objective!r}')
    if not is_finite(least_loss):
        raise ValueError(f"least_loss must be a finite number, got {least_loss!r}")
    known: dict[str, float] = {"least_loss": float(least_loss)}
    if curvature is not None:
        check_positive("curvature", curvature)
        known["curvature"] = float(curvature)
    k, max_staleness = MeasuredRule("k", objective, **known), MeasuredRule("max_staleness", objective, **known)
    return SelfTuning(k, max_staleness, MeasuredStep(float(least_loss)))


@lru_cache(maxsize=1)
def _rounds(measured: Measured, n: int) -> Rounds:
    """The two policies of a decision share them."""
    return measured_rounds(measured.delay, n)


def _is_due(progress: Progress, growth: float) -> bool:
    """Whether enough time has passed since the last decision."""
    if progress.updates <= FIRST_UPDATES:
        return True
    return math.floor(math.log(progress.time, growth)) != math.floor(math.log(progress.decided, growth))
