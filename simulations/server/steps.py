"""What the jobs of an update contribute: their gradients, in one call, at the parameters of each job."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import cast

import numpy as np

from abs_theory.checks import explains_types
from simulations.problems import DrawnAhead, Problem
from simulations.server.tasks import Job

Streams = Sequence[np.random.Generator]
Contributions = tuple[np.ndarray, np.ndarray]  # one row per job, shape (jobs, d), and losses, shape (jobs,)
MOST_AHEAD, MOST_AHEAD_BYTES = 32, 8 * 1024  # gradients of a worker whose random numbers are drawn at once


class GradientDraws:
    """What the gradients of many workers draw, each from its own stream; worker w of row r is number r n + w."""

    def __init__(self, problem: DrawnAhead, rngs: Streams, n: int, repeated: bool):
        sample = problem.draws(0, np.random.default_rng(0), 1)
        self.problem, self.rngs, self.n = problem, rngs, n
        self.repeated = repeated  # whether a worker may have several gradients in one update
        self.ahead = max(1, min(MOST_AHEAD, MOST_AHEAD_BYTES // max(sample.nbytes, 1)))
        self._stock = np.empty((len(rngs), self.ahead, *sample.shape[1:]), sample.dtype)
        self._next = np.full(len(rngs), self.ahead)  # place in its stock; all are empty

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """The draws of the next gradient of each of these workers, in turn."""
        if not self.repeated:
            return self._take(numbers)
        order = numbers.argsort(kind="stable")
        turn = np.empty(len(numbers), int)
        turn[order] = np.arange(len(numbers)) - np.searchsorted(numbers[order], numbers[order])
        draws = np.empty((len(numbers), *self._stock.shape[2:]), self._stock.dtype)
        for value in range(turn.max() + 1):
            draws[turn == value] = self._take(numbers[turn == value])
        return draws

    def keep(self, numbers: np.ndarray) -> None:
        """Forget all but these workers, which are numbered anew."""
        self._stock, self._next = self._stock[numbers], self._next[numbers]
        self.rngs = [self.rngs[number] for number in numbers.tolist()]

    def _take(self, numbers: np.ndarray) -> np.ndarray:
        """The same for different workers."""
        place = self._next[numbers]
        if place.max() == self.ahead:
            empty = numbers[place == self.ahead]
            for number in empty.tolist():
                self._stock[number] = self.problem.draws(number % self.n, self.rngs[number], self.ahead)
            self._next[empty] = 0
            place = self._next[numbers]
        self._next[numbers] = place + 1
        return self._stock[numbers, place]


class Checked:
    """A problem whose gradients are checked each time they are computed: for workers, and the first update of a run."""

    def __init__(self, problem: Problem):
        self.problem = problem

    def gradients(self, params: np.ndarray, workers: Sequence[int], rngs: Streams) -> tuple[np.ndarray, np.ndarray]:
        """Those of the problem; ValueError unless they are arrays of shapes (k,) and (k, d)."""
        made: object = self.problem.gradients(params, workers, rngs)
        if not (isinstance(made, tuple | list) and len(made) == 2):
            raise ValueError(
                f"gradients of {type(self.problem).__name__} must return two arrays, losses and gradients, got "
                f"{in_words(made)}"
            )
        losses, rows = made
        wanted = isinstance(rows, np.ndarray) and rows.shape == params.shape and rows.dtype.kind == "f"
        if not (wanted and isinstance(losses, np.ndarray) and losses.shape == params.shape[:1]):
            raise ValueError(
                f"gradients of {type(self.problem).__name__} must return losses of shape {params.shape[:1]} and "
                f"gradients of shape {params.shape}, arrays of floating-point numbers, got {in_words(losses)} and "
                f"{in_words(rows)}"
            )
        return losses, rows


def in_words(value: object) -> str:
    """What a problem has given in place of an array of the right shape."""
    return f"shape {value.shape} of {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


def gradients(problem: Problem, jobs: Sequence[Job], rngs: Streams) -> Contributions:
    """The gradient of each job at its parameters."""
    workers = [job.worker for job in jobs]
    losses, rows = problem.gradients(models_of(jobs), workers, [rngs[worker] for worker in workers])
    return rows, losses


def differences(problem: Problem, jobs: Sequence[Job], rngs: Streams) -> Contributions:
    """What the local steps of each job, with its own step size, subtract from its parameters.

    Jobs may have taken different numbers of steps.  The loss is that of the first step of a job.
    """

    def gradients_of(going: np.ndarray, params: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        workers = [jobs[i].worker for i in going.tolist()]
        return problem.gradients(params, workers, [rngs[worker] for worker in workers])

    return walked(models_of(jobs), *steps_and_sizes(jobs), gradients_of)


@explains_types
def contribution(problem: Problem, job: Job, rng: np.random.Generator, one_step: bool) -> tuple[np.ndarray, float]:
    """What one job contributes to an update, and its loss: its gradient if it is ``one_step``, else its difference.

    Its mini-batches are drawn from ``rng``.  Raises ValueError for gradients of a wrong shape or type.

    >>> from simulations.problems import NoisyQuadratic
    >>> job = Job(worker=0, version=0, start=0.0, params=np.array([2.0]), local_steps=2, step_size=0.5)
    >>> row, loss = contribution(NoisyQuadratic((1.0,), sigma2=0.0), job, np.random.default_rng(0), one_step=False)
    >>> row.tolist(), float(loss)  # from 2 to 1 to 1/2
    ([1.5], 2.0)
    """
    rows, losses = (gradients if one_step else differences)(
        cast(Problem, Checked(problem)), [job], [rng] * (job.worker + 1)
    )
    return rows[0], losses[0]


def warn_of_nan(
    problem: Problem, params: np.ndarray, losses: np.ndarray, gradients: np.ndarray | None, update: int
) -> None:
    """Warn if losses or gradients of this update are NaN at models, shape (jobs, d), that have not diverged.

    A step that is too large makes parameters huge first.  After several local steps ``gradients`` is None: only the
    losses belong to these models.
    """
    wrong = np.isnan(losses) if gradients is None else np.isnan(losses) | np.isnan(gradients).any(axis=1)
    if not wrong.any():
        return
    largest = np.fmin.reduce(np.abs(params[wrong]).max(axis=1, initial=0.0))  # NaN if all models have a NaN
    precision = np.finfo(np.result_type(params, np.float32))  # of integers too
    if largest < precision.max**0.25:  # products of a few parameters do not overflow
        what = "losses" if np.isnan(losses).any() else "gradients"
        warnings.warn(
            f"{what} of {type(problem).__name__} are NaN from update {update} on, though the largest parameter is "
            f"only {largest:.3g}: the cause is the problem, not the step size",
            stacklevel=2,
        )


def steps_and_sizes(jobs: Sequence[Job]) -> tuple[np.ndarray, np.ndarray]:
    """The local steps of each job, and their size."""
    return np.array([job.local_steps for job in jobs]), np.array([job.step_size for job in jobs])


def slopes(differences: np.ndarray, counts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The mean gradient of each job whose ``counts`` local steps of these ``sizes`` have made these ``differences``."""
    return differences / (counts * sizes)[:, None].astype(differences.dtype)


