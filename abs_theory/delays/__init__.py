"""Delay laws: how long one worker needs for one task, in seconds.

Every law is a frozen value whose repr says all about it.  It is defined by ``cdf``, ``sf``, ``ppf`` and ``isf``,
each accurate to its own far tail; the rest follows by quadrature, and is overridden wherever a closed form is
known.  Wherever a law is expected, a frozen scipy distribution will do (``as_delay``).
"""

from abs_theory.delays.base import Delay
from abs_theory.delays.bounded import Deterministic, Uniform
from abs_theory.delays.coxian import Coxian
from abs_theory.delays.discrete import Empirical
from abs_theory.delays.exponential import Erlang, Exponential, Gamma, HyperExponential, ShiftedExponential
from abs_theory.delays.from_scipy import as_delay
from abs_theory.delays.heavy import LogNormal, Lomax, Pareto, Weibull
from abs_theory.delays.mixture import Mixture
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
    "Sum",
    "Uniform",
    "Weibull",
    "as_delay",
]
