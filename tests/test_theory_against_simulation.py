"""The evidence: every formula for a protocol against the event simulator, protocol x law x k, memoryless and not."""

import math
from functools import partial
from itertools import product

import pytest
from agreement import assert_agrees, assert_within
from cases import by_turns
from laws import LOGNORMAL, SHIFTED

from abs_theory import round_time, steady_state
from abs_theory.delays import Exponential, HyperExponential
from abs_theory.monte_carlo import Estimate
from simulations import protocols
from simulations.experiment import simulate
from simulations.problems import TimingOnly

N = 6
LAWS = [
    Exponential(1.0),
    SHIFTED,
    HyperExponential(probs=(0.7, 0.3), means=(0.25, 2.75)),
    LOGNORMAL,
]
# what a test run costs, in tasks per replicate, and the relative differences it must be able to see
FAST = {"tasks": 1500, "replicates": 24, "resolution": 0.25}
SLOW = {"tasks": 20_000, "replicates": 48, "resolution": 0.05}
EFFORTS = [pytest.param(FAST, id="fast"), pytest.param(SLOW, id="slow", marks=pytest.mark.slow)]

# exact theory: (simulated protocol, the function of the same name), by the k it waits for
EXACT = {
    "synchronous": (lambda k: protocols.synchronous(), lambda law, k: round_time.synchronous(law, N), [N]),
    "asynchronous": (lambda k: protocols.asynchronous(), lambda law, k: round_time.asynchronous(law, N), [1]),
    "k_sync": (protocols.k_sync, lambda law, k: round_time.k_sync(law, k, N), [1, 3, 5]),
}


def steady_cells():
    """Every k, threshold and law at length; fast, one of the laws by turns."""
    for (i, k), (j, bound), (turn, law) in product(enumerate([1, 2, 4]), enumerate([1, 3, math.inf]), enumerate(LAWS)):
        for effort in EFFORTS if (i + j) % len(LAWS) == turn else EFFORTS[1:]:
            yield pytest.param(k, bound, law, *effort.values, id=f"{k}-{bound}-{law}-{effort.id}", marks=effort.marks)


def averages(protocol, law, k, tasks, replicates, local_steps=1):
    """Estimates per round over the last three quarters of each replicate, by independent replicates."""
    updates = tasks // k
    rounds = simulate(
        protocol, TimingOnly(), law, N, step_size=1.0, num_updates=updates, replicates=replicates, seed=11,
        local_steps=local_steps, n_jobs=1,
    )  # fmt: skip
    rounds["round_time"] = rounds.groupby("replicate")["time"].diff()
    late = rounds[rounds["update"] > updates // 4].groupby("replicate")
    means = late[["round_time", "mean_staleness", "restarts", "downlinks", "idle_seconds", "wasted_seconds"]].mean()
    means["idle_fraction"] = means["idle_seconds"] / (N * means["round_time"])
    means["wasted_fraction"] = means["wasted_seconds"] / (N * means["round_time"])
    return {name: Estimate.of(values) for name, values in means.items()}


EXACT_CELLS = [(name, k) for name, (_, _, ks) in EXACT.items() for k in ks]


@pytest.mark.parametrize(
    "cell, law, effort",
    [
        *(pytest.param(*case.values, FAST, marks=case.marks) for case in by_turns(EXACT_CELLS, LAWS, rounds=2)),
        *(pytest.param(cell, law, SLOW, marks=pytest.mark.slow) for cell, law in product(EXACT_CELLS, LAWS)),
    ],
    ids=lambda value: "slow" if value is SLOW else "fast" if value is FAST else str(value),
)
def test_exact_round_times(cell, law, effort):
    name, k = cell
    protocol, theory, _ = EXACT[name]
    found = averages(protocol(k), law, k, effort["tasks"], effort["replicates"])
    assert_agrees(found["round_time"], theory(law, k), effort["resolution"])


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("law", LAWS[1:3], ids=repr)
def test_local_sgd_round_times(law, effort):
    found = averages(protocols.local_sgd(), law, N, effort["tasks"], effort["replicates"], local_steps=3)
    assert_agrees(found["round_time"], round_time.local_sgd(law, N, 3), effort["resolution"])


@pytest.mark.parametrize("k, bound, law, effort", [*steady_cells()])
def test_steady_state_of_abs_and_k_async(k, bound, law, effort):
    """Round time, staleness, restarts, idle and wasted time: exact theory exactly, the mean field within its error."""
    protocol = protocols.k_async(k) if bound == math.inf else protocols.abs_sgd(k, bound)
    found = averages(protocol, law, k, effort["tasks"], effort["replicates"])
    theory = steady_state.abs_sgd(law, k, N, bound)
    check = partial(assert_within, resolution=effort["resolution"] * theory.round_time)
    check(found["round_time"], theory.round_time, theory.error.round_time, cap=0.3 * theory.round_time)
    for name, scale, cap in (
        ("mean_staleness", N / k, 0.3 * N / k),
        ("restarts", N / (1 + min(bound, N)), 0.3 * N / (1 + min(bound, N))),
        ("idle_fraction", 1.0, 0.2),
        ("wasted_fraction", 1.0, 0.3),
    ):
        expected, stated = getattr(theory, name), getattr(theory.error, name)
        assert_within(found[name], expected, stated, cap=cap, resolution=effort["resolution"] * scale)
