"""Weights by worker: with them, and not without, training settles where the mean of all workers' losses is least."""

import pytest

from abs_theory.delays import Exponential
from simulations import protocols
from simulations.experiment import simulate
from simulations.problems import ShiftedQuadratic
from simulations.protocols.weights import inverse_participation

N = 6
MEANS = (1.0, 1.0, 1.0, 2.0, 2.0, 4.0)
OPTIMA = (-1.0, -1.0, -1.0, 1.0, 1.0, 1.0)  # the slow workers want something else


class Watched(ShiftedQuadratic):
    """Its only coordinate is the metric; the optimum is 0."""

    def metrics(self, params):
        return {"w": float(params[0])}


PROBLEM = Watched((1.0,), 0.01, optima=OPTIMA)
LAWS = [Exponential(mean) for mean in MEANS]
CASES = {
    "asynchronous": protocols.asynchronous(),
    "K-async": protocols.k_async(3),
    "ABS": protocols.abs_sgd(2, 2),
    "Ringmaster": protocols.ringmaster(8),
    "Ringmaster without stops": protocols.ringmaster(8, stops=False),
}


def settles_at(protocol):
    """Mean of w over the later part of the runs, with its standard error."""
    runs = simulate(
        protocol, PROBLEM, LAWS, N, step_size=0.02, num_updates=1500, seed=3, replicates=6, n_jobs=1, eval_every=10.0,
    )  # fmt: skip
    late = runs[(runs["update"] > 300) & runs["w"].notna()].groupby("replicate")["w"].mean()
    return late.mean(), late.std() / len(late) ** 0.5


def is_unbiased(protocol):
    mean, stderr = settles_at(protocol)
    return abs(mean) < 5 * stderr < 0.2


@pytest.mark.parametrize("name", ["asynchronous", "ABS", *(pytest.param(name, marks=pytest.mark.slow) for name in (
    "K-async", "Ringmaster", "Ringmaster without stops"))])  # fmt: skip
def test_with_measured_shares_unequal_workers_count_the_same(name):
    mean, stderr = settles_at(CASES[name])
    assert mean < -0.2 - 5 * stderr
    assert is_unbiased(inverse_participation(CASES[name]))


@pytest.mark.slow
def test_shares_may_be_told_up_to_a_factor():
    rates = [10 / mean for mean in MEANS]
    assert is_unbiased(inverse_participation(protocols.asynchronous(), shares=rates))


def test_weights_change_the_model_only_and_a_replicate_reruns_alone():
    options = {"step_size": 0.02, "num_updates": 60, "seed": 1, "n_jobs": 1}
    protocol = protocols.abs_sgd(2, 1)
    plain = simulate(protocol, PROBLEM, LAWS, N, replicates=2, **options)
    weighed = simulate(inverse_participation(protocol), PROBLEM, LAWS, N, replicates=2, **options)
    same = ["time", "k", "uplinks", "downlinks", "restarts", "mean_staleness"]
    assert plain[same].equals(weighed[same])
    assert plain["loss"].iloc[-1] != weighed["loss"].iloc[-1]
    alone = simulate(inverse_participation(protocol), PROBLEM, LAWS, N, replicates=[1], **options)
    assert alone.equals(weighed[weighed["replicate"] == 1].reset_index(drop=True))


def test_the_notes_of_a_protocol_stay_its_own():
    run = simulate(
        inverse_participation(protocols.rennala(4)), PROBLEM, LAWS, N, step_size=0.02, num_updates=20, seed=1
    )
    assert (run["used"] == 4).all()
    table = simulate(inverse_participation(protocols.ssp(1)), PROBLEM, LAWS, N, step_size=0.02, num_updates=20, seed=1)
    assert len(table) == 20


@pytest.mark.parametrize(
    ("shares", "message"), [((1.0, 0.0), "shares must be"), ((1.0, 2.0), "one per worker, got 2 with n=6")]
)
def test_shares_that_are_no_shares_are_refused(shares, message):
    with pytest.raises(ValueError, match=message):
        simulate(
            inverse_participation(protocols.asynchronous(), shares), PROBLEM, LAWS, N, step_size=0.02, num_updates=3,
            seed=1,
        )  # fmt: skip


def test_it_is_given_a_protocol_not_its_factory():
    with pytest.raises(ValueError, match="must be a Protocol such as"):
        inverse_participation(protocols.asynchronous)