def walked(
    start: np.ndarray,
    counts: np.ndarray,
    sizes: np.ndarray,
    gradients_of: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> Contributions:
    """What ``counts`` local steps of these ``sizes`` subtract from ``start``, shape (jobs, d); the first losses.

    ``gradients_of(going, params)`` gives losses and gradients of the jobs ``going`` at ``params``.
    """
    params, losses, sizes = start.copy(), np.zeros(len(start)), sizes[:, None].astype(start.dtype)
    everybody, fewest = np.arange(len(start)), counts.min()
    for taken in range(counts.max()):
        if taken < fewest:
            batch_losses, slopes = gradients_of(everybody, params)
            params -= sizes * slopes
        else:
            going = np.flatnonzero(counts > taken)
            batch_losses, slopes = gradients_of(going, params[going])
            params[going] -= sizes[going] * slopes
        if taken == 0:
            losses = batch_losses
    return start - params, losses


def remembered(
    contributions: Callable[[Problem, Sequence[Job], Streams], Contributions],
    problem: Problem,
    jobs: Sequence[Job],
    rngs: Streams,
    running: Iterable[Job] = (),
) -> Contributions:
    """The same, but every job keeps its contribution, so that it is computed only once.

    If any has to be computed, so are those of the ``running`` jobs, in the same call.
    """
    new = [job for job in jobs if job.contribution is None]
    if new:
        new += [job for job in running if job.contribution is None]
        for job, row, loss in zip(new, *contributions(problem, new, rngs), strict=True):
            job.contribution = row, loss
    rows, losses = zip(*(job.contribution for job in jobs if job.contribution is not None), strict=True)
    return np.array(rows), np.array(losses)


def weighted_sum(weights: list[float], scale: float, rows: np.ndarray) -> np.ndarray:
    """``scale`` times the weighted sum of the rows, shape (d,)."""
    if weights.count(1.0) == len(weights):
        return _equal_weights(len(weights), scale, rows.dtype).dot(rows)
    return (scale * np.array(weights)).astype(rows.dtype).dot(rows)


def models_of(jobs: Sequence[Job]) -> np.ndarray:
    """The parameters at which each job computes, shape (jobs, d)."""
    return np.array([job.params for job in jobs])


@lru_cache(maxsize=64)
def _equal_weights(count: int, weight: float, dtype: np.dtype) -> np.ndarray:
    weights = np.full(count, weight, dtype)
    weights.flags.writeable = False
    return weights
