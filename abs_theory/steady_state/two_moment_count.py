"""Approximate the number of finished workers, a sum of binomials with different p, by one binomial."""

import numpy as np
from scipy.special import betainc, gammaln, ndtr, xlogy

from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["beyond_two_moments", "number"]


def number(mean: Array, square: Array, k: Array, n: int, exact: bool) -> tuple[Array, Array, Array]:
    """P(N < k), E[N; N < k], and P(N' = k-1) of one worker less, for a binomial number of given moments.

    ``square`` is the sum of p^2, mean minus variance; without ``exact`` the first is approximate, the second 0.
    """
    trials = np.clip(mean**2 / np.where(square > 0, square, 1.0), k, n)
    p = np.clip(mean / trials, 0.0, 1.0)
    above = trials - k + 1
    one_short = np.exp(xlogy(k - 1, p) + xlogy(trials - k, 1 - p) - _log_beta(above, k)) / trials
    if not exact:
        return _fewer(trials, p, k), np.zeros_like(mean), one_short
    unfinished = betainc(above, k, 1 - p)
    # P(N' < k-1) of one trial less is P(N < k) without the ways in which k-1 of the others are done and this one is not
    waiting = np.where(k > 1, mean * np.maximum(unfinished - (1 - p) * one_short, 0.0), 0.0)
    return unfinished, waiting, one_short


def beyond_two_moments(workers: Workers, done: list[Array], k: Array, n: int) -> tuple[Array, Array]:
    """What two moments miss of P(N < k) and of E[N; N < k] where the groups have different probabilities.

    The exact law comes from its characteristic function at the n+1 roots of unity; cells x nodes.
    """
    z = np.exp(-2j * np.pi * np.arange(n + 1) / (n + 1))
    wave = np.ones((*done[0].shape, n + 1), dtype=complex)
    for p, count in zip(done, workers.counts, strict=True):
        wave *= (1 - p[..., None] + p[..., None] * z) ** count
    pmf = np.where(np.arange(n + 1) < k[:, None, None], np.maximum(np.fft.ifft(wave).real, 0.0), 0.0)
    mean = sum(p * count for p, count in zip(done, workers.counts, strict=True))
    square = sum(p**2 * count for p, count in zip(done, workers.counts, strict=True))
    late, waits, _ = number(np.asarray(mean), np.asarray(square), k[:, None], n, exact=True)
    return pmf.sum(axis=2) - late, pmf @ np.arange(n + 1.0) - waits


def _log_beta(a: Array, b: Array) -> Array:
    return gammaln(a) + gammaln(b) - gammaln(a + b)  # faster than betaln


def _fewer(trials: Array, p: Array, k: Array) -> Array:
    """P(fewer than ``k`` of ``trials``), to about 1e-3; a fifth of the cost of ``betainc``.

    Source: Peizer & Pratt (1968), A normal approximation for binomial, F, beta, and other common tail probabilities.
    """
    p = np.clip(p, 1e-12, 1 - 1e-12)
    q, above = 1 - p, trials - k + 1
    bend = 1 + q * _bend((k - 0.5) / (trials * p)) + p * _bend((above - 0.5) / (trials * q))
    gap = k - 1 / 3 - (trials + 1 / 3) * p + 0.02 * (q / k - p / above + (q - 0.5) / (trials + 1))
    return ndtr(gap * np.sqrt(np.maximum(bend, 0.0) / ((trials + 1 / 6) * p * q)))


def _bend(x: Array) -> Array:
    away = 1 - x
    near = np.abs(away) < 1e-3
    gap = np.where(near, 1.0, away)
    return np.where(near, away / 3, (1 - x * x + 2 * x * np.log(x)) / (gap * gap))
