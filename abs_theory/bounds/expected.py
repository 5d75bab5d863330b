r"""What stale gradients do on average near a quadratic: an estimate, where ``bounds`` has the worst case.

On F(w) = w'Hw / 2, with noise x of covariance S in each gradient and staleness tau, every direction forgets its start
like exp(-eta h t), h its curvature, and ends with the variance eta s / (2 k h) (1 + eta h (tau + 1/2) + ...), s the
noise in it.  Over J updates with eta h J >> 1 the mean of |grad F|^2 is

.. math:: \frac{F(w_0) - F^*}{\eta J} + \frac{\eta \sigma^2}{2k} \left( h_1 + \eta (\bar\tau + 1/2)\, h_2 \right),
    \qquad h_1 = \frac{E[x'Hx]}{E|x|^2}, \quad h_2 = \frac{E|Hx|^2}{E|x|^2}

to first order in eta: the form of the bound for ABS, with other constants.  Where the bound only knows L, this asks how
steep the loss is in the directions of the noise.  On other losses the first two terms follow from the descent lemma
with an equals sign, the constants taken as averages along the path (``simulations.problems.constants``).
Source: derived in notebooks/03_choosing_k.ipynb.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from abs_theory.bounds.tradeoff import Tradeoff
from abs_theory.checks import checked_array
from abs_theory.typing import Array

if TYPE_CHECKING:
    from abs_theory.bounds.guaranteed import Constants

__all__ = ["abs_sgd", "max_step_size"]


def max_step_size(constants: Constants, mean_staleness: ArrayLike) -> Array:
    """Half of the largest step that is stable when every gradient has the staleness tau: sin(pi / (4 tau + 2)) / L.

    1 / L, the best for the steepest direction, if all are fresh.
    Source: Levin & May (1976) for w_{t+1} = w_t - eta h w_{t-tau}, stable for eta h < 2 sin(pi / (4 tau + 2)).
    """
    tau = checked_array("mean_staleness", mean_staleness)
    return np.sin(np.pi / (4 * tau + 2)) / constants.L


def abs_sgd(constants: Constants, k: ArrayLike, mean_staleness: ArrayLike) -> Tradeoff:
    """The formula above as a trade-off in the step size, for arrays of ``k`` and ``mean_staleness``.

    Where ``constants`` do not say how curved the directions of the noise are, L stands for h_1, and L h_1 for h_2.
    """
    tau = checked_array("mean_staleness", mean_staleness)
    h1, h2 = noise_curvatures(constants)
    spread = constants.sigma2 / (2 * checked_array("k", k, positive=True, whole=True))
    return Tradeoff(np.asarray(constants.gap), spread * h1, spread * h2 * (tau + 0.5), max_step_size(constants, tau))


def noise_curvatures(constants: Constants) -> tuple[float, float]:
    """h_1 and h_2; L and L h_1 where they are not known."""
    h1 = constants.L if constants.noise_curvature is None else constants.noise_curvature
    return h1, constants.L * h1 if constants.noise_curvature2 is None else constants.noise_curvature2
