"""Sums of discrete times, and of a discrete and a continuous time."""

import math
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from abs_theory.delays.base import Array, Delay, Shifted
from abs_theory.delays.bounded import Deterministic
from abs_theory.delays.discrete import Atoms, Discrete
from abs_theory.delays.mixture import Mixture
from abs_theory.delays.numerics import convolution

MOST_LISTED_PAIRS = 2**20  # pairs of atoms whose sums are all listed; more go on a lattice
LATTICE_POINTS = 2**18
EQUAL_TIMES = 1e-13  # relative; times that differ by less are the same but for rounding
MOST_ATOMS_BESIDE_CONTINUOUS = 256  # atoms that are added to a continuous law


def as_atoms(law: Delay) -> Discrete | None:
    """``law`` as a discrete law; None if it is not discrete."""
    match law:
        case Discrete():
            return law
        case Deterministic(value=value):
            return Atoms(np.array([value]), np.ones(1))
        case Shifted(fixed_part=shift, random_part=random_part) if (inner := as_atoms(random_part)) is not None:
            return Atoms(shift + inner.times, inner.weights)
        case Mixture(weights=weights, laws=laws):
            inner = [as_atoms(component) for component in laws]
            if all(part is not None for part in inner):
                parts = [(w, p) for w, p in zip(weights, inner, strict=True) if p is not None]
                times = np.concatenate([np.asarray(part.times, np.float64) for _, part in parts])
                return _merged(times, np.concatenate([w * _probs(p) for w, p in parts]))
    return None


def summed(parts: Counter[Discrete]) -> Discrete:
    """Law of the sum of independent draws, ``parts[law]`` from each law.

    All sums are listed, and equal ones merged, if that takes at most 2^20 pairs.  Otherwise the times go on a lattice
    of 2^18 points and are added by fast Fourier transform.  Each time is divided between its two neighbours on the
    lattice such that its mean stays the same.  Means are then exact, each draw moves by at most one spacing and adds at
    most a quarter of its square to the variance, and probabilities have an absolute error of 1e-15.
    Times that are multiples of one step stay exact if 2^18 steps suffice.
    """
    total: Discrete | None = None
    for law, count in parts.items():
        for _ in range(count):
            if total is None:
                total = law
            elif total.times.size * law.times.size > MOST_LISTED_PAIRS:
                return _on_lattice(parts)
            else:
                times = np.add.outer(total.times, law.times).ravel()
                total = _merged(times, np.multiply.outer(_probs(total), _probs(law)).ravel())
    assert total is not None
    return total


def _probs(law: Discrete) -> Array:
    return law.weights / law.weights.sum()


def _merged(times: Array, probs: Array) -> Atoms:
    """Atoms at the distinct ``times``."""
    order = np.argsort(times)
    times, probs = times[order], probs[order]
    first = np.flatnonzero(np.append(True, np.diff(times) > EQUAL_TIMES * times[1:]))
    probs = np.add.reduceat(probs, first)
    seen = probs > 0
    return Atoms(times[first[seen]], probs[seen])


def _on_lattice(parts: Counter[Discrete]) -> Atoms:
    start = float(sum(count * law.times[0] for law, count in parts.items()))
    span = float(sum(count * float(np.ptp(law.times)) for law, count in parts.items()))
    steps = np.concatenate([np.diff(law.times) for law in parts])
    step = float(steps.min())
    if span / step > LATTICE_POINTS or not np.allclose(steps / step, np.rint(steps / step), rtol=0, atol=1e-9):
        step = span / LATTICE_POINTS
    size = math.ceil(span / step) + 2
    transform: Any = 1.0
    for law, count in parts.items():
        place = (law.times - law.times[0]) / step
        left = np.floor(place + 1e-9).astype(int)
        share = np.maximum(place - left, 0.0)
        pmf = np.bincount(left, _probs(law) * (1 - share), size) + np.bincount(left + 1, _probs(law) * share, size)
        transform = transform * np.fft.rfft(pmf, size) ** count
    pmf = np.fft.irfft(transform, size)
    seen = np.flatnonzero(pmf > 1e-16)
    return Atoms(np.asarray(start + step * seen, np.float64), np.asarray(pmf[seen], np.float64))


def plus_continuous(law: Discrete, other: Delay) -> convolution.TabulatedSum:
    """Law of the sum of a draw from each, tabulated.

    More than 256 times are divided into 128 groups of equal width in the logit of their probability.  Each group is
    replaced by two times with the same first three moments.  Against the exact sum, probabilities are then good to
    2e-3 and the mean to 1e-4.
    """
    times, probs = _gathered(law) if law.times.size > MOST_ATOMS_BESIDE_CONTINUOUS else (law.times, _probs(law))
    exact = convolution.Exact(other)

    def logit_at(t: Array) -> Array:
        left = t[:, None] - times
        with np.errstate(divide="ignore"):
            return np.log(other.cdf(left) @ probs) - np.log(other.sf(left) @ probs)

    scale = convolution.Scale(times[0] + exact.start, times[-1] + exact.end)
    low, high = float(other.ppf(expit(-92.0))) - exact.start, times[-1] - times[0] + float(other.isf(expit(-92.0)))
    return convolution.tabulated(logit_at, scale, (low, high), 90.0)


def _gathered(law: Discrete) -> tuple[Array, Array]:
    probs = _probs(law)
    x = logit(np.clip(np.cumsum(probs) - probs / 2, 1e-15, 1 - 1e-15))
    share = np.ceil((x - x[0]) / np.ptp(x) * MOST_ATOMS_BESIDE_CONTINUOUS / 2)
    first = np.flatnonzero(np.append(True, np.diff(share) > 0))
    weight = np.add.reduceat(probs, first)
    group: NDArray[np.intp] = np.repeat(np.arange(first.size), np.diff(np.append(first, probs.size)))
    mean = np.add.reduceat(probs * law.times, first) / weight
    excess = law.times - mean[group]
    spread = np.sqrt(np.add.reduceat(probs * excess**2, first) / weight)
    cube = np.add.reduceat(probs * excess**3, first) / weight
    skew = np.divide(cube, spread**3, out=np.zeros_like(cube), where=spread > 0)
    root = np.sqrt(4 + skew**2)
    times = np.concatenate([mean + spread * (skew - root) / 2, mean + spread * (skew + root) / 2])
    merged = _merged(times, np.concatenate([weight * (1 + skew / root) / 2, weight * (1 - skew / root) / 2]))
    return merged.times, merged.weights
