"""The step an update takes: gradients of all its jobs in one batched call, each at its own job's parameters."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from simulations.job import Job
from simulations.problems import Problem


def averaged_gradient(
    problem: Problem, jobs: list[Job], rngs: Sequence[np.random.Generator], total: float, step_size: float
) -> tuple[np.ndarray, float]:
    """``step_size`` (the one in force now) times the weighted sum of the gradients over ``total``; the mean loss."""
    gradients, losses = _gradients(problem, jobs, rngs)
    step = _weights(jobs, gradients).dot(gradients)
    step *= step_size / total
    return step, sum(losses.tolist()) / len(jobs)


def averaged_table(
    problem: Problem, jobs: list[Job], rngs: Sequence[np.random.Generator], total: float, step_size: float
) -> tuple[np.ndarray, float]:
    """The same, but every job remembers its gradient, so that it is computed only once."""
    new = [job for job in jobs if job.gradient is None]
    if new:
        gradients, losses = _gradients(problem, new, rngs)
        for job, gradient, loss in zip(new, gradients, losses.tolist(), strict=True):
            job.gradient, job.loss = gradient, loss
    table = np.array([job.gradient for job in jobs])
    return step_size / total * _weights(jobs, table).dot(table), sum(job.loss for job in jobs) / len(jobs)


def averaged_difference(
    problem: Problem, jobs: list[Job], rngs: Sequence[np.random.Generator], total: float
) -> tuple[np.ndarray, float]:
    """The weighted sum over ``total`` of what each job's local steps, of the size it was given, change; the mean loss.

    Jobs may have taken different numbers of steps.  The loss is that of each job's first step.
    """
    start = np.array([job.params for job in jobs])
    counts = np.array([job.local_steps for job in jobs])
    sizes = np.array([[job.step_size] for job in jobs], dtype=start.dtype)
    params, losses = start.copy(), np.zeros(len(jobs))
    for taken in range(counts.max()):
        going = np.flatnonzero(counts > taken)
        workers = [jobs[i].worker for i in going]
        seen, gradients = problem.gradients(params[going], workers, [rngs[worker] for worker in workers])
        params[going] -= sizes[going] * gradients
        if taken == 0:
            losses = seen
    return _weights(jobs, start).dot(start - params) / total, sum(losses.tolist()) / len(jobs)


def _gradients(problem: Problem, jobs: list[Job], rngs: Sequence[np.random.Generator]) -> tuple[np.ndarray, np.ndarray]:
    workers = [job.worker for job in jobs]
    params = np.array([job.params for job in jobs])
    losses, gradients = problem.gradients(params, workers, [rngs[worker] for worker in workers])
    return gradients, losses


def _weights(jobs: list[Job], like: np.ndarray) -> np.ndarray:
    weights = [job.weight for job in jobs]
    if weights.count(1.0) == len(weights):
        return _ones(len(jobs), like.dtype)
    return np.array(weights, dtype=like.dtype)


@cache
def _ones(count: int, dtype: np.dtype) -> np.ndarray:
    ones = np.ones(count, dtype)
    ones.flags.writeable = False
    return ones
