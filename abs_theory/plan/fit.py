"""Delay laws from measured delays, some of them right-censored: maximum likelihood, with AIC and KS distance.

A law smooths the measured delays, extends to other numbers of workers and lets restarts be simulated.  The plain
exponential law is left out, because measured delays have a least time.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats
from sklearn.mixture import GaussianMixture

from abs_theory.checks import checked_array
from abs_theory.delays import Delay, Deterministic, LogNormal, Mixture, ShiftedExponential, Sum
from abs_theory.typing import Array

__all__ = ["BASELINE", "Fit", "best_fit", "kaplan_meier", "ks_distance", "laws", "lognormal"]

Mask = NDArray[np.bool_]

BASELINE = "shifted exponential (baseline)"
MOST_DELAYS = 20_000  # used by a fit, so that it takes less than a second
SHIFTS_TRIED = 30  # for the least time
LOG_2PI = float(np.log(2 * np.pi))
COMPONENTS = (2, 3)  # of a mixture
PER_PARAMETER = 5  # delays needed for each parameter


@dataclass(frozen=True)
class Fit:
    """A fitted law; ``ks`` is its largest distance to the Kaplan-Meier cdf, up to the last delivery."""

    name: str  #: kind of law, such as "lognormal"
    law: Delay  #: with the fitted parameters
    aic: float  #: 2 parameters - 2 log likelihood: the least is the best
    ks: float  #: largest distance to the Kaplan-Meier cdf, up to the last delivery


def laws(seconds: ArrayLike, observed: ArrayLike | None = None) -> tuple[Fit, ...]:
    """Fits of all kinds, the best AIC first: lognormal, shifted lognormal, mixtures, and the baseline.

    ``observed`` False marks delays known to be longer than ``seconds``.  Mixtures are of lognormals, by expectation
    maximisation on the logarithms, and need every delay.  Of more than MOST_DELAYS delays, MOST_DELAYS
    are used, evenly spaced by rank.
    Source: the likelihood of a shifted lognormal grows without bound as the shift nears the least delay; the local
    maximum before that is taken (Cohen 1951).
    Raises ValueError unless there are at least two deliveries.
    """
    x, seen = _checked(seconds, observed)
    if np.ptp(x[seen]) <= 1e-9 * x[seen][0]:
        return (Fit("constant", Deterministic(float(x[seen][0])), -np.inf, 0.0),)
    fits = [_lognormal(x, seen), _shifted_exponential(x, seen)]
    if seen.sum() >= 3 * PER_PARAMETER and (shifted := _shifted_lognormal(x, seen)) is not None:
        fits.append(shifted)
    if seen.all():
        fits += [_mixture(x, c) for c in COMPONENTS if x.size >= 2 * PER_PARAMETER * (3 * c - 1)]
    return tuple(sorted(fits, key=lambda fit: fit.aic))


def lognormal(seconds: ArrayLike, observed: ArrayLike | None = None) -> Fit:
    """The lognormal law alone, or a constant; arguments and errors as of ``laws``, which takes 30 times as long."""
    x, seen = _checked(seconds, observed)
    if np.ptp(x[seen]) <= 1e-9 * x[seen][0]:
        return Fit("constant", Deterministic(float(x[seen][0])), -np.inf, 0.0)
    return _lognormal(x, seen)


def best_fit(fits: tuple[Fit, ...]) -> Fit:
    """The fit with the least AIC, the baseline apart."""
    return next(fit for fit in fits if fit.name != BASELINE)


def kaplan_meier(seconds: ArrayLike, observed: ArrayLike | None = None) -> tuple[Array, Array]:
    """Times of deliveries and P(X <= t) there, by Kaplan & Meier (1958); beyond the last nothing is identified."""
    x, seen = _checked(seconds, observed)
    cdf = stats.ecdf(stats.CensoredData.right_censored(x, ~seen)).cdf
    arrived = np.isin(cdf.quantiles, x[seen])
    return cdf.quantiles[arrived], cdf.probabilities[arrived]


def ks_distance(law: Delay, seconds: ArrayLike, observed: ArrayLike | None = None) -> float:
    """Largest distance of the cdf of ``law`` to that of Kaplan and Meier, up to the last delivery."""
    times, after = kaplan_meier(seconds, observed)
    before = np.append(0.0, after[:-1])
    model = law.cdf(times)
    return float(max(np.max(np.abs(model - after)), np.max(np.abs(model - before))))


def _checked(seconds: ArrayLike, observed: ArrayLike | None) -> tuple[Array, Mask]:
    x = checked_array("seconds", seconds, positive=True).ravel()
    seen = np.ones(x.size, dtype=bool) if observed is None else np.asarray(observed, dtype=bool).ravel()
    if seen.size != x.size or np.count_nonzero(seen) < 2:
        raise ValueError(f"a law takes two deliveries at least, got {np.count_nonzero(seen)} in {x.size} delays")
    if seen.all():
        x = np.sort(x)
    else:
        order = np.argsort(x, kind="stable")
        x, seen = x[order], seen[order]
    if x.size > MOST_DELAYS:
        used = np.linspace(0, x.size - 1, MOST_DELAYS).round().astype(int)
        x, seen = x[used], seen[used]
    return x, seen


def _fit(name: str, law: Delay, log_likelihood: float, parameters: int, x: Array, seen: Mask) -> Fit:
    return Fit(name, law, 2 * parameters - 2 * log_likelihood, ks_distance(law, x, seen))


def _shifted_exponential(x: Array, seen: Mask) -> Fit:
    """In closed form; the shift is corrected for its bias, as the least of N delays is scale / N above it."""
    least, count = x[seen].min(), int(seen.sum())
    scale = float(np.maximum(x - least, 0).sum()) / max(count - 1, 1)
    shift = max(float(least) - scale / x.size, 0.0)
    law = ShiftedExponential(shift=shift, scale=scale)
    likelihood = -count * np.log(scale) - np.maximum(x - shift, 0).sum() / scale
    return _fit(BASELINE, law, float(likelihood), 2, x, seen)


def _normal(z: Array, seen: Mask) -> tuple[float, float, float]:
    """Mean, standard deviation and log likelihood of right-censored normal values."""
    mean, sd = float(z[seen].mean()), float(z[seen].std()) or 1e-9
    if seen.all():
        return mean, sd, float(stats.norm.logpdf(z, mean, sd).sum())

    def loss(p: Array) -> tuple[float, Array]:
        s = (z - p[0]) / np.exp(p[1])
        log_sf = special.log_ndtr(-s[~seen])
        value = -0.5 * float(s[seen] @ s[seen]) - seen.sum() * (p[1] + LOG_2PI / 2) + float(log_sf.sum())
        hazard = np.exp(-0.5 * s[~seen] ** 2 - LOG_2PI / 2 - log_sf)
        slope = (s[seen].sum() + hazard.sum()) / np.exp(p[1])
        return -value, -np.array([slope, float(s[seen] @ s[seen]) - seen.sum() + float(hazard @ s[~seen])])

    optimum = optimize.minimize(loss, [mean, np.log(sd)], jac=True, method="L-BFGS-B", options={"ftol": 1e-12})
    return float(optimum.x[0]), float(np.exp(optimum.x[1])), -float(optimum.fun)


def _lognormal(x: Array, seen: Mask) -> Fit:
    mean, sd, likelihood = _normal(np.log(x), seen)
    return _fit("lognormal", LogNormal(float(np.exp(mean)), sd), likelihood - np.log(x[seen]).sum(), 2, x, seen)


def _shifted_lognormal(x: Array, seen: Mask) -> Fit | None:
    """The best shift below the least delay; not nearer to it than the resolution of the sample there.

    None if that resolution is coarser than the least delay itself: then 0 is the only shift.
    """
    least, middle = float(x[seen].min()), float(np.median(x[seen]))
    resolution = (middle - least) / seen.sum() ** 0.5 or least * 1e-9
    if resolution >= least:
        return None
    gap = np.geomspace(resolution, least, SHIFTS_TRIED)
    shifts = least - gap[:-1]

    def profile(shift: float) -> tuple[float, float, float]:
        mean, sd, likelihood = _normal(np.log(np.maximum(x - shift, 1e-12)), seen)
        return likelihood - float(np.log(x[seen] - shift).sum()), mean, sd

    values = [profile(shift)[0] for shift in shifts]
    shift = float(shifts[int(np.argmax(values))])
    likelihood, mean, sd = profile(shift)
    law = Sum((Deterministic(shift), LogNormal(float(np.exp(mean)), sd)))
    return _fit("shifted lognormal", law, likelihood, 3, x, seen)


def _mixture(x: Array, components: int) -> Fit:
    z = np.log(x)[:, None]
    mixture: Any = GaussianMixture(
        components, n_init=2, max_iter=1000, random_state=0, reg_covar=1e-8 + 1e-4 * float(z.var())
    ).fit(z)
    sds = np.sqrt(mixture.covariances_.ravel())
    parts = [LogNormal(float(np.exp(m)), float(s)) for m, s in zip(mixture.means_.ravel(), sds, strict=True)]
    weights = tuple((mixture.weights_ / mixture.weights_.sum()).tolist())
    likelihood = float(mixture.score(z)) * x.size - float(z.sum())
    law = Mixture(weights, tuple(parts))
    return _fit(f"mixture of {components} lognormals", law, likelihood, 3 * components - 1, x, np.ones(x.size, bool))
