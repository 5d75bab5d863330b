"""Delay laws of the tests; the hazard of SHIFTED increases, that of STALLS decreases, that of LOGNORMAL does both."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from abs_theory.delays import (
    Coxian,
    Delay,
    Deterministic,
    Empirical,
    Erlang,
    Exponential,
    Gamma,
    HyperExponential,
    LocalSteps,
    LogNormal,
    Lomax,
    Mixture,
    Pareto,
    ShiftedExponential,
    Slowest,
    Sum,
    Uniform,
    Weibull,
    as_delay,
)

# of mean 1 s, with increasing hazard, decreasing hazard, and neither
SHIFTED = ShiftedExponential(shift=0.5, scale=0.5)
STALLS = HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0))
LOGNORMAL = LogNormal(median=math.exp(-0.5), sigma=1.0)

SCIPY = {
    Exponential(mean=2.0): stats.expon(scale=2),
    ShiftedExponential(shift=0.5, scale=1.5): stats.expon(0.5, 1.5),
    Gamma(shape=0.3, scale=2.0): stats.gamma(0.3, scale=2),
    Gamma(shape=7.5, scale=0.1): stats.gamma(7.5, scale=0.1),
    Erlang(steps=4, scale=0.5): stats.gamma(4, scale=0.5),
    Weibull(scale=2.0, shape=0.5): stats.weibull_min(0.5, scale=2),
    Weibull(scale=1.0, shape=3.0): stats.weibull_min(3, scale=1),
    Pareto(minimum=2.0, index=2.5): stats.pareto(2.5, scale=2),
    Lomax(scale=2.0, index=2.5): stats.lomax(2.5, scale=2),
    LogNormal(median=3.0, sigma=1.2): stats.lognorm(1.2, scale=3),
    Uniform(low=1.0, high=3.0): stats.uniform(1, 2),
    LocalSteps(Exponential(mean=2.0), steps=3): stats.gamma(3, scale=2),
    LocalSteps(Gamma(shape=0.3, scale=2.0), steps=5): stats.gamma(1.5, scale=2),
    LocalSteps(ShiftedExponential(shift=1.0, scale=2.0), steps=4): stats.gamma(4, 4, scale=2),
    LocalSteps(LocalSteps(Erlang(steps=2, scale=0.5), steps=2), steps=3): stats.gamma(12, scale=0.5),
    LocalSteps(Weibull(scale=2.0, shape=0.5), steps=1): stats.weibull_min(0.5, scale=2),
    LocalSteps(LocalSteps(Pareto(minimum=2.0, index=2.5), steps=1), steps=1): stats.pareto(2.5, scale=2),
    Sum(terms=(Exponential(2.0), Deterministic(1.0), Gamma(1.5, 2.0))): stats.gamma(2.5, 1, scale=2),
    Sum(terms=(LocalSteps(Exponential(2.0), 2), Erlang(3, 2.0))): stats.gamma(5, scale=2),
    Mixture(weights=(0.25, 0.75), components=(Exponential(2.0), Exponential(2.0))): stats.expon(scale=2),
}
HYPER = HyperExponential(probs=(0.9, 0.1), means=(0.5, 5.0))
SUMS = [
    LocalSteps(Lomax(scale=1.0, index=2.5), steps=3),
    LocalSteps(HYPER, steps=4),
    LocalSteps(Weibull(scale=1.0, shape=0.5), steps=2),
    Sum(terms=(LogNormal(median=1.0, sigma=0.5), ShiftedExponential(shift=0.5, scale=1.0))),
]
UNIFORM_SUMS = [
    LocalSteps(Uniform(low=1.0, high=2.0), steps=2),
    LocalSteps(Uniform(low=0.0, high=2.0), steps=5),
]
MIXTURES = [
    Mixture(weights=(0.5, 0.5), components=(Gamma(shape=0.3, scale=2.0), LogNormal(median=5.0, sigma=0.5))),
    Mixture(weights=(0.999, 0.001), components=(Erlang(steps=3, scale=1.0), Exponential(mean=1e6))),
]
WRAPPED = [as_delay(stats.invgauss(0.5)), as_delay(stats.beta(2, 3, loc=1.0, scale=4.0))]
GAP = Mixture(weights=(0.3, 0.7), components=(Uniform(low=1.0, high=2.0), Uniform(low=10.0, high=11.0)))
COXIAN = Coxian(rates=(3.0, 1.0), go_on=(0.4,))
SLOWEST = Slowest(LOGNORMAL, count=4)
SMOOTH = [*SCIPY, HYPER, *SUMS, *UNIFORM_SUMS, *MIXTURES, COXIAN, SLOWEST]
CONTINUOUS = [*SMOOTH, *WRAPPED, GAP]
MEASURED = Empirical(np.random.default_rng(0).lognormal(size=40))
ATOMIC = [
    Deterministic(value=2.0),
    LocalSteps(Deterministic(value=0.5), steps=3),
    Empirical(samples=(1.0, 2.0, 2.0, 5.0)),
    MEASURED,
    LocalSteps(Empirical(samples=(1.0, 2.0, 5.5)), steps=10),
    Sum(terms=(Empirical(samples=(1.0, 2.0)), Deterministic(3.0))),
    as_delay(stats.poisson(3, loc=1)),
    as_delay(stats.geom(0.2)),
    Mixture(weights=(0.2, 0.3, 0.5), components=(Deterministic(1.0), MEASURED, Pareto(minimum=1.0, index=2.5))),
    LocalSteps(Mixture(weights=(0.5, 0.5), components=(Deterministic(1.0), Exponential(1.0))), steps=3),
]
LAWS = [*CONTINUOUS, *ATOMIC]


@dataclass(frozen=True)
class Opaque(Delay):
    """A law that offers only the four functions that every law must have."""

    law: Delay

    def cdf(self, t):
        return self.law.cdf(t)

    def sf(self, t):
        return self.law.sf(t)

    def ppf(self, q):
        return self.law.ppf(q)

    def isf(self, q):
        return self.law.isf(q)
