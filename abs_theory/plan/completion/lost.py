"""Calls that never came back are late, not absent: rounds with lost calls, completed by a model of their delays.

A call counts as lost if the server waited for it in vain: it failed, or was given up after the last arrival, or nobody
knows when it was given up.  A call that the server cancelled at its k-th arrival is not lost, as it was not waited for.
A lost call is taken to arrive after all that arrived in its round, and after the time at which it was given up.  That
time bounds the k-th arrival from below, whatever the law; how much later it comes is drawn from a lognormal law of the
residuals, fitted with the lost calls as right-censored.
"""

import math

import numpy as np
from numpy.typing import NDArray

from abs_theory.checks import explains_types
from abs_theory.plan import fit
from abs_theory.plan.completion.completed import Completed, number_of_copies
from abs_theory.plan.effects import Effects, Mask, RoundTable
from abs_theory.typing import Array

__all__ = ["complete"]

NOISE_OF_SPREADS = 3.0  # over the root of the number of rounds: relative noise of a squared spread, with a margin
LATEST_QUANTILE = 1e-4  # survival beyond which the law is not drawn from, so that one draw does not decide a mean


@explains_types
def complete(data: RoundTable, parts: Effects, rng: np.random.Generator) -> Completed:
    """Complete the rounds of ``data`` that lost calls; without any, nothing is drawn from ``rng``.

    >>> from abs_theory.plan.effects import effects
    >>> seconds = np.array([[1.0, 2.0], [1.1, 2.1], [0.9, 9.0]])
    >>> lost = seconds > 5  # a call that was given up after 9 s
    >>> data = RoundTable(seconds, ~lost, np.zeros(3, dtype=np.int64), failed=lost)
    >>> done = complete(data, effects(data.delivered), np.random.default_rng(0))
    >>> bool((done.copies[:, lost] >= 9).all()), done.bounds.round(3).tolist()
    (True, [1.0, 4.367])
    """
    arrived = np.sort(data.delivered, axis=1)
    if not data.lost.any():
        nothing = np.zeros(arrived.shape, dtype=bool)
        return Completed(data.delivered[None], arrived, (), arrived, nothing, nothing)
    last = np.where(data.observed, data.seconds, -np.inf).max(axis=1, keepdims=True)
    given_up = np.where(data.lost, np.maximum(data.seconds, last), np.nan)
    factor = parts.worker * parts.round[:, None]
    factor = np.where(np.isfinite(factor), factor, np.nanmedian(parts.worker))
    known = data.observed | data.lost
    residual = np.where(data.observed, data.seconds, given_up) / factor
    law = fit.lognormal(residual[known], data.observed[known]).law
    copies = np.repeat(data.delivered[None], number_of_copies(data.seconds.size), axis=0)
    rows, workers = _in_order(data.lost, given_up, factor)
    scale = factor[rows, workers]
    for copy in copies:
        copy[rows, workers] = _later(law, given_up[rows, workers] / scale, rng) * scale
    least = np.sort(np.where(data.observed, data.seconds, given_up), axis=1)
    arrivals = np.sort(copies, axis=2).mean(axis=0)
    rank = np.arange(data.seconds.shape[1])
    imputed = (rank >= data.observed.sum(axis=1, keepdims=True)) & np.isfinite(arrivals)
    blind = imputed & _blind(data, last).any(axis=1, keepdims=True)
    return Completed(copies, arrivals, _as_fast_as_others(data, parts, last, rng), least, imputed, blind)


def _in_order(calls: Mask, given_up: Array, factor: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and workers of ``calls``, in an order that does not depend on that of the workers."""
    rows, workers = np.nonzero(calls)
    order = np.lexsort((factor[rows, workers], given_up[rows, workers], rows))
    return rows[order], workers[order]


def _later(law: "fit.Delay", above: Array, rng: np.random.Generator) -> Array:
    """Draws of ``law`` given that they are ``above`` a time; a little above where the law ends before."""
    beyond = np.asarray(law.sf(above))
    drawn = np.asarray(law.isf(np.maximum(beyond * rng.random(above.shape), LATEST_QUANTILE * beyond)))
    return np.where((beyond > 0) & np.isfinite(drawn), np.maximum(drawn, above), above)


def _as_fast_as_others(data: RoundTable, parts: Effects, last: Array, rng: np.random.Generator) -> tuple[Array, ...]:
    """Arrivals if the calls whose end nobody saw, or that failed early, were as fast as others.

    Calls that failed early are taken as fast as others that last so long, as if failures struck at any moment, and as
    fast as any, as if failures struck any call.
    """
    blind = _blind(data, last)
    if not blind.any():
        return ()
    of_round = parts.round ** _real_share(parts, data.observed)
    factor = parts.worker * of_round[:, None]
    factor = np.where(np.isfinite(factor), factor, np.nanmedian(parts.worker))
    residuals = np.sort((data.seconds / factor)[data.observed])
    rows, workers = _in_order(blind, data.seconds, factor)
    scale = factor[rows, workers]
    early = ~data.end_unknown[rows, workers]
    after = np.where(early, data.seconds[rows, workers], 0.0) / scale
    last_so_long = np.minimum(np.searchsorted(residuals, after, side="right"), residuals.size - 1)
    arrivals = []
    for first in (last_so_long, np.zeros_like(last_so_long)) if early.any() else (last_so_long,):
        seconds = np.where(data.lost, np.inf, data.delivered)
        # one draw: the mean of several would vary less from round to round than delays do
        seconds[rows, workers] = residuals[rng.integers(first, residuals.size)] * scale
        arrivals.append(np.sort(seconds, axis=1))
    return tuple(arrivals)


def _real_share(parts: Effects, observed: Mask) -> float:
    """Share of the spread of the round factors that is not the noise of a median over workers, from 0 to 1.

    Factors that are noise would make calls of a round alike that are not, and so the first arrivals too late.
    """
    known = observed.sum(axis=1) > 1
    if not known.any():
        return 0.0
    spreads = [
        np.median(np.abs(logs - np.median(logs)))
        for logs in (np.log(parts.round[known]), np.log(parts.residual[observed]))
    ]
    if spreads[0] == 0:
        return 1.0
    free = float(observed[known].sum(axis=1).mean()) - 1  # of the workers of a round: the median takes one
    noise = math.pi / 2 * spreads[1] ** 2 / free  # of a median of normal values
    most_by_chance = noise * (1 + NOISE_OF_SPREADS / math.sqrt(np.count_nonzero(known)))
    return float(np.clip(1 - most_by_chance / spreads[0] ** 2, 0.0, 1.0))


def _blind(data: RoundTable, last: Array) -> Mask:
    """Lost calls known only to be later than the last arrival of their round."""
    return data.lost & (data.end_unknown | (data.seconds < last))
