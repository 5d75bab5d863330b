r"""Integrals over time for unequal workers, by panels that are halved until they agree with their halves.

Unequal workers have no common quantile to integrate over.  The coordinate is log t, in which fast workers, slow workers
and power-law tails are equally smooth.  The time axis is cut at quantiles of all laws and wherever a law starts, ends
or jumps.  The Gauss-Lobatto rule includes both ends of a panel, so it sees every fall of a monotone probability.
"""

from collections.abc import Callable

import numpy as np
from numpy.polynomial.legendre import Legendre, legvander
from numpy.typing import ArrayLike
from scipy.special import expit

from abs_theory.delays import Delay, Mixture
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = [
    "before",
    "edges",
    "integral",
    "jumps",
    "law_integral",
    "noise",
    "tail_indices",
    "time_integral",
]

Rows = Callable[[Array], Array]  # times, shape m -> values, shape rows x m
Rule = Callable[[Array, Array], Array]  # ends of panels -> integrals over them, shape rows x panels

PANEL_TOLERANCE = 1e-11  # change of a panel, relative to the whole integral; the remaining error is far smaller
SMALLEST_EXACT_PROBABILITY = 1e-5  # smaller ones have an absolute, not a relative accuracy
FLAT_CHANGE = 1e-15  # relative to the whole integral; a panel that changes less needs no nodes
MAX_HALVINGS, MAX_PANELS = 80, 2**14
LATEST_TIME = 1e100  # seconds; later, power laws are integrated analytically
PANELS_AT_ONCE = 4096
SMALLEST_NORMAL = 1e-300  # smaller probabilities lose digits to underflow
NEGLIGIBLE_TAIL = 1e-13  # share of the integral that may lie beyond the last cut
# logits of the quantiles at which panels may begin
CUT_LOGITS = np.array([0, 1, 2, 3, 4.5, 6, 8, 10, 13, 17, 22, 28, 34, 40, 46, 60, 80, 120, 180, 260, 400, 680])
LINEAR_LOGIT = 8.0  # up to this logit of the share of workers done, cuts are about 1 apart; then ever further

ORDER = 14  # nodes of a panel
_INNER = Legendre.basis(ORDER - 1).deriv().roots().real
NODES = np.concatenate([[-1.0], _INNER, [1.0]])
DERIVATIVE = np.linalg.solve(
    legvander(NODES, ORDER - 1).T, np.array([Legendre.basis(j).deriv()(NODES) for j in range(ORDER)])
).T  # from values to derivatives at nodes
WEIGHTS = 2 / (ORDER * (ORDER - 1) * Legendre.basis(ORDER - 1)(NODES) ** 2)


def breaks(workers: Workers) -> Array:
    """All finite times where the law of some worker starts, ends, jumps or bends."""
    times = np.unique(np.concatenate([np.asarray(law.breaks, float) for law in workers.laws]))
    return times[np.isfinite(times)]


def edges(workers: Workers, latest: float = LATEST_TIME) -> Array:
    """Times from 0 on that cut the time axis into panels, for all ranks of the ``workers``.

    The cuts are the breaks of all laws, and enough quantiles of them to make the logit of the mean share of workers
    done grow by about 1 from one cut to the next.  Cost: 40 quantiles of each law, and its cdf at all of them.
    """
    below, above = expit(-CUT_LOGITS[CUT_LOGITS <= 46]), expit(-CUT_LOGITS[1:])
    times = [np.concatenate([law.ppf(below), law.isf(above)]) for law in workers.laws]
    times = np.unique(np.concatenate(times))
    times = times[(times > 0) & (times <= latest)]
    counts = np.array(workers.counts, float)
    done = counts @ np.array([law.cdf(times) for law in workers.laws])
    busy = counts @ np.array([law.sf(times) for law in workers.laws])
    with np.errstate(divide="ignore"):
        logit = np.clip(np.log(done) - np.log(busy), -1e6, 1e6)
    bucket = np.floor(np.arcsinh(logit / LINEAR_LOGIT) * LINEAR_LOGIT)
    _, first = np.unique(bucket, return_index=True)
    cuts = breaks(workers)
    return np.unique(np.concatenate([[0.0], times[first], times[-1:], cuts[cuts <= latest]]))


