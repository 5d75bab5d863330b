"""Theory against simulation: every protocol that has a formula, four laws, three fleets, three k."""

import math
from functools import cache
from itertools import product

import numpy as np
import pytest
from agreement import assert_agrees, assert_within
from cases import by_turns

from abs_theory import round_time, steady_state
from abs_theory.delays import Exponential, HyperExponential, LogNormal, ShiftedExponential
from abs_theory.monte_carlo import Estimate
from abs_theory.round_time import partial_uploads
from abs_theory.round_time.stale_synchronous import ssp
from simulations import protocols
from simulations.fleets import Independent
from simulations.problems import TimingOnly
from simulations.server import Run, RunBudget, Server

N = 6
STEPS = 3  # of local SGD and its like
LAWS = {  # of mean m; the hazard is constant, increases, decreases, does neither
    "exponential": lambda m: Exponential(m),
    "shifted": lambda m: ShiftedExponential(shift=m / 2, scale=m / 2),
    "hyper-exponential": lambda m: HyperExponential(probs=(0.7, 0.3), means=(0.25 * m, 2.75 * m)),
    "lognormal": lambda m: LogNormal(median=m * math.exp(-0.5), sigma=1.0),
}
FLEETS = {"equal": (1.0,) * N, "one slow": (1.0,) * (N - 1) + (4.0,), "two speeds": (1.0,) * 3 + (2.0,) * 3}
KS = (1, 3, 5)


def abs_bound(laws, k):
    return steady_state.abs_sgd(laws, k, N, 2)


def no_bound(laws, k):
    return steady_state.abs_sgd(laws, k, N, None)


# name: protocol of k, mean round time of (laws, k), by which k, local steps
EXACT = {
    "synchronous": (lambda k: protocols.synchronous(), lambda laws, k: round_time.synchronous(laws, N), (N,), 1),
    "backup_workers": (
        lambda k: protocols.backup_workers(N - k), lambda laws, k: round_time.k_sync(laws, k, N), (4,), 1
    ),
    "k_sync": (protocols.k_sync, lambda laws, k: round_time.k_sync(laws, k, N), KS, 1),
    "k_batch_sync": (protocols.k_batch_sync, lambda laws, k: round_time.k_batch_sync(laws, k, N), (1, 3, 9), 1),
    "k_batch_async": (protocols.k_batch_async, lambda laws, k: round_time.k_batch_async(laws, k, N), (1, 3, 9), 1),
    "staleness_aware": (protocols.staleness_aware, lambda laws, k: round_time.k_batch_async(laws, k, N), (3,), 1),
    "asynchronous": (lambda k: protocols.asynchronous(), lambda laws, k: round_time.asynchronous(laws, N), (1,), 1),
    "delay_adaptive": (lambda k: protocols.delay_adaptive(), lambda laws, k: round_time.asynchronous(laws, N), (1,), 1),
    "fedbuff": (protocols.fedbuff, lambda laws, k: STEPS * round_time.k_batch_async(laws, k, N), (3,), STEPS),
    "local_sgd": (lambda k: protocols.local_sgd(), lambda laws, k: round_time.local_sgd(laws, N, STEPS), (N,), STEPS),
    "stsyn": (protocols.stsyn, lambda laws, k: round_time.stsyn(laws, k, N, STEPS), KS, STEPS),
}  # fmt: skip
APPROXIMATE = {"k_async": (protocols.k_async, no_bound), "abs_sgd": (lambda k: protocols.abs_sgd(k, 2), abs_bound)}
ALL = [(name, k) for name, row in EXACT.items() for k in row[2]] + list(product(APPROXIMATE, KS))
GRID = [(name, k, law, fleet) for (name, k), fleet, law in product(ALL, FLEETS, LAWS)]
SUMS = ("k_batch_sync", "local_sgd", "stsyn")  # their theory convolves laws, seconds of work unless in closed form


