"""The trace of a run goes into ``plan``, and gives back the law of the delays although many tasks are censored."""

import numpy as np
import pytest
from cases import every_case

from abs_theory import choose
from abs_theory.delays import HyperExponential, LogNormal
from abs_theory.plan import fit, plan
from abs_theory.traces import from_frame, staleness_check
from simulations import protocols
from simulations.experiment import simulate
from simulations.live import as_trace
from simulations.problems import TimingOnly

N = 8
STALLS = HyperExponential((0.9, 0.1), (1 / 3, 7.0))
PROTOCOLS = {
    "k_sync": protocols.k_sync(5),
    "abs_sgd": protocols.abs_sgd(3, 1),
    "k_async": protocols.k_async(3),
    "k_batch_async": protocols.k_batch_async(3),
    "rennala": protocols.rennala(4),
}


def trace_of(protocol, law, updates=500):
    tables = simulate(
        protocol, TimingOnly(), law, N, step_size=1.0, num_updates=updates, seed=4, jobs=True, n_jobs=1
    )  # fmt: skip
    return from_frame(as_trace(*tables))


@every_case("name", PROTOCOLS)
def test_the_law_is_found_again_whatever_was_restarted(name):
    attempts = trace_of(PROTOCOLS[name], STALLS).attempts
    times, cdf = fit.kaplan_meier(attempts["seconds"], attempts["observed"])
    places = np.searchsorted(times, [0.1, 0.3, 0.6]) - 1
    deviation = 5 * np.sqrt(0.25 / attempts["observed"].sum())
    assert cdf[places] == pytest.approx(STALLS.cdf(times[places]), abs=deviation)


def test_without_the_censored_tasks_workers_would_look_faster():
    attempts = trace_of(protocols.k_sync(5), STALLS).attempts
    delivered = attempts[attempts["observed"]]["seconds"]
    assert delivered.mean() < 0.6 * STALLS.mean  # the long ones were restarted
    law = LogNormal(median=0.6, sigma=1.0)
    attempts = trace_of(protocols.k_sync(5), law).attempts
    found = fit.lognormal(attempts["seconds"], attempts["observed"]).law
    assert (found.median, found.sigma) == pytest.approx((law.median, law.sigma), rel=0.08)
    assert choose.time_optimal_threshold(found, 5, N) == choose.time_optimal_threshold(law, 5, N)


@pytest.mark.slow
def test_plan_takes_it():
    made = plan(trace_of(protocols.k_sync(5), STALLS), seed=0)
    assert 1 <= made.k <= N


def test_the_versions_add_up():
    trace = trace_of(protocols.k_async(3), STALLS)
    assert "The versions in the trace add up:" in staleness_check(trace)