def jumps(workers: Workers) -> tuple[Array, Array]:
    """Times of all atoms, and their probabilities, shape ``groups x times``."""
    times = breaks(workers)
    size = np.array([law.cdf(times) - law.cdf(before(times)) for law in workers.laws])
    real = (size > 0).any(axis=0) & workers.has_atoms
    return times[real], size[:, real]


def before(t: Array) -> Array:
    """The last floating-point number before each of ``t``."""
    return np.nextafter(t, -1.0)


def nodes(low: Array, high: Array) -> tuple[Array, Array]:
    """Times of shape panels x ORDER, and their weights including dt; both ends are nodes."""
    first = low == 0  # where log t will not do
    start = np.where(first, 0.0, np.log(np.where(first, 1.0, low)))
    half = np.where(first, high, np.log(high) - start)[:, None] / 2
    y = start[:, None] + half * (1 + NODES)
    t = np.where(first[:, None], y, np.exp(np.where(first[:, None], 0.0, y)))
    t[:, 0], t[:, -1] = low, before(high)
    return t, half * WEIGHTS * np.where(first[:, None], 1.0, t)


def refine(rule: Rule, low: Array, high: Array, noise: float, scale: Array | float = 0.0) -> Array:
    """Sum of ``rule(low, high)`` (rows x panels) over panels halved until nothing changes, shape ``rows``.

    Changes are relative to the sum of absolute values, or to ``scale`` (one per row) if that is larger.  A change of a
    panel below ``noise`` times its value is ignored.  Raises ArithmeticError if that takes too many panels.
    """
    coarse = rule(low, high)
    total = np.zeros(len(coarse))
    for _ in range(MAX_HALVINGS):
        if not low.size:
            return total
        middle = np.where(low > 0, np.sqrt(low) * np.sqrt(high), high / 2)
        halves = rule(np.concatenate([low, middle]), np.concatenate([middle, high]))
        left, right = halves[:, : low.size], halves[:, low.size :]
        size = np.maximum(abs(total) + abs(halves).sum(axis=1), scale)[:, None]
        rough = (abs(left + right - coarse) > PANEL_TOLERANCE * size + noise * (abs(left) + abs(right))).any(axis=0)
        rough &= (middle > low) & (middle < high)
        total += (left + right)[:, ~rough].sum(axis=1)
        coarse = np.concatenate([left[:, rough], right[:, rough]], axis=1)
        low, high = np.concatenate([low[rough], middle[rough]]), np.concatenate([middle[rough], high[rough]])
        if low.size > MAX_PANELS:
            break
    raise ArithmeticError("an integral over time has not settled: some law is not smooth between its breaks")


def integral(probability: Rows, weight: Rows, cuts: Array, noise: float) -> Array:
    """Integral over time of probability x weight, row by row, from the first of ``cuts`` to the last.

    Both must be nonnegative, monotone and smooth between two cuts; at a cut they may jump.
    """

    def rule(low: Array, high: Array) -> Array:
        t, dt = nodes(low, high)
        return np.einsum("rpo,po->rp", (probability(t.ravel()) * weight(t.ravel())).reshape(-1, *t.shape), dt)

    total = np.zeros(1)
    for first in range(0, cuts.size - 1, PANELS_AT_ONCE):
        low, high = cuts[first:-1][:PANELS_AT_ONCE], cuts[first + 1 :][:PANELS_AT_ONCE]
        start, end = probability(low), probability(before(high))
        heights = np.stack([weight(low), weight(before(high))])
        least = total + (np.minimum(start, end) * heights.min(axis=0)) @ (high - low)
        change = abs(start - end) * heights.max(axis=0) * (high - low)
        moving = (change > FLAT_CHANGE * least[:, None]).any(axis=0)
        total = total + ((start + end) / 2 * heights.mean(axis=0))[:, ~moving] @ (high - low)[~moving]
        if moving.any():
            total = total + refine(rule, low[moving], high[moving], noise, total)
    return total


