"""Delay laws: how many seconds one worker needs for one task.

A law is a frozen value whose repr states all of its parameters.  It is defined by ``cdf``, ``sf``, ``ppf`` and
``isf``, each accurate in its far tail.  Everything else follows by quadrature, or by a closed form where one is known.
A frozen scipy distribution is accepted wherever a law is (``as_delay``).

``base`` has the class of all laws; ``exponential``, ``heavy``, ``bounded``, ``coxian`` and ``discrete`` have its
families; ``mixture``, ``slowest`` and ``sums`` make laws of other laws, with the help of ``atoms`` for discrete ones;
``from_scipy`` wraps distributions of scipy; ``text`` reads and writes laws as text; ``survival`` has tables of
P(X > t); ``numerics`` has the numerical methods.

>>> law = Gamma(shape=4.0, scale=0.25)
>>> law.mean, round(float(law.sf(2.0)), 5)
(1.0, 0.04238)
"""

from abs_theory.delays.base import Delay, check_mean
from abs_theory.delays.bounded import Deterministic, Uniform
from abs_theory.delays.coxian import Coxian
from abs_theory.delays.discrete import Empirical
from abs_theory.delays.exponential import Erlang, Exponential, Gamma, HyperExponential, ShiftedExponential
from abs_theory.delays.from_scipy import as_delay
from abs_theory.delays.heavy import LogNormal, Lomax, Pareto, Weibull
from abs_theory.delays.mixture import Mixture
from abs_theory.delays.slowest import Slowest
from abs_theory.delays.sums import LocalSteps, Sum

__all__ = [
    "Coxian",
    "Delay",
    "Deterministic",
    "Empirical",
    "Erlang",
    "Exponential",
    "Gamma",
    "HyperExponential",
    "LocalSteps",
    "LogNormal",
    "Lomax",
    "Mixture",
    "Pareto",
    "ShiftedExponential",
    "Slowest",
    "Sum",
    "Uniform",
    "Weibull",
    "as_delay",
    "check_mean",
]
