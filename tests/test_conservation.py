"""What must hold in every run, protocol and law: the limits of ABS, and the conservation of staleness and work."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abs_theory.delays import Deterministic, Exponential, HyperExponential, LogNormal, ShiftedExponential
from simulations import policies, protocols
from simulations.experiment import simulate
from simulations.problems import NoisyQuadratic, TimingOnly, perceptron_digits

N = 6
QUADRATIC = NoisyQuadratic((1.0, 0.3, 2.0), sigma2=0.5)
LAWS = [
    Exponential(1.0),
    ShiftedExponential(shift=0.5, scale=0.5),
    HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0)),
    LogNormal(median=1.0, sigma=1.0),
    Deterministic(1.0),
]


def growing_k(progress):
    return min(progress.n, 1 + progress.updates // 5)


def moving_k(progress):
    return 1 + (7 * progress.updates) % progress.n


def moving_bound(progress):
    return (3 * progress.updates) % 4


PROTOCOLS = {
    "synchronous": protocols.synchronous(),
    "asynchronous": protocols.asynchronous(),
    "k_sync": protocols.k_sync(3),
    "k_async": protocols.k_async(2),
    "k_async, moving k": protocols.k_async(moving_k),
    "abs_sgd": protocols.abs_sgd(2, 1),
    "abs_sgd, growing k, relative": protocols.abs_sgd(growing_k, policies.relative_to_mean()),
    "abs_sgd, both moving": protocols.abs_sgd(moving_k, moving_bound),
    "abs_sgd, loss ratio": protocols.abs_sgd(policies.loss_ratio(1), policies.relative_to_mean(2.0)),
    "adasync": protocols.adasync(Exponential(1.0), N, 1),
    "staleness_aware_adasync": protocols.staleness_aware_adasync(Exponential(1.0), N, 1),
    "local_sgd": protocols.local_sgd(),
}


def train(protocol, law, problem=QUADRATIC, **options):
    options = {"step_size": 0.1, "num_updates": 60, "seed": 3} | options
    return simulate(protocol, problem, law, N, **options)


# ---------------------------------------------------------------------- limits, to the last bit
LIMITS = {
    "a bound of 0 is K-sync": (protocols.abs_sgd(3, 0), protocols.k_sync(3)),
    "no bound is K-async": (protocols.abs_sgd(3, math.inf), protocols.k_async(3)),
    "k = n is synchronous": (protocols.abs_sgd(N, 2), protocols.synchronous()),
    "k = 1 without a bound is asynchronous": (protocols.abs_sgd(1, math.inf), protocols.asynchronous()),
    "a moving k with a bound of 0 is K-sync": (protocols.abs_sgd(moving_k, 0), protocols.k_sync(moving_k)),
}


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("pair", LIMITS.values(), ids=LIMITS.keys())
def test_limits_of_abs_are_the_published_protocols_bit_by_bit(pair, law):
    one, other = (train(protocol, law, replicates=2, eval_every=0.5) for protocol in pair)
    pd.testing.assert_frame_equal(
        one.drop(columns="max_staleness"), other.drop(columns="max_staleness"), check_exact=True
    )
    assert one["loss"].notna().sum() > 10


def test_limits_hold_bit_by_bit_on_the_perceptron_too():
    options = {"problem": perceptron_digits(N, hidden=8, batch_size=4), "eval_every": 1.0}
    one = train(protocols.abs_sgd(2, 0), LAWS[3], **options)
    pd.testing.assert_frame_equal(one, train(protocols.k_sync(2), LAWS[3], **options), check_exact=True)


# ---------------------------------------------------------------------- conservation
@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_conservation_of_staleness_in_integers(name, law):
    """Sum of staleness applied + ages at restart + ages in flight = sum over updates of n - k_t."""
    rounds, tasks = train(PROTOCOLS[name], law, jobs=True)
    ages = (tasks["end_version"] - tasks["read_version"]).groupby(tasks["outcome"]).sum()
    assert ages["applied"] == round((rounds["mean_staleness"] * rounds["k"]).sum())
    assert ages.sum() == (N - rounds["k"]).sum()


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_conservation_of_work(name, law):
    """n times the duration = useful time + idle + wasted + unfinished work at the end."""
    rounds, tasks = train(PROTOCOLS[name], law, jobs=True, local_steps=1 + (name == "local_sgd"))
    seconds = (tasks["end"] - tasks["start"]).groupby(tasks["outcome"]).sum()
    total = seconds.get("applied", 0) + seconds.get("unfinished", 0)
    total += rounds["idle_seconds"].sum() + rounds["wasted_seconds"].sum()
    assert total == pytest.approx(N * rounds["time"].iloc[-1], rel=1e-12)
    assert rounds["wasted_seconds"].sum() == pytest.approx(seconds.get("restarted", 0.0), rel=1e-12)


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_conservation_of_work_when_the_budget_ends_within_a_round(law):
    """Gradients delivered for an update that never came count as unfinished work."""
    rounds, tasks = train(PROTOCOLS["k_sync"], law, num_updates=None, time_budget=20.3, jobs=True)
    seconds = (tasks["end"] - tasks["start"]).sum() + rounds["idle_seconds"].sum()
    assert seconds == pytest.approx(N * tasks["end"].max(), rel=1e-12)  # the clock stops at the last arrival


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_counts_of_a_run(name, law):
    rounds, tasks = train(PROTOCOLS[name], law, jobs=True)
    counts = tasks["outcome"].value_counts()
    assert rounds["uplinks"].sum() == rounds["k"].sum() == counts["applied"]
    assert rounds["downlinks"].sum() == len(tasks) == N + rounds["uplinks"].sum() + rounds["restarts"].sum()
    assert rounds["restarts"].sum() == counts.get("restarted", 0)
    assert (rounds["discarded"] == 0).all()
    assert rounds["time"].is_monotonic_increasing
    assert (rounds["largest_staleness"] <= rounds["max_staleness"]).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), bound=st.integers(0, 5), k=st.integers(1, N))
def test_abs_never_uses_a_gradient_staler_than_its_bound(seed, bound, k):
    law = HyperExponential(probs=(0.8, 0.2), means=(0.2, 4.2))
    rounds = simulate(protocols.abs_sgd(k, bound), TimingOnly(), law, N, step_size=1.0, num_updates=50, seed=seed)
    assert rounds["largest_staleness"].max() <= bound


# ---------------------------------------------------------------------- addressed randomness
def test_same_seed_same_bits_and_any_replicate_reruns_alone():
    protocol, law = PROTOCOLS["abs_sgd, growing k, relative"], LAWS[2]
    table = train(protocol, law, replicates=4, eval_every=1.0)
    again = train(protocol, law, replicates=4, eval_every=1.0, n_jobs=1)
    pd.testing.assert_frame_equal(table, again, check_exact=True)
    alone = train(protocol, law, replicates=[2], eval_every=1.0)
    pd.testing.assert_frame_equal(table[table["replicate"] == 2].reset_index(drop=True), alone, check_exact=True)
    assert not np.array_equal(table["time"][table["replicate"] == 0], table["time"][table["replicate"] == 1])


def test_common_random_numbers_the_jth_task_takes_the_same_time_under_every_protocol():
    def durations(protocol):
        _, tasks = train(protocol, LAWS[3], jobs=True)
        done = tasks[tasks["outcome"] == "applied"].sort_values("start")
        return [(done["end"] - done["start"])[done["worker"] == w].round(9).tolist() for w in range(N)]

    for one, other in zip(durations(protocols.asynchronous()), durations(protocols.synchronous()), strict=True):
        shared = min(len(one), len(other))
        assert shared > 0
        assert one[:shared] == pytest.approx(other[:shared], abs=1e-8)
