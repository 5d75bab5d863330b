"""A live run goes on from its last checkpoint: the model and the books are whole, and nothing is counted twice."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from all_protocols import CASES, N
from cases import every_case

from simulations import contract
from simulations.fleets import as_fleet
from simulations.live import training
from simulations.live.checkpoint import Checkpoints, Kept
from simulations.live.messages import packed_stream
from simulations.live.report import events
from simulations.live.training import LiveSettings, train
from simulations.server import Run, RunBudget, run_replicate
from simulations.streams import streams

FAST = LiveSettings(time_scale=0.0005, grace=60.0)
UPDATES, INTERRUPTED_AT = 30, 12


class Interrupted(Checkpoints):
    """Ctrl-C right after a checkpoint."""

    def keep(self, replicate, server, evaluations, engine):
        if server.updates == INTERRUPTED_AT:
            super().keep(replicate, server, evaluations, engine)
            raise KeyboardInterrupt


def a_run(protocol):
    return Run(
        protocol=protocol, problem=contract.PROBLEM, fleet=as_fleet(contract.LAWS[1], N), step_size=0.05, seed=3,
        budget=RunBudget(num_updates=UPDATES, eval_every=1.0), keep_tasks=True,
    )  # fmt: skip


def interrupted(run, crew, folder):
    """What is kept of a run that is interrupted."""
    folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        train(run, [0], FAST, crew, Interrupted(folder, "a run", 0.0))
    kept = Checkpoints(folder, "a run", 0.0).load(0)
    assert isinstance(kept, Kept)
    assert kept.state.updates == INTERRUPTED_AT
    return kept


@every_case("name", ["abs_sgd, both moving", "k_batch_async", "mindflayer", "ringleader", "admission, window"])
def test_a_run_goes_on_after_an_interruption(name, crew, tmp_path):
    run = a_run(CASES[name].protocol)
    folder = tmp_path / name
    kept = interrupted(run, crew, folder)
    whole = train(run, [0], FAST, crew, Checkpoints(folder, "a run", 1e6))
    rounds, tasks = whole.rounds, whole.tasks
    assert rounds["update"].tolist() == list(range(1, UPDATES + 1))
    alone, _ = run_replicate(run, 0)
    before, columns = slice(0, INTERRUPTED_AT), list(rounds.columns[: rounds.columns.get_loc("loss")])
    assert rounds[before][columns].equals(alone[before][columns])
    contract.work_is_conserved(rounds, tasks, N)
    contract.workers_do_one_thing_at_a_time(tasks)
    contract.no_gradient_is_forgotten(rounds, tasks, N)
    contract.messages_are_counted(rounds, tasks, comes_back=True)
    contract.staleness_is_bounded(rounds)
    assert whole.measured[0].resumed == [f"t={kept.state.time:.4g} s, after {INTERRUPTED_AT} updates"]


@every_case("name", ["abs_sgd", "ssp"])
def test_mini_batches_go_on_where_those_of_applied_gradients_end(name, crew, tmp_path):
    run = a_run(CASES[name].protocol)
    kept = interrupted(run, crew, tmp_path / name)
    problem, rngs = contract.PROBLEM, streams(run.seed, 0, "batch", N)
    for worker, *_, outcome in kept.state.tasks:
        if outcome == "applied":
            problem.gradients(problem.initial[None], [worker], [rngs[worker]])
    assert kept.streams == [packed_stream(rng) for rng in rngs]


def test_gradients_that_a_protocol_keeps_survive_an_interruption(crew, tmp_path):
    kept = interrupted(a_run(CASES["ringleader"].protocol), crew, tmp_path / "run")
    table = kept.state.remembered.notes.table
    assert table
    assert all(job.contribution[0].shape == (3,) for job in table)


def test_a_protocol_that_remembers_what_is_no_plain_data_starts_afresh_and_the_report_says_so(crew, tmp_path):
    plain = CASES["ssp"].protocol
    run = a_run(replace(plain, notes=lambda: SimpleNamespace(**vars(plain.notes()), lock=threading.Lock())))
    kept = interrupted(run, crew, tmp_path / "run")
    assert kept.state.remembered is None
    whole = train(run, [0], FAST, crew, Checkpoints(tmp_path / "run", "a run", 1e6))
    contract.work_is_conserved(whole.rounds, whole.tasks, N)
    _, line, _ = events([4], whole.measured)
    assert "Replicate 4 was interrupted, and went on from a checkpoint at t=" in line
    assert line.endswith(
        f"after {INTERRUPTED_AT} updates; protocol and policies started afresh: lock is no plain data."
    )


def test_what_has_ended_is_not_done_again(crew, tmp_path, monkeypatch):
    run = a_run(CASES["abs_sgd"].protocol)
    once = train(run, [0, 1], FAST, crew, Checkpoints(tmp_path, "a run", 0.0))
    monkeypatch.setattr(training, "Processes", None)  # no worker is started
    again = train(run, [0, 1], FAST, None, Checkpoints(tmp_path, "a run", 0.0))
    assert again.rounds.equals(once.rounds)
    assert again.tasks.equals(once.tasks)
    assert again.measured == once.measured


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_refused(crew, tmp_path):
    train(a_run(CASES["abs_sgd"].protocol), [0], FAST, crew, Checkpoints(tmp_path, "a run", 0.0))
    with pytest.raises(ValueError, match="must belong to this run"):
        Checkpoints(tmp_path, "another run", 0.0).load(0)
    path = tmp_path / "replicate-0.kept"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="and be whole"):
        Checkpoints(tmp_path, "a run", 0.0).load(0)
