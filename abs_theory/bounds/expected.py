r"""The expected effect of stale gradients near a quadratic: an estimate, where ``bounds`` has the worst case.

Take F(w) = w'Hw / 2, noise x of covariance S in each gradient, and staleness tau.  A direction of curvature h forgets
its start like exp(-eta h t).  Its variance tends to eta s / (2 k h) (1 + eta h (tau + 1/2) + ...), where s is the noise
in this direction.  Over J updates with eta h J >> 1 the mean of |grad F|^2 is

.. math:: \frac{F(w_0) - F^*}{\eta J} + \frac{\eta \sigma^2}{2k} \left( h_1 + \eta (\bar\tau + 1/2)\, h_2 \right),
    \qquad h_1 = \frac{E[x'Hx]}{E|x|^2}, \quad h_2 = \frac{E|Hx|^2}{E|x|^2}

to first order in eta.  This is the form of the bound for ABS with other constants: the bound only knows L, while the
estimate uses the curvature in the directions of the noise.  On other losses the first two terms follow from the descent
lemma with an equals sign, with constants averaged along the path (``simulations.problems.constants``).
Source: derived in notebooks/03_choosing_k.ipynb.
"""

import numpy as np
from numpy.typing import ArrayLike

from abs_theory.bounds.constants import Constants
from abs_theory.bounds.tradeoff import Tradeoff
from abs_theory.checks import checked_array, explains_types
from abs_theory.typing import Array

__all__ = ["max_step_size", "noise_curvatures", "tradeoff"]


@explains_types
def max_step_size(constants: Constants, mean_staleness: ArrayLike) -> Array:
    """Half of the largest step that is stable when every gradient has the staleness tau: sin(pi / (4 tau + 2)) / L.

    If all gradients are fresh it is 1 / L, the best step for the steepest direction.
    Source: Levin & May (1976) for w_{t+1} = w_t - eta h w_{t-tau}, stable for eta h < 2 sin(pi / (4 tau + 2)).

    >>> from abs_theory.bounds import Constants
    >>> max_step_size(Constants(L=2.0, sigma2=5.0, gap=10.0), [0, 1, 4]).round(3)
    array([0.5  , 0.25 , 0.087])
    """
    tau = checked_array("mean_staleness", mean_staleness)
    return np.sin(np.pi / (4 * tau + 2)) / constants.L


@explains_types
def tradeoff(constants: Constants, k: ArrayLike, mean_staleness: ArrayLike) -> Tradeoff:
    """The expected mean of |grad F|^2 as a function of the step size, for arrays of ``k`` and ``mean_staleness``.

    The formula stands at the top of this module.  If ``constants`` do not know the curvatures h_1 and h_2 of the noise,
    L replaces h_1, and L h_1 replaces h_2.

    See also: ``bounds.abs_sgd``, which is never exceeded.

    >>> from abs_theory.bounds import Constants
    >>> terms = tradeoff(Constants(L=1.0, sigma2=5.0, gap=10.0, noise_curvature=0.4), k=4, mean_staleness=1.5)
    >>> float(terms.value(step_size=0.1, num_updates=1000).round(4))
    0.13
    """
    tau = checked_array("mean_staleness", mean_staleness)
    h1, h2 = noise_curvatures(constants)
    spread = constants.sigma2 / (2 * checked_array("k", k, positive=True, whole=True))
    return Tradeoff(np.asarray(constants.gap), spread * h1, spread * h2 * (tau + 0.5), max_step_size(constants, tau))


@explains_types
def noise_curvatures(constants: Constants) -> tuple[float, float]:
    """The curvatures h_1 and h_2 of the noise; L and L h_1 if they are not known.

    >>> from abs_theory.bounds import Constants
    >>> noise_curvatures(Constants(L=2.0, sigma2=5.0, gap=10.0, noise_curvature=0.5))
    (0.5, 1.0)
    """
    h1 = constants.L if constants.noise_curvature is None else constants.noise_curvature
    return h1, constants.L * h1 if constants.noise_curvature2 is None else constants.noise_curvature2
