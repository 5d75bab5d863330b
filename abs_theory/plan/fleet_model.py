"""The model that a regime asks for: a delay law for each worker, and a factor common to all in a round."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abs_theory.delays import Delay, Deterministic, LogNormal, Mixture, ShiftedExponential, Sum
from abs_theory.delays.text import delay_text
from abs_theory.plan import fit
from abs_theory.plan.diagnosis import Diagnosis
from abs_theory.plan.effects import Effects, RoundTable
from abs_theory.plan.fit import Fit
from abs_theory.typing import Array, DelayLike

__all__ = ["FleetModel", "NotIdentifiedError", "fleet_model", "resized"]


MOST_GROUPS = 8  # of workers of similar speed, each with its own law
DELIVERIES_FOR_OWN_LAW = 30  # of a group; with fewer it takes the shape of the law of all workers
RESAMPLED_FLEETS = 8  # drawn and averaged when n changes; divides ``replayed.STARTS``


class NotIdentifiedError(ValueError):
    """The trace does not identify what was asked."""


@dataclass(frozen=True, eq=False)
class FleetModel:
    """Workers of group g take ``factor`` times a draw of the best of ``fits[g]``."""

    fits: tuple[tuple[Fit, ...], ...]
    group: NDArray[np.intp]  # of each worker
    factor: float  # mean factor of a round, common to all its workers
    words: str

    @property
    def laws(self) -> Delay | list[Delay]:
        """One law, or one for each worker, from fast to slow."""
        best = [fit.best_fit(fits).law for fits in self.fits]
        return best[0] if len(best) == 1 else [best[g] for g in np.sort(self.group)]

    @property
    def delay_texts(self) -> list[str]:
        """The laws in a round of mean ``factor`` as text that ``delays.text.delay_laws`` reads, group by group."""
        texts = [delay_text(_scaled(fit.best_fit(fits).law, self.factor)) for fits in self.fits]
        counts = np.bincount(self.group, minlength=len(texts))
        return [f"{text} x {count}" for text, count in zip(texts, counts, strict=True) if count]


def _scaled(law: DelayLike, factor: float) -> Delay:
    """``factor`` times a draw of a law that ``fit`` fits."""
    match law:
        case LogNormal():
            return LogNormal(law.median * factor, law.sigma)
        case Deterministic():
            return Deterministic(law.value * factor)
        case ShiftedExponential():
            return ShiftedExponential(shift=law.shift * factor, scale=law.scale * factor)
        case Sum():
            return Sum(tuple(_scaled(part, factor) for part in law.terms))
        case Mixture():
            return Mixture(law.weights, tuple(_scaled(part, factor) for part in law.components))
        case _:
            raise TypeError(f"no fit gives a law such as {law!r}")


def fleet_model(data: RoundTable, parts: Effects, diagnosis: Diagnosis, n: int) -> FleetModel:
    """Laws for ``n`` workers: those of the trace, or as many like them, evenly spaced from fast to slow.

    Unequal workers are gathered into up to MOST_GROUPS groups by speed.  Common slowdowns are divided out first; their
    mean is kept as ``factor``.  Attempts given up are right-censored.
    Raises NotIdentifiedError if some group has no two deliveries: its law is not identified.
    """
    scale = parts.round[:, None] if diagnosis.has_round_effect else np.ones((data.seconds.shape[0], 1))
    seconds = data.seconds / scale
    tried = np.isfinite(seconds)
    speed = parts.worker.copy()
    if not np.isfinite(speed).all():
        speed[~np.isfinite(speed)] = np.inf  # never delivered: the slowest
    order = np.argsort(speed, kind="stable")
    if diagnosis.has_worker_effect:
        group = np.empty(speed.size, dtype=np.intp)
        group[order] = np.arange(speed.size) * min(MOST_GROUPS, speed.size) // speed.size
    else:
        group = np.zeros(speed.size, dtype=np.intp)
    fits = []
    for g in range(group.max() + 1):
        mine = tried & (group == g)
        if np.count_nonzero(data.observed & mine) < 2:
            raise NotIdentifiedError("a worker has not delivered twice: its law is not identified by this trace")
        if np.count_nonzero(data.observed & mine) >= DELIVERIES_FOR_OWN_LAW or not data.observed.all():
            fits.append(fit.laws(seconds[mine], data.observed[mine]))
        else:  # the shape of all workers, at the speed of this group
            residual = parts.residual * parts.round[:, None] / scale
            typical = np.exp(np.log(speed[group == g]).mean())
            fits.append(fit.laws(typical * residual[np.isfinite(residual)]))
    if n != speed.size:
        group = group[order[np.linspace(0, speed.size - 1, n).round().astype(int)]]
    words = f"{diagnosis.model}: {', '.join(sorted({fit.best_fit(of_group).name for of_group in fits}))}"
    mean = float(parts.round[np.isfinite(parts.round)].mean()) if diagnosis.has_round_effect else 1.0
    return FleetModel(tuple(fits), group, mean, words)


def resized(seconds: Array, parts: Effects, n: int, rng: np.random.Generator, copies: int = RESAMPLED_FLEETS) -> Array:
    """Complete rounds of ``n`` workers by resampling those of ``seconds``, shape ``copies x rounds x n``.

    Fewer workers: a random subset in each copy.  More workers: all of them and others like them.  Such a worker has the
    speed of a worker of the trace, the factor of the round, and a residual drawn from those of that worker.
    """
    rounds, workers = seconds.shape
    fleets = np.empty((copies, rounds, n))
    for copy in fleets:
        if n <= workers:
            copy[:] = seconds[:, np.sort(rng.permutation(workers)[:n])]
            continue
        again = math.ceil(n / workers) - 1
        like = np.concatenate([rng.permutation(workers) for _ in range(again)])[: n - workers]
        others = rng.integers(rounds, size=(rounds, like.size))
        copy[:, :workers] = seconds
        copy[:, workers:] = seconds[others, like] * (parts.round[:, None] / parts.round[others])
    return fleets