def in_turn():
    """The fast suite: every protocol and k once, the laws and fleets by turns, sums with laws that know theirs."""
    for i, (name, k) in enumerate(ALL):
        laws = ("exponential", "shifted") if name in SUMS else tuple(LAWS)
        yield name, k, laws[i % len(laws)], ("equal", "one slow")[i // 2 % 2]


FAST = list(in_turn())
by_fleet = pytest.mark.parametrize("fleet", ["equal", "one slow", pytest.param("two speeds", marks=pytest.mark.slow)])


def laws_of(law, fleet):
    return [LAWS[law](mean) for mean in FLEETS[fleet]]


def timing_run(protocol, laws, updates, local_steps=1):
    """A run of workers with these laws that trains nothing."""
    return Run(
        protocol=protocol, problem=TimingOnly(), fleet=Independent(tuple(laws)), step_size=1.0,
        local_steps=local_steps, seed=11, budget=RunBudget(num_updates=updates),
    )  # fmt: skip


@cache
def simulated(name, k, law, fleet, tasks, replicates):
    """Mean round time, uploads and local steps per round over the last three quarters of each replicate."""
    factory, local_steps = (EXACT[name][0], EXACT[name][3]) if name in EXACT else (APPROXIMATE[name][0], 1)
    updates, rows = max(tasks // k, 120), []
    run = timing_run(factory(k), laws_of(law, fleet), updates, local_steps)
    for replicate in range(replicates):
        server = Server(run, replicate)
        while server.updates < updates:
            server.protocol.on_arrival(server, server.next_arrival())
        table = np.array([(row.time, row.uplinks, row.computed) for row in server.finish()])
        late = table[updates // 4 :]
        rows.append([(late[-1, 0] - late[0, 0]) / (len(late) - 1), *late[1:, 1:].mean(axis=0)])
    return [Estimate.of(values) for values in np.transpose(rows)]


def check_round_time(name, k, law, fleet, tasks, replicates, resolution):
    found, laws = simulated(name, k, law, fleet, tasks, replicates)[0], laws_of(law, fleet)
    if name in EXACT:
        assert_agrees(found, EXACT[name][1](laws, k), resolution)
        return
    theory = APPROXIMATE[name][1](laws, k)
    stated = theory.error.round_time
    assert_within(found, theory.round_time, stated, cap=0.3 * theory.round_time, resolution=resolution * found.mean)


@pytest.mark.parametrize("name, k, law, fleet", FAST)
def test_round_time(name, k, law, fleet):
    check_round_time(name, k, law, fleet, tasks=400, replicates=24, resolution=0.6)


@pytest.mark.slow
@pytest.mark.parametrize("name, k, law, fleet", GRID)
def test_round_time_in_the_whole_table(name, k, law, fleet):
    check_round_time(name, k, law, fleet, tasks=10_000, replicates=32, resolution=0.1)


@pytest.mark.parametrize("k, fleet, law", by_turns(KS, ["one slow", "equal", "two speeds"], ["shifted", "exponential"]))
def test_who_uploads_in_stsyn_and_how_much(law, fleet, k):
    _, uploads, steps = simulated("stsyn", k, law, fleet, tasks=400, replicates=24)
    laws = laws_of(law, fleet)
    assert_agrees(uploads, partial_uploads.mean_uploads(laws, k, N, STEPS), 0.3)
    # the steps of those who finished at least one: all that were finished
    assert_agrees(steps, N * partial_uploads.mean_local_steps(laws, k, N, STEPS), 0.6)


@by_fleet
def test_ssp_without_a_bound(fleet):
    laws = laws_of("shifted", fleet)
    updates, rows = 600, []
    run = timing_run(protocols.ssp(math.inf), laws, updates)
    for replicate in range(24):
        server = Server(run, replicate)
        while server.updates < updates:
            server.protocol.on_arrival(server, server.next_arrival())
        times = [row.time for row in server.finish()]
        rows.append((times[-1] - times[updates // 4]) / (updates - 1 - updates // 4))
    assert_agrees(Estimate.of(rows), ssp(laws, N, None, np.random.default_rng(1)).mean / N, resolution=0.1)


@pytest.mark.parametrize("slack", [0, 2])
@by_fleet
def test_ssp(fleet, slack):
    """Two simulations of different make: the event queue, and the recursion in max and plus."""
    laws = laws_of("lognormal", fleet)
    recursion = ssp(laws, N, slack, np.random.default_rng(1), num_ticks=200, replicates=64)
    ticks, rows = 120, []
    run = timing_run(protocols.ssp(slack), laws, ticks)
    for replicate in range(24):
        server = Server(run, replicate)
        began = 0.0
        done = server.notes.done
        while min(done[worker] for worker in range(N)) < ticks:
            server.protocol.on_arrival(server, server.next_arrival())
            if min(done[worker] for worker in range(N)) < ticks // 4:
                began = server.time
        rows.append((server.time - began) / (ticks - ticks // 4))
    found = Estimate.of(rows)
    assert_within(found, recursion.mean, 6 * recursion.stderr, cap=0.1 * recursion.mean, resolution=0.6 * found.mean)
