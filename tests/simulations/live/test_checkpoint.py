"""A live run goes on from its last checkpoint: the model and the books are whole, and nothing is counted twice."""

import pytest
from all_protocols import CASES, N
from cases import every_case

from simulations import contract
from simulations.fleets import as_fleet
from simulations.live import training
from simulations.live.checkpoint import Checkpoints, Kept
from simulations.live.training import LiveSettings, train
from simulations.server import Run, RunBudget

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


@every_case("name", ["abs_sgd, both moving", "k_batch_async", "mindflayer"])
def test_a_run_goes_on_after_an_interruption(name, crew, tmp_path):
    run = a_run(CASES[name].protocol)
    folder = tmp_path / name
    folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        train(run, [0], FAST, crew, Interrupted(folder, "a run", 0.0))
    kept = Checkpoints(folder, "a run", 0.0).load(0)
    assert isinstance(kept, Kept)
    assert kept.state.updates == INTERRUPTED_AT
    whole = train(run, [0], FAST, crew, Checkpoints(folder, "a run", 1e6))
    rounds, tasks = whole.rounds, whole.tasks
    assert rounds["update"].tolist() == list(range(1, UPDATES + 1))
    alone = train(run, [0], FAST, crew)
    before = slice(0, INTERRUPTED_AT)
    assert (
        rounds[before]
        .drop(columns=["loss", "gradient_norm2"])
        .equals(alone.rounds[before].drop(columns=["loss", "gradient_norm2"]))
    )
    contract.work_is_conserved(rounds, tasks, N)
    contract.workers_do_one_thing_at_a_time(tasks)
    contract.messages_are_counted(rounds, tasks, comes_back=True)
    contract.staleness_is_bounded(rounds)


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
