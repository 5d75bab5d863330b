"""What a server remembers is kept as plain data: each protocol of the contract goes on with it, in simulation here."""

import json
import threading
from collections import Counter, deque
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from all_protocols import CASES, WHOLE, N
from cases import every_case

from abs_theory.delays import Exponential
from simulations import contract, protocols
from simulations.fleets import Links, as_fleet
from simulations.live.plain_data import NotPlainError, read, written
from simulations.protocols.weights import inverse_participation
from simulations.server import Evaluations, Job, Remembered, Run, RunBudget, Server, drive, numbered

UPDATES, INTERRUPTED_AT = 40, 13
WEIGHED = {"ssp": CASES["ssp"].protocol, "admission": CASES["admission, window"].protocol}
WORKERS = as_fleet(contract.LAWS[1], N)
RUNS = {name: {"protocol": CASES[name].protocol, "local_steps": CASES[name].local_steps} for name in WHOLE}
RUNS |= {f"{name}, weighed": {"protocol": inverse_participation(protocol)} for name, protocol in WEIGHED.items()}
RUNS |= {  # gradients queue while the server updates
    f"{name}, long updates": {"protocol": CASES[name].protocol, "update_seconds": 1.5}
    for name in ("abs_batch", "admission, window")
}
LINKS = Links(WORKERS, download=Exponential(0.2), upload=Exponential(0.1))
RUNS |= {
    f"k_async, {type(fleet).__name__}": {"protocol": CASES["k_async"].protocol, "fleet": fleet}
    for fleet in (LINKS, contract.leaving(N))
}


def interrupt(server, evaluations):
    if server.updates == INTERRUPTED_AT:
        raise KeyboardInterrupt


def kept(state):
    return json.dumps(written(vars(state.remembered), state.tasks))


def interrupted(name):
    """A server that has been interrupted, and another one that goes on from what is kept of it."""
    settings = {"fleet": WORKERS} | RUNS[name]
    run = Run(
        problem=contract.PROBLEM, step_size=0.05, seed=3, budget=RunBudget(num_updates=UPDATES), keep_tasks=True,
        **settings,
    )  # fmt: skip
    server = Server(run)
    with pytest.raises(KeyboardInterrupt):
        drive(server, keep=interrupt)
    state = server.state()
    text = kept(state)
    remembered = Remembered(**read(json.loads(text), state.tasks))
    return server, Server(run, 0, state=replace(state, remembered=remembered)), text


@every_case("name", RUNS)
def test_a_server_goes_on_with_all_that_protocol_and_policies_remember(name):
    _, server, text = interrupted(name)
    assert kept(server.state()) == text
    rounds = drive(server, Evaluations(server.run, {}, server.time))
    rounds, tasks = numbered(rounds, server.books.tasks, 0)
    assert len(rounds) == UPDATES
    contract.work_is_conserved(rounds, tasks, N)
    contract.workers_do_one_thing_at_a_time(tasks)
    contract.no_gradient_is_forgotten(rounds, tasks, N)
    contract.messages_are_counted(rounds, tasks, server.run.one_step, comes_back=True)
    contract.staleness_is_bounded(rounds)


def test_only_those_begin_that_may():
    before, server, _ = interrupted("ssp")
    done = before.notes.done
    assert max(done.values()) - min(done.values()) == 3  # one worker waits for the slowest
    ahead = {worker for worker in range(N) if done[worker] > min(done.values()) + 2}
    assert set(server.jobs) == set(range(N)) - ahead
    before, server, _ = interrupted("admission, in order")
    assert before.notes.finished
    assert len(server.jobs) + len(server.notes.finished) + len(server.queued) == 6  # (ahead + 1) k


def test_what_was_measured_decides_again():
    before, server, _ = interrupted("self_tuning_abs")
    measured = [own._meter.of(0, before.time, lambda: [1.0]) for own in (before, server)]
    assert measured[0].delay.deliveries > 3
    assert measured[0].delay.sf(1.0) == measured[1].delay.sf(1.0)
    assert measured[0].gradient_variance == measured[1].gradient_variance
    assert measured[0].loss == measured[1].loss
    assert measured[0].latest_loss == measured[1].latest_loss


def test_draws_of_links_go_on():
    before, server, _ = interrupted("k_async, Links")
    tasks = len([line for line in before.state().tasks if line[0] == 0]) + 1
    fresh = before.run.fleet.times(before.run.seed, 0)[0].download
    expected = [next(fresh) for _ in range(tasks + 1)][-1]
    assert next(server.times[0].download) in (expected, next(fresh))  # the second if it has begun a task since


def test_the_times_of_updates_go_on():
    before, server, _ = interrupted("abs_batch, long updates")
    fresh = Server(before.run)
    times = [next(fresh._update_times) for _ in range(INTERRUPTED_AT + 1)]
    assert next(server._update_times) == times[-1]


def test_values_come_back_as_they_were():
    line = [0, 0.0, 1.0, 2, 3, -1, "unfinished"]
    job = Job(1, 2, 3.0, np.arange(3.0), 1, 0.1)
    job.line, job.contribution = line, (np.ones(3, "f4"), 0.5)
    value = {
        "table": [job, job], "done": Counter({3: 2}), "late": deque([1.5, np.inf], maxlen=4), "who": {1, 2}, 4: None,
        "own": SimpleNamespace(is_long=True, pair=(1, "a")), "place": {job: 7}, "model": job.params,
        "none": np.zeros((0, 2)), "number": np.float64(0.25), "frozen": frozenset({"b"}),
    }  # fmt: skip
    lines = [["another"], list(line)]
    again = read(json.loads(json.dumps(written(value, [["another"], line]))), lines)
    first, second = again.pop("table")
    assert first is second
    assert first.line is lines[1]
    assert first.params is again.pop("model")
    assert first.params.tolist() == [0.0, 1.0, 2.0]
    assert (first.contribution[0].dtype, first.contribution[1]) == (np.dtype("f4"), 0.5)
    assert again.pop("place") == {first: 7}
    assert again.pop("none").shape == (0, 2)
    assert again["late"].maxlen == 4
    assert again == {key: value[key] for key in again}
    assert type(again["done"]) is Counter


@every_case("value", [threading.Lock(), lambda: 1, np.array([None]), {"a": [object()]}, 1j])
def test_what_is_no_plain_data_is_refused(value):
    with pytest.raises(NotPlainError, match="is no plain data"):
        written({"notes": value}, [])


def test_a_generator_goes_on_where_it_was():
    rng = np.random.default_rng(3)
    rng.random(5)
    again = read(json.loads(json.dumps(written({"rng": rng}, []))), [])["rng"]
    assert again.random() == rng.random()
    with pytest.raises(NotPlainError, match="is no plain data"):
        written(np.random.Generator(np.random.MT19937(0)), [])


def test_what_contains_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(NotPlainError, match="contains itself"):
        written(value, [])


def test_the_window_of_admission_forgets_what_was_used():
    run = Run(
        protocol=protocols.admission(3, 1, window=3), problem=contract.PROBLEM, fleet=as_fleet(contract.LAWS[1], N),
        step_size=0.05, seed=3, budget=RunBudget(num_updates=200),
    )  # fmt: skip
    server = Server(run)
    drive(server)
    assert len(server.notes.places) <= 6
    assert server.notes.started > 600