def time_integral(late: Rows, cuts: Array, index: Array, noise: float, order: ArrayLike = 1) -> Array:
    r"""Integral of (t - c)^(order - 1) P(T > t) dt beyond the first cut c; inf where ``index`` <= ``order``.

    ``order`` is 1 or 2, or one of them per row; ``late`` must decrease, smoothly between the ``cuts``.  A tail of the
    given ``index`` that matters beyond the last cut must be a power law, which is integrated analytically.
    Raises ArithmeticError if it is not, because it is then too heavy for floating point.
    """
    finite = index > np.asarray(order) + 1e-9
    order = np.broadcast_to(order, index.shape)[finite]

    def probability(t: Array) -> Array:
        return late(t)[finite]

    def weight(t: Array) -> Array:
        return np.where(order[:, None] == 1, 1.0, t - cuts[0])

    result = np.full(index.shape, np.inf)
    result[finite] = total = integral(probability, weight, cuts, noise)
    last = cuts[-1]
    at = probability(last * np.array([1e-6, 1e-3, 1.0]))
    heavy = at[:, -1] * last**order > NEGLIGIBLE_TAIL * total
    if heavy.any():
        slopes = -np.diff(np.log(at[heavy]), axis=1) / np.log(1e3)
        if not np.allclose(slopes[:, 0], slopes[:, 1], rtol=1e-6):
            raise ArithmeticError("a tail is too heavy for floating point, and no single power law")
        total[heavy] += (at[:, -1] * last**order)[heavy] / (slopes[:, 1] - order[heavy])
        result[finite] = total
    return result


def noise(workers: Workers) -> float:
    """Relative error of the least accurate cdf, which matters where a cdf is a table."""
    return max(law.resolution for law in workers.laws)


def rises(workers: Workers, t: Array) -> Array:
    """F(t) - F(first of t) along each row of times, from the smaller of F and 1 - F, shape groups x panels x nodes."""
    flat = t.ravel()
    done = np.array([law.cdf(flat) for law in workers.laws]).reshape(-1, *t.shape)
    busy = np.array([law.sf(flat) for law in workers.laws]).reshape(-1, *t.shape)
    near = np.where(done[..., :1] < 0.5, done, -busy)
    return near - near[..., :1]


def law_integral(workers: Workers, rows: Rows, cuts: Array) -> Array:
    """For each group g, E[rows(X)[g]; X is no atom], with X the delay of one of its workers.

    On a panel dF is the derivative of the polynomial through F at the nodes, so no density is needed.
    """
    low, high = cuts[:-1], cuts[1:]
    moving = (rises(workers, np.stack([low, before(high)], axis=1)) != 0).any(axis=(0, 2))
    if not moving.any():
        return np.zeros(len(workers.laws))

    def rule(low: Array, high: Array) -> Array:
        t, _ = nodes(low, high)
        rise = rises(workers, t)
        return (rows(t.ravel()).reshape(-1, *t.shape) * (rise @ DERIVATIVE.T)) @ WEIGHTS

    return refine(rule, low[moving], high[moving], noise(workers), SMALLEST_EXACT_PROBABILITY)


def tail_indices(workers: Workers, order: int = 1) -> Array:
    """For k = 1..n, the index a in P(X_(k) > t) ~ t^-a; inf if the tail is lighter than any power law.

    It is the sum of the n-k+1 smallest indices of the workers.  Raises ArithmeticError if some law is so heavy that
    floating point cannot decide whether a > ``order``.
    """
    index, settled = np.array([_tail_index(law) for law in workers.laws]).T
    indices = np.cumsum(np.sort(np.repeat(index, workers.counts)))[::-1]
    if not settled.all() and indices[-1] <= order:
        raise ArithmeticError(f"the tail of {workers.laws[np.argmin(settled)]!r} is too heavy for floating point")
    return indices


def _tail_index(law: Delay) -> tuple[float, bool]:
    """The index of the tail of a law, and whether it is that of a power law at the latest times."""
    if isinstance(law, Mixture):  # the heaviest component wins, perhaps beyond the latest time
        of_components = [_tail_index(component) for component in law.laws]
        return min(index for index, _ in of_components), all(settled for _, settled in of_components)
    sf = law.sf(LATEST_TIME * np.array([1e-6, 1e-3, 1.0]))
    if not sf[-1] > SMALLEST_NORMAL:
        return np.inf, True  # it is above 3, whatever it is
    before, index = -np.diff(np.log(sf)) / np.log(1e3)
    return float(index), bool(abs(index - before) <= 1e-6 * index)
