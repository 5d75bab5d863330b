"""Whether the hazard rate of a law rises or falls, from the cumulative hazard -log sf on a fine grid."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.special import expit

from abs_theory.typing import PiecewiseLaw

Ageing = Literal["increasing", "decreasing", "constant", "neither"]

LARGEST_LOGIT = 30.0  # of the outermost quantiles: probabilities from 1e-13 to 1 - 1e-13
QUANTILES = 2001  # points of the grid
ROUNDING_CHANGE = 1e-6  # relative; smaller changes of the hazard rate may be rounding


def numerical_ageing(law: PiecewiseLaw) -> Ageing:
    """Ageing of any law, from its mean hazard rates between 2001 quantiles from 1e-13 to 1 - 1e-13.

    A numerical result, no proof: a change narrower than the grid, or further out, is not seen.
    """
    x = np.linspace(-LARGEST_LOGIT, LARGEST_LOGIT, QUANTILES)
    t = np.unique(np.append(law.ppf(expit(x[x < 0])), law.isf(expit(-x[x >= 0]))))
    if law.has_atoms or t.size < QUANTILES // 2:
        return "increasing" if t.size == 1 else "neither"
    cdf, sf = law.cdf(t), law.sf(t)
    hazard = np.diff(np.where(cdf < 0.5, -np.log1p(-np.minimum(cdf, 0.5)), -np.log(sf))) / np.diff(t)
    rounding = 1e-14 * t[1:] / np.diff(t)  # relative, of the differences of t
    change = hazard[1:] / hazard[:-1] - 1
    slack = ROUNDING_CHANGE + rounding[1:] + rounding[:-1]
    rises, falls = bool(np.any(change > slack)), bool(np.any(change < -slack))
    if rises and falls:
        return "neither"
    late_start = law.breaks[0] > 0
    if falls:
        return "neither" if late_start else "decreasing"
    return "increasing" if rises or late_start else "constant"
