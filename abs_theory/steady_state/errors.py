r"""The stated error of the mean field: a bound fitted to random laws and fleets.

The error of each quantity is a sum of *signs* that an approximation is poor, with coefficients from
``mean_field_errors.json``.  The signs are

- 1 and 1/n;
- in step: exp(-25 w^2) / 2 of the steadiest law, because workers of nearly constant delay march in step; w is the
  distance of the quartiles over 1.35 medians.  Also divided by n;
- apart: \|ln of the ratio of the two estimates of the round time\|, .5 at most, unless the limit stands in;
- fallback: the share of the limit;
- misplaced: the share of a round that two moments misplace because workers are unequal;
- unequal: (largest - least participation) / largest, also divided by n;
- broad early and broad late: v/k and v/(n-k) with v = ln(1 + Var[X] / E[X]^2), 2.5 at most, of the broadest law.

It is meant to hold in 95 % of cells.  In cells that were not fitted it held in the share that the table tells: of
random laws and fleets, for each quantity by itself.  Where an error must hold, ask for "auto".  The coefficients
(without a bound | with one):

============ ================= =========== =============== ================== ================== ================
sign         round_time        restarts    wasted_fraction idle_fraction      staleness_pmf      participation
============ ================= =========== =============== ================== ================== ================
1            0.00296 | 0.00534 0 | 0.00127 0 | 0.000688    0.000989 | 0.00151 0.00049 | 0.000791 0 | 0
1/n          0.0539 | 0.0269   0 | 0.0391  0 | 0.175       0.0539 | 0.0413    0.126 | 0.174      0 | 0
in step      0.0569 | 0.274    0 | 0.0356  0 | 0.0275      0.0612 | 0.161     0.262 | 0.249      0 | 0
apart        0.0142 | 0.885    0 | 0.368   0 | 0.575       0.0458 | 0.401     1.33 | 1.29        0 | 0
fallback     0.011 | 0         0 | 0       0 | 0           0.0828 | 0         0.0138 | 0.0214    0 | 0
misplaced    0.6 | 0.6         0 | 0.0166  0 | 0           0 | 0              0 | 0.148          0.144 | 0.316
unequal      0 | 0             0 | 0.00749 0 | 0.00405     0 | 0              0 | 0.0108         0.00873 | 0.0335
broad early  0 | 0.00406       0 | 0       0 | 0           0 | 0              0.00497 | 0.0155   0 | 0
broad late   0.00911 | 0.0311  0 | 0.0238  0 | 0.0293      0.000307 | 0       0.048 | 0.0243     0.000447 | 0
in step/n    0.348 | 1.68      0 | 0       0 | 0           0.142 | 1.98       1.77 | 0           0 | 0
unequal/n    0 | 0             0 | 0       0 | 0           0 | 0.00547        0 | 0              0.4 | 0.249
holds in     97.8 %            99.2 %      99.8 %          98.0 %             98.8 %             98.4 %
median error 0.026             0.0087      0.012           0.0097             0.052              0
============ ================= =========== =============== ================== ================== ================

The file says on how many cells it was fitted, and from which seed.  ``python -m benchmarks.calibrate`` fits it again
and writes this table.
"""

import json
import math
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from abs_theory.delays import Delay
from abs_theory.results import SteadyState
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["QUANTITIES", "SIGNS", "coefficients", "signs", "stated"]

SIGNS = (
    *("1", "1/n", "in step", "apart", "fallback", "misplaced", "unequal"),
    *("broad early", "broad late", "in step/n", "unequal/n"),
)
# relative for the round time; restarts as the share (theta + 1) R / n of the workers
QUANTITIES = ("round_time", "restarts", "wasted_fraction", "idle_fraction", "staleness_pmf", "participation")
MOST_APART, BROADEST = 0.5, 2.5


@cache
def coefficients() -> dict[str, dict[str, list[float]]]:
    """By "bounded" or "unbounded" and by quantity, one for each of ``SIGNS``."""
    text = resources.files("abs_theory.steady_state").joinpath("mean_field_errors.json").read_text()
    return json.loads(text)["coefficients"]


def signs(
    workers: Workers, state: SteadyState, k: NDArray[np.int64], apart: Array, lost: Array, misplaced: Array
) -> Array:
    """What hints at a poor approximation, cells x ``SIGNS``."""
    ones, n = np.ones(k.size), workers.n
    share = np.asarray(state.participation)
    broad = max(_broadness(law) for law in workers.laws)
    in_step, unequal = max(_in_step(law) for law in workers.laws), 1 - share.min(axis=1) / share.max(axis=1)
    columns = {
        "1": ones,
        "1/n": ones / n,
        "in step": ones * in_step,
        "apart": np.minimum(apart, MOST_APART) * (1 - lost),
        "fallback": lost,
        "misplaced": misplaced,
        "unequal": unequal,
        "broad early": broad / k,
        "broad late": broad / (n - k),
        "in step/n": ones * in_step / n,
        "unequal/n": unequal / n,
    }
    return np.column_stack([columns[name] for name in SIGNS])


def stated(
    workers: Workers, state: SteadyState, k: NDArray[np.int64], max_staleness: Array, found: Array
) -> SteadyState:
    """The errors of ``state``, whose bounds are all finite or all inf; conservation makes some of them 0."""
    n, bounded = workers.n, bool(np.isfinite(max_staleness).all())
    fitted = coefficients()["bounded" if bounded else "unbounded"]
    size = {name: found @ np.array(fitted[name]) for name in QUANTITIES}
    none = np.zeros(k.size)
    several = (k > 1) | bounded  # asynchronous SGD has exact times and participation
    share = np.minimum(size["restarts"], (n - k) / n) if bounded else none
    restarts = n * share / (max_staleness + 1) if bounded else none
    reached = np.arange(state.staleness_pmf.shape[-1]) <= max_staleness[:, None]
    participation = none if workers.equal else np.minimum(size["participation"], 1.0) * several
    return SteadyState(
        round_time=np.asarray(state.round_time) * size["round_time"] * several,
        mean_staleness=n * share / k,
        staleness_pmf=np.where(reached, np.minimum(size["staleness_pmf"], 1.0)[:, None], 0.0),
        restarts=restarts,
        uplinks=none,
        downlinks=restarts,
        idle_fraction=np.minimum(size["idle_fraction"], 1.0) * several,
        wasted_fraction=np.minimum(size["wasted_fraction"], 1.0) if bounded else none,
        participation=np.broadcast_to(participation[:, None], (k.size, n)),
    )


def _in_step(law: Delay) -> float:
    median = float(law.ppf(0.5))
    width = (float(law.isf(0.25)) - float(law.ppf(0.25))) / (1.35 * median) if median > 0 else math.inf
    return 0.5 * math.exp(-25 * width**2)


def _broadness(law: Delay) -> float:
    steady = math.isfinite(law.mean) and math.isfinite(law.var)
    return min(math.log1p(law.var / law.mean**2), BROADEST) if steady else BROADEST
