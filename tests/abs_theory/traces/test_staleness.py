"""Staleness in a trace is conserved, whatever the delays; a trace that breaks the law is told so."""

import numpy as np
import pytest
import synthetic_traces as synthetic

from abs_theory.delays import HyperExponential, LogNormal, Uniform
from abs_theory.traces import from_frame
from abs_theory.traces.staleness import staleness_check
from simulations import protocols
from simulations.experiment import simulate
from simulations.problems import TimingOnly

N, K = 8, 3
LAWS = {
    "lognormal": LogNormal(median=1.0, sigma=0.8),
    "uniform": Uniform(low=0.5, high=1.5),
    "stalls": HyperExponential(probs=(0.9, 0.1), means=(0.3, 7.0)),
}


def simulated(protocol, delay):
    """What a simulated server would log: a row per task that was applied or restarted."""
    options = {"step_size": 1.0, "num_updates": 600, "seed": 5, "jobs": True, "n_jobs": 1}
    _, tasks = simulate(protocol, TimingOnly(), delay, N, **options)
    tasks = tasks[tasks["outcome"].isin(["applied", "restarted"])]
    names = {"read_version": "version_read", "end_version": "version_applied"}
    status = tasks["outcome"].map({"applied": "ok", "restarted": "cancelled"})
    return tasks.rename(columns=names).assign(
        round=tasks["end_version"], seconds=tasks["end"] - tasks["start"], status=status
    )[["round", "worker", "seconds", "status", "version_read", "version_applied"]]


def verdict(frame):
    return staleness_check(from_frame(frame, warmup=0))


@pytest.mark.parametrize("law", LAWS)
def test_k_async_and_k_batch_async_obey_their_laws(law):
    k_async = simulated(protocols.k_async(K), LAWS[law])
    assert "add up: the mean of K-async is (n - k) / k = 1.67 (n = 8, k = 3)." in verdict(k_async)
    batch = simulated(protocols.k_batch_async(K), LAWS[law])
    assert "add up: the mean of K-batch-async is (n - 1) / k = 2.33 (n = 8, k = 3)." in verdict(batch)
    assert len(from_frame(batch, warmup=0).attempts) == len(batch)  # two deliveries of one worker in one round are kept


@pytest.mark.parametrize("law", LAWS)
def test_restarts_are_part_of_the_balance(law):
    frame = simulated(protocols.abs_sgd(K, 1), LAWS[law])
    assert (frame["status"] == "cancelled").any()
    told = verdict(frame)
    assert "add up: without restarts the mean would be (n - k) / k = 1.67 (K-async, n = 8, k = 3), and " in told
    assert f", and {(frame['status'] == 'cancelled').sum()} attempts not delivered made it smaller." in told
    without = verdict(frame[frame["status"] == "ok"])
    assert "but the versions in the trace do not add up." in without
    assert "it is too small: restarts or deliveries without a row, or workers that do not take part" in without


def test_staleness_counted_from_one_is_recognised():
    frame = simulated(protocols.k_async(K), LAWS["lognormal"])
    said = verdict(frame.assign(version_applied=frame["version_applied"] + 1))
    assert "do not add up. It should be (n - k) / k = 1.67, as in K-async, or (n - 1) / k = 2.33, as in" in said
    assert "version_applied must be the version a gradient is applied to, not the one it makes" in said


def test_too_much_staleness_means_more_workers():
    frame = simulated(protocols.k_async(K), LAWS["lognormal"])
    doubled = frame.assign(version_read=2 * frame["version_read"] - frame["version_applied"])
    assert "it is too large: about 13 workers would fit, or rows are missing" in verdict(doubled)


def test_lost_rows_break_the_balance_and_gaps_do_not():
    frame = synthetic.k_async(np.random.default_rng(1))
    assert "The versions in the trace add up:" in verdict(frame)
    assert "but the versions in the trace do not add up." in verdict(frame.sample(frac=0.8, random_state=1))
    windows = frame[(frame["round"] < 70) | (frame["round"] >= 120)]
    assert "The versions in the trace add up:" in verdict(windows)


def test_traces_that_cannot_be_checked_say_so():
    frame = synthetic.k_async(np.random.default_rng(1), num_updates=5)
    assert "5 updates are too few to check it, because up to 8 attempts run at a time" in verdict(frame)
    assert verdict(frame.assign(version_read=frame["version_applied"])).startswith(
        "Every gradient is fresh (staleness 0)"
    )
    assert verdict(frame.drop(columns="version_read")) == "The trace has no versions: staleness cannot be checked."
    assert verdict(frame.assign(version_read=np.nan)) == "No delivery has both versions: staleness cannot be checked."
