"""Live runs whose times are measured: their order, round times and staleness, beside what was predicted."""

import math

import numpy as np
import pytest
from agreement import FALSE_FAIL_RATE
from scipy.stats import t
from scripted import Scripted

from abs_theory.delays import HyperExponential, LogNormal, ShiftedExponential
from simulations import protocols
from simulations.experiment import simulate
from simulations.fleets import as_fleet
from simulations.live.processes import Processes
from simulations.live.training import LiveSettings, train
from simulations.problems import TimingOnly
from simulations.server import Run, RunBudget, run_replicate

N = 8
LAWS = (ShiftedExponential(0.5, 0.5), HyperExponential((0.9, 0.1), (1 / 3, 7.0)), LogNormal(0.6, 1.0))
PROTOCOLS = {
    "synchronous": protocols.synchronous(),
    "k_sync": protocols.k_sync(3),
    "k_async": protocols.k_async(3),
    "abs_sgd": protocols.abs_sgd(3, 1),
    "asynchronous": protocols.asynchronous(),
    "ringmaster": protocols.ringmaster(3),
    "abs_batch": protocols.abs_batch(3, 1),
}
CLOCK_SECONDS, REPLICATES = 8.0, 30  # of a case; so many runs in this time
SIMULATED = 400  # runs that say what is to be expected
LEAST_SCALE, FEWEST_UPDATES = 0.05, 3  # seconds of the clock for the mean delay, which is about 1 s; of a run
LATE_SHARE = 0.01  # of the mean delay, by which tasks may end late if the machine is not too busy


@pytest.fixture(scope="module")
def crew():
    with Processes(TimingOnly(), N) as workers:
        yield workers


def a_run(protocol, fleet, updates, seed=1):
    return Run(
        protocol=protocol, problem=TimingOnly(), fleet=fleet, step_size=1.0, seed=seed, keep_tasks=True,
        budget=RunBudget(num_updates=updates),
    )  # fmt: skip


def lateness(measured):
    """How late tasks ended, and their messages came, in seconds."""
    return np.array([message.late for part in measured for message in part.messages])


# ---------------------------------------------------------------- the order of arrivals
GAP_UPDATES, MOST_GAP = 8, 0.5  # seconds; on a machine that needs more, nothing is measured


def spaced():
    """Task times in units, such that all tasks of the three protocols end at least a unit apart; with four workers."""
    for seed in range(1000):
        times = Scripted(*np.random.default_rng(seed).integers(4, 30, size=(4, 40)).astype(float).tolist())
        runs = [a_run(protocol, times, GAP_UPDATES) for protocol in GAPPED]
        if all(least_gap(run) >= 1 for run in runs):
            return runs
    raise AssertionError("no such times were found")


GAPPED = (protocols.k_sync(2), protocols.k_async(2), protocols.abs_sgd(1, 2))


def least_gap(run):
    _, tasks = run_replicate(run, 0)
    ends = np.unique(tasks[tasks["outcome"] != "unfinished"]["end"])
    delivered = tasks[tasks["outcome"] == "applied"]["end"]
    return np.diff(ends).min() if delivered.is_unique else 0.0


@pytest.mark.slow
def test_measured_arrivals_come_in_the_simulated_order_if_gaps_exceed_the_jitter():
    """Without any grace.  The gap is chosen by the measured jitter; a run that met more is made again."""
    runs, columns = spaced(), ["worker", "read_version", "applied_version", "outcome"]
    with Processes(TimingOnly(), 4) as crew:
        first = train(runs[0], [0], LiveSettings(time_scale=0.002, grace=0.0), crew)
        gap = max(4 * float(lateness(first.measured).max()), 0.01)
        for run in runs:
            _, simulated = run_replicate(run, 0)
            for _ in range(3):
                if gap > MOST_GAP:
                    pytest.skip(f"this machine is too busy: it would need gaps of {gap:.2g} s")
                live = train(run, [0], LiveSettings(time_scale=gap, grace=0.0), crew)
                # a task may begin late by the lateness of all before it
                jitter = float(np.sort(lateness(live.measured))[-GAP_UPDATES:].sum())
                same = live.tasks[columns].equals(simulated[columns])
                if same or jitter < gap:
                    break
                gap = 2 * jitter
            assert same


# ---------------------------------------------------------------- times and staleness
def round_times(rounds):
    """The mean round time of each replicate."""
    own = rounds.groupby("replicate")
    return (own["time"].last() / own["update"].last()).to_numpy()


def shares(tasks, most):
    """Shares of staleness 0..``most`` (or more) of the applied gradients, one row per replicate."""
    applied = tasks[tasks["applied_version"] > 0]
    staleness = (applied["applied_version"] - 1 - applied["read_version"]).clip(upper=most)
    counts = [np.bincount(own, minlength=most + 1) for _, own in staleness.groupby(applied["replicate"])]
    return np.array([row / row.sum() for row in counts])


def chance(simulated, live):
    """The largest difference of two means that chance explains, from the spread of the many simulated replicates."""
    runs = 1 / len(live) + 1 / len(simulated)
    return t.isf(FALSE_FAIL_RATE / 2, len(live) - 1) * simulated.std(ddof=1) * math.sqrt(runs)


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_round_times_and_staleness_are_those_that_were_predicted(name, law, crew):
    """Within the noise at a rate of false alarms of 1e-6, plus what late tasks explain.

    Tasks that end late by a share of the mean delay make rounds at most that share longer, or by that time if rounds
    are shorter.  A task meets another update with a chance of at most twice its lateness per round time.
    """
    protocol, fleet = PROTOCOLS[name], as_fleet(law, N)
    trial = train(a_run(protocol, fleet, 10), [99], LiveSettings(time_scale=0.02, grace=0.0), crew)
    probe = simulate(protocol, TimingOnly(), law, N, step_size=1.0, num_updates=200, seed=3, n_jobs=1)
    seconds = CLOCK_SECONDS / REPLICATES / (probe["time"].iloc[-1] / 200)  # of the clock for an update
    scale = max(float(lateness(trial.measured).mean()) / LATE_SHARE, LEAST_SCALE)
    scale = min(scale, seconds / FEWEST_UPDATES)  # however busy the machine is
    updates = int(seconds / scale)
    rounds, tasks = simulate(
        protocol, TimingOnly(), law, N, step_size=1.0, num_updates=updates, seed=2, replicates=SIMULATED, jobs=True,
        n_jobs=1,
    )  # fmt: skip
    settings = LiveSettings(time_scale=scale, grace=0.0)
    live = train(a_run(protocol, fleet, updates), range(REPLICATES), settings, crew)
    late = float(lateness(live.measured).mean()) / scale

    expected, measured = round_times(rounds), round_times(live.rounds)
    difference, noise = measured.mean() - expected.mean(), chance(expected, measured)
    overhead = late * max(1.0, expected.mean() / law.mean)
    assert -noise <= difference <= noise + overhead

    cumulative = shares(tasks, 50).mean(axis=0).cumsum()
    most = int(np.argmax(cumulative >= 0.9))  # rarer ones are taken together
    swapped = 2 * late / expected.mean()
    for simulated, own in zip(shares(tasks, most).T, shares(live.tasks, most).T, strict=True):
        assert abs(own.mean() - simulated.mean()) <= chance(simulated, own) + swapped
    stated = f"{expected.mean():.4g} s +- {noise:.2g} + {overhead:.2g}"
    print(f"{name}, {type(law).__name__}, {updates} updates, scale {scale:.2g}: {measured.mean():.4g} s for {stated}")
