"""Laws of every ageing, and the fields of a simulated steady state as estimates."""

from laws import LOGNORMAL, SHIFTED, STALLS

from abs_theory.delays import Gamma, HyperExponential, Lomax, Pareto, Uniform
from abs_theory.results import Estimate

LAWS = [
    SHIFTED,
    Gamma(shape=4.0, scale=0.25),
    Uniform(low=0.0, high=2.0),
    Lomax(scale=2.0, index=3.0),
    HyperExponential(probs=(0.5, 0.5), means=(0.1, 1.9)),
    STALLS,
    Pareto(minimum=0.5, index=2.0),
    LOGNORMAL,
]


def half_widths_as_estimates(state, replicates):
    """Fields of a simulated steady state as Estimates, undoing their 95 % half-widths."""
    unit = Estimate(0.0, 1.0, replicates).half_width()
    names = ["round_time", "mean_staleness", "restarts", "downlinks", "idle_fraction", "wasted_fraction"]
    return {name: Estimate(getattr(state, name), getattr(state.error, name) / unit, replicates) for name in names}
