"""Delay laws as finite Markov chains: the phases a task passes through until it is done."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag

from abs_theory.delays import Coxian, Delay, Erlang, Exponential, Gamma, HyperExponential, LocalSteps, Mixture, Sum
from abs_theory.typing import Array

__all__ = ["Phases", "phases"]


MOST_PHASES = 64  # phases of one law


class Phases(NamedTuple):
    """A task starts in phase i with ``start[i]`` and moves to a later phase j, or by what is missing to its end.

    ``generator`` has the rates of moving above its diagonal, minus the rates of leaving on it, and zeros below.
    """

    start: Array
    generator: Array

    @property
    def ends(self) -> Array:
        """Rate at which a task in each phase is done; sums that are 0 but for rounding are 0."""
        rates = -self.generator.sum(axis=1)
        return np.where(rates > 1e-14 * -np.diag(self.generator), rates, 0.0)


@lru_cache(maxsize=1024)
def phases(law: Delay) -> Phases | None:
    """The phases of ``law``, at most 64; None if it is not made of exponentials.

    Exponential, Erlang, gamma of whole shape, hyper-exponential and Coxian laws, and mixtures, sums and local steps of
    these.  Source: Neuts (1981), Matrix-Geometric Solutions in Stochastic Models, ch. 2, for the closure rules.
    """
    match law:
        case Exponential(mean=mean):
            chain = Phases(np.ones(1), np.array([[-1 / mean]]))
        case Erlang(steps=steps, scale=scale) | LocalSteps(delay=Exponential(mean=scale), steps=steps) if (
            steps <= MOST_PHASES
        ):
            chain = _in_line(steps, scale)
        case Gamma(shape=shape, scale=scale) if shape <= MOST_PHASES and float(shape).is_integer():
            chain = _in_line(int(shape), scale)
        case HyperExponential(probs=probs, means=means):
            chain = Phases(np.array(probs) / sum(probs), -np.diag(1 / np.array(means)))
        case Coxian(rates=rates):
            chain = Phases(np.eye(len(rates))[0], law.generator)
        case Mixture(weights=weights, components=laws):
            chain = _all([phases(component) for component in laws], lambda parts: _one_of(weights, parts))
        case Sum(terms=terms):
            chain = _all([phases(term) for term in terms], _one_after_another)
        case LocalSteps(delay=delay, steps=steps) if steps <= MOST_PHASES:
            chain = _all([phases(delay)] * steps, _one_after_another)
        case _:
            return None
    return chain if chain is not None and chain.start.size <= MOST_PHASES else None


def _in_line(steps: int, scale: float) -> Phases:
    return Phases(np.eye(steps)[0], (np.eye(steps, k=1) - np.eye(steps)) / scale)


def _all(parts: list[Phases | None], join: Callable[[list[Phases]], Phases]) -> Phases | None:
    known = [part for part in parts if part is not None and part.start.size <= MOST_PHASES]
    return join(known) if len(known) == len(parts) <= MOST_PHASES else None


def _one_of(weights: Sequence[float], parts: list[Phases]) -> Phases:
    start = np.concatenate([weight * part.start for weight, part in zip(weights, parts, strict=True)])
    return Phases(start / start.sum(), np.asarray(block_diag(*(part.generator for part in parts))))


def _one_after_another(parts: list[Phases]) -> Phases:
    """The end of each part is the start of the next."""
    generator = np.asarray(block_diag(*(part.generator for part in parts)))
    start, first = np.zeros(len(generator)), 0
    start[: parts[0].start.size] = parts[0].start
    for part, after in pairwise(parts):
        then = first + part.start.size
        generator[first:then, then : then + after.start.size] = np.outer(part.ends, after.start)
        first = then
    return Phases(start, generator)
