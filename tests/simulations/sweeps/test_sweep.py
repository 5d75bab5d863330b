"""Sweeps: which cells there are, and that no failure, interruption or damaged file loses or invents a result."""

import gzip
import math
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from abs_theory.files import sealed
from simulations.experiment import Experiment
from simulations.experiment.toml import TomlTable
from simulations.record import diverged
from simulations.sweeps import execution, folder
from simulations.sweeps.execution import run_sweep, units
from simulations.sweeps.storage import Store
from simulations.sweeps.sweep import Sweep, label

BASE = {
    "n": 3,
    "delay": "weibull:scale=1,shape=.7",
    "step_size": 0.1,
    "num_updates": 4,
    "replicates": 2,
    "seed": 3,
    "protocol": {"name": "abs_sgd", "k": 2, "max_staleness": 1},
    "problem": {"name": "NoisyQuadratic", "curvatures": [1.0], "sigma2": 0.1},
}
SWEEP = Sweep(BASE, {"protocol.k": [1, 2], "delay": ["exponential:mean=1", "gamma:shape=4,scale=.25"]})


SMALL = Sweep(BASE, {"protocol.k": [1, 2]})


def csv(outcome):
    """The tables to the last bit."""
    return [None if table is None else table.to_csv() for table in outcome[:3]]


@pytest.fixture(scope="module")
def whole():
    """The outcome of ``SWEEP`` that nothing has interrupted."""
    return run_sweep(SWEEP, n_jobs=1)


@pytest.fixture(scope="module")
def small():
    return run_sweep(SMALL, n_jobs=1)


# ---------------------------------------------------------------------- which cells
def test_a_sweep_is_the_product_of_its_lists_and_cells():
    cells = [{"protocol": {"name": "synchronous"}, "step_size": 1}, {"protocol.max_staleness": 0, "label": None}]
    del cells[1]["label"]
    sweep = Sweep(BASE, {"seed": [1, 2, 3]}, cells)
    assert [cell.changed["seed"] for cell in sweep.experiments] == [1, 1, 2, 2, 3, 3]
    assert [cell.experiment.seed for cell in sweep.experiments] == [1, 1, 2, 2, 3, 3]
    first, second = (cell.experiment for cell in sweep.experiments[:2])
    assert first == Experiment.of({**BASE, "seed": 1, "protocol": {"name": "synchronous"}, "step_size": 1})
    changed = {"name": "abs_sgd", "k": 2, "max_staleness": 0}
    assert second == Experiment.of({**BASE, "seed": 1, "protocol": changed})
    assert list(sweep.experiments[1].changed) == ["seed", "protocol", "step_size", "protocol.max_staleness"]


def test_dotted_and_nested_keys_are_the_same():
    dotted = Sweep(BASE, {"protocol.k": [1, 2], "problem.sigma2": [0.0, 1.0]})
    assert Sweep(BASE, {"protocol": {"k": [1, 2]}, "problem": {"sigma2": [0.0, 1.0]}}) == dotted
    assert Sweep(Experiment.of(BASE), dotted.over).experiments == dotted.experiments


def test_two_protocols_at_each_k():
    """Whole tables are set first, what leads into them then, in the sweep or in the cells."""
    names, over = [{"name": "k_async"}, {"name": "k_sync"}], {"protocol.k": [1, 3]}
    expected = [{**name, "k": k} for k in (1, 3) for name in names]
    sweep = Sweep(BASE, over, [{"protocol": name} for name in names])
    assert [cell.experiment.protocol for cell in sweep.experiments] == [
        Experiment.of({**BASE, "protocol": each}).protocol for each in expected
    ]
    other = Sweep(BASE, {"protocol": names}, [{"protocol.k": 1}, {"protocol.k": 3}])
    short = Sweep(BASE, over, [{"protocol": "k_async"}, {"protocol": "k_sync"}])
    of_all = [{cell.experiment for cell in each.experiments} for each in (sweep, other, short)]
    assert of_all[0] == of_all[1] == of_all[2]
    assert list(sweep.experiments[0].changed.values()) == [1, {"name": "k_async", "k": 1}]


TOML = """
n = 3
delay = "exponential:mean=1"
step_size = 0.1
num_updates = 4
seed = 3
problem = { name = "NoisyQuadratic", curvatures = [1.0], sigma2 = 0.1 }
protocol = { name = "k_async", k = 2, weight = "by_staleness" }  # {
"""


@pytest.mark.parametrize(
    "text, protocols",
    [
        (
            '[sweep]\nprotocol.name = ["k_async", "k_batch_async"]\nprotocol.k = [1, 2]',
            [("k_async", 1), ("k_async", 2), ("k_batch_async", 1), ("k_batch_async", 2)],
        ),
        (
            '[sweep]\nprotocol.k = [2, 4]\n[[cell]]\nprotocol = { name = "k_sync" }\n'
            '[[cell]]\nprotocol = {name="k_async"}',
            [("k_sync", 2, None), ("k_async", 2, "uniform"), ("k_sync", 4, None), ("k_async", 4, "uniform")],
        ),
        (
            '[[cell]]\nprotocol.name = "k_batch_async"\n[[cell]]\nprotocol.k = 3\n'
            '[[cell]]\nprotocol = { name = "k_batch_async", k = 2 }\n[[cell]]\n"protocol.name" = "k_batch_sync"\n'
            "protocol.weight = []",
            "protocol.weight: k_batch_sync has no 'weight'",
        ),
        (
            '[[cell]]\nprotocol.name = "k_batch_async"\n[[cell]]\nprotocol = { name = "k_batch_async", k = 2 }\n',
            [("k_batch_async", 2), ("k_batch_async", 2, "uniform")],
        ),
        (
            '[[cell]]\n[cell.protocol] # []\nname = "k_batch_async"\nk = 1\n[[cell]]\n [ cell.protocol.k ]\n'
            'policy = "all_but"\nspare = 1\n[[cell]]\n[cell.protocol]\nname = "k_sync"\n[cell.protocol.k]\n'
            'policy = "all_but"\nspare = 1\n',
            [
                ("k_batch_async", 1, "uniform"),
                ("k_async", {"policy": "all_but", "spare": 1}),
                ("k_sync", {"policy": "all_but", "spare": 1}, None),
            ],
        ),
        ('[[cell]]\nprotocol.k = 2\n"protocol.k" = 3', r"cell\.protocol\.k is given twice"),
    ],
    ids=range(6),
)
def test_a_dotted_key_sets_one_value_and_a_table_the_whole(tmp_path, text, protocols):
    (tmp_path / "a.toml").write_text(TOML + text)
    if isinstance(protocols, str):
        with pytest.raises(ValueError, match=protocols):
            Sweep.from_toml(tmp_path / "a.toml")
        return
    sweep = Sweep.from_toml(tmp_path / "a.toml")
    found = [cell.experiment.protocol for cell in sweep.experiments]
    expected = [(name, k, *(weight or ["by_staleness"])) for name, k, *weight in protocols]
    assert [(each["name"], each["k"], each.get("weight")) for each in found] == expected
    (tmp_path / "a.toml").write_text(sweep.to_toml())
    assert Sweep.from_toml(tmp_path / "a.toml").experiments == sweep.experiments


def test_a_sweep_survives_toml(tmp_path):
    cells = [{"protocol": {"name": "k_async", "k": 2}, "step_size": 0.2}, {"protocol.k": 1}]
    for sweep in (SWEEP, Sweep(BASE), Sweep(BASE, {"seed": [1, 2]}, cells), Sweep({}, {}, [BASE])):
        (tmp_path / "a.toml").write_text(sweep.to_toml())
        assert Sweep.from_toml(tmp_path / "a.toml").experiments == sweep.experiments
    assert Sweep.from_toml(tmp_path / "a.toml") == Sweep({}, {}, [BASE])


@pytest.mark.parametrize(
    "over, cells, message",
    [
        ({"seed": 3}, (), "sweep.seed must be a list of values, got 3"),
        ({"seed": []}, (), "sweep.seed must be a list"),
        ({"sed": [1]}, (), r"sed: a run has no 'sed'; did you mean 'seed'\?.*\(cell 0: sed = 1\)"),
        ({"protocol.kk": [1]}, (), "protocol.kk: abs_sgd has no 'kk'; did you mean 'k'"),
        ({"seed": [1, "a"]}, (), r"seed must be a whole number, got 'a' \(cell 1: seed = a\)"),
        ({"seed.first": [1]}, (), "seed.first cannot be set: seed is 3, not a table"),
        ({"seed": list(range(400)), "n": list(range(400))}, (), "up to 100000 cells, got 160000"),
        ({"seed": [1], "protocol": {"k": 3}}, (), "sweep.protocol.k must be a list"),
        ({"seed": [1]}, [{"seed": 3}], r"seed is set twice, by sweep\.seed and by cell\[0\]\.seed"),
        (
            {"protocol.k": [1, 2]},
            [{"protocol": {"name": "k_sync", "k": 5}}],
            r"protocol\.k is set twice, by cell\[0\]\.protocol and by sweep\.protocol\.k.*cell 1: protocol\.k = 2, p",
        ),
        (
            {"protocol": [{"name": "k_sync", "k": 5}], "protocol.k": [1]},
            (),
            r"by sweep\.protocol and by sweep\.protocol",
        ),
        ({"seed": [1, 2, 1]}, (), r"the same experiment: leave one out \(cell 2, as cell 0: seed = 1\)"),
        ({}, [{"step_size": 0.1}, {"protocol.k": 2}], r"the same experiment: leave one out \(cell 1, as cell 0: prot"),
        (
            {"seed": ["a", "b"]},
            [{"n": 1}, {"n": 2}],
            r"got 'a' \(cell 0: seed = a, n = 1; cell 1: seed = a, n = 2\); seed .* got 'b' \(cell 2: seed = b, n",
        ),
        ({"seed": ["a"]}, [{"n": n} for n in range(1, 14)], r"; cell 9: seed = a, n = 10; and 3 more\)$"),
        ({}, [3], "cell must be a list of tables"),
        ({}, {"seed": 3}, "cell must be a list of tables"),
        ({}, [{"protocol": {"k": 1}, "protocol.k": 2}], r"cell\[0\].protocol.k is given twice"),
    ],
    ids=str,
)
def test_what_is_no_sweep_is_explained(over, cells, message):
    with pytest.raises(ValueError, match=message):
        Sweep(BASE, over, cells)


def test_values_are_labelled_in_words():
    assert (
        label(TomlTable({"name": "abs_sgd", "k": {"policy": "loss_ratio", "k0": 1}})) == "abs_sgd(k=loss_ratio(k0=1))"
    )
    assert [label(each) for each in (3, 0.5, "text", (1, 2))] == [3, 0.5, "text", "[1, 2]"]


# ---------------------------------------------------------------------- what is run
def test_the_table_is_that_of_the_experiments_one_after_the_other(whole):
    parts = []
    for number, (changed, experiment) in enumerate(SWEEP.experiments):
        table = experiment.run(n_jobs=1)
        for j, (key, value) in enumerate({"cell": number, **changed}.items()):
            table.insert(j, key, value)
        parts.append(table)
    pd.testing.assert_frame_equal(whole.table, pd.concat(parts, ignore_index=True), check_exact=True)
    assert whole.cells["finished"].tolist() == [2, 2, 2, 2]
    assert whole.cells["error"].tolist() == [""] * 4


def test_a_single_experiment_has_the_table_of_simulate(tmp_path):
    experiment = Experiment.of({**BASE, "jobs": True})
    expected = experiment.run(n_jobs=1)
    for out in (None, tmp_path, tmp_path):
        outcome = run_sweep(Sweep(experiment.as_table()), out, n_jobs=1)
        for found, table in zip(outcome[:2], expected, strict=True):
            pd.testing.assert_frame_equal(found, table, check_exact=True)


def test_two_processes_give_the_same_table_as_one(whole, tmp_path):
    assert csv(run_sweep(SWEEP, tmp_path, n_jobs=2)) == csv(whole)


def test_problems_with_other_metrics_share_a_table():
    timing = {"problem": {"name": "TimingOnly"}}
    outcome = run_sweep(Sweep(BASE, {}, [timing, {"seed": 1}]), n_jobs=1)
    assert outcome.table["gradient_norm2"].isna()[outcome.table["cell"] == 0].all()
    assert outcome.table["cell"].value_counts().tolist() == [8, 8]


def test_a_key_that_is_also_a_column_is_told_apart():
    outcome = run_sweep(Sweep(BASE, {"replicates": [1, 2]}), n_jobs=1)
    assert outcome.table.groupby("cell")["replicates"].first().tolist() == [1, 2]
    part = run_sweep(Sweep({**BASE, "replicates": 1}, {"seed": [1, 2]}), n_jobs=1)
    table = part.table.assign(seed=7)  # as if a run had such a column
    units_of = units(Sweep({**BASE, "replicates": 1}, {"seed": [1, 2]}))
    kept = {unit.key: (table[table["cell"] == unit.cell].drop(columns="cell"),) for unit in units_of}
    both = execution._outcome(Sweep({**BASE, "replicates": 1}, {"seed": [1, 2]}), units_of, kept, {}).table
    assert both["cell.seed"].unique().tolist() == [1, 2]
    assert both["seed"].unique().tolist() == [7]


def test_a_budget_too_short_for_any_update_leaves_no_row_but_is_finished(tmp_path):
    sweep = Sweep({**BASE, "num_updates": None, "time_budget": 1e-9} | {"jobs": True}, {"seed": [1, 2]})
    for _ in range(2):
        outcome = run_sweep(sweep, tmp_path, n_jobs=1)
        assert len(outcome.table) == 0
        assert {"cell", "seed", "replicate", "loss"} <= set(outcome.table)
        assert outcome.cells["finished"].tolist() == outcome.cells["no_update"].tolist() == [2, 2]
        assert set(outcome.tasks["outcome"]) == {"unfinished"}


# ---------------------------------------------------------------------- failures
FAILS = {"policy": "relative_to_mean", "c": 1.5}  # as k of 3 workers: first 3, then 0


def test_what_could_not_begin_is_told_of_all_cells_before_anything_runs(tmp_path, monkeypatch):
    computed = counting(monkeypatch)
    fleets = [{"name": "one_slow", "factor": factor} for factor in (-5, 2)]
    sweep = Sweep(BASE, {"protocol.k": [7, 8], "fleet": fleets})
    factor = r"fleet: factor must be a finite number > 0, got factor=-5\.0"
    cells = r"cell 0: protocol\.k = 7, fleet = one_slow\(factor=-5\); cell 2: protocol\.k = 8, .*"
    seven = r"protocol: k must be a whole number in 1\.\.n, got k=7 with n=3 workers \(cell 1: protocol\.k = 7, .*\)"
    message = rf"{factor} \({cells}\); {seven}; .* got k=8 .* \(cell 3: .*\)$"
    for refused in (sweep.check, lambda: run_sweep(sweep, tmp_path, n_jobs=1)):
        with pytest.raises(ValueError, match=f"^{message}"):
            refused()
    assert computed == []
    some = Sweep(BASE, {"protocol.k": [7, 8, 1], "fleet": fleets})  # one of its cells can begin
    assert "got k=7 with n=3 workers (cell 1: protocol.k = 7" in some.check()
    assert Sweep(BASE, {"protocol.k": [1, 2]}).check() == ""


def test_a_factory_that_cannot_be_called_is_told_with_its_cell_and_place(monkeypatch, tmp_path):
    own = "from simulations.server import Protocol\ndef broken() -> Protocol:\n    return 1 // 0\n"
    (tmp_path / "protocol_that_is_not_made.py").write_text(own)
    monkeypatch.syspath_prepend(tmp_path)
    names = ["synchronous", "protocol_that_is_not_made:broken"]
    with pytest.raises(ValueError, match=r"^ZeroDivisionError: .* \(.*made\.py, line 3\) \(cell 0: protocol = proto"):
        Sweep(BASE, {"protocol": [{"name": name} for name in names[1:]]}, allow=["protocol_that_is_not_made"]).check()


def test_a_failing_cell_is_reported_and_does_not_lose_the_others(tmp_path):
    sweep = Sweep(BASE, {"protocol.k": [1, FAILS, 2]})
    good = run_sweep(Sweep(BASE, {"protocol.k": [1, 2]}), n_jobs=1)
    for jobs in (1, 2):
        outcome = run_sweep(sweep, tmp_path, n_jobs=jobs)
        assert outcome.cells["finished"].tolist() == [2, 0, 2]
        assert [("gave k=0" in error) for error in outcome.cells["error"]] == [False, True, False]
        columns = list(outcome.table)[2:]  # but the number of the cell and its k, which is a number and a text
        pd.testing.assert_frame_equal(outcome.table[columns], good.table[columns], check_exact=True)


def test_whatever_a_protocol_raises_is_told_in_one_line(monkeypatch, tmp_path):
    own = (
        "from simulations.server import Protocol\n"
        "def broken() -> Protocol:\n    return Protocol(lambda server, job: 1 // 0)\n"
        "def idle() -> Protocol:\n    return Protocol(lambda server, job: server.accept(job))\n"
    )
    (tmp_path / "protocols_that_fail.py").write_text(own)
    monkeypatch.syspath_prepend(tmp_path)
    names = ["protocols_that_fail:broken", "protocols_that_fail:idle", "synchronous"]
    sweep = Sweep(BASE, {"protocol": [{"name": name} for name in names]}, allow=["protocols_that_fail"])
    outcome = run_sweep(sweep, n_jobs=1)
    broken, idle, fine = outcome.cells["error"]
    place = tmp_path / "protocols_that_fail.py"
    assert broken == f"ZeroDivisionError: integer division or modulo by zero ({place}, line 3)"
    assert "waits for more gradients than" in idle
    assert fine == ""
    assert set(outcome.table["cell"]) == {2}


def test_gradients_that_are_not_a_number_are_a_diverged_run(monkeypatch, tmp_path):
    own = (
        "import numpy as np\nfrom simulations.problems import NoisyQuadratic\n"
        "class Broken(NoisyQuadratic):\n"
        "    def gradients(self, params, workers, rngs, *rest):\n"
        "        losses, slopes = super().gradients(params, workers, rngs, *rest)\n"
        "        return losses, np.where(losses < 0.1, np.nan, slopes.T).T\n"
    )
    (tmp_path / "problem_that_fails.py").write_text(own)
    monkeypatch.syspath_prepend(tmp_path)
    base = {**BASE, "num_updates": 200, "eval_every": 2.0}
    broken = {"name": "problem_that_fails:Broken", "curvatures": [1.0], "sigma2": 0.0}
    sweep = Sweep(base, {}, [{"problem": broken}, {"seed": 3}], allow=["problem_that_fails"])
    outcome = run_sweep(sweep, n_jobs=1)
    assert outcome.cells["diverged"].tolist() == [2, 0]
    assert outcome.cells["error"].tolist() == ["", ""]
    first = outcome.table[outcome.table["cell"] == 0]
    assert diverged(first).tolist() == [True, True]
    assert first["loss"].iloc[-1] == math.inf
    assert len(first) < 400
    assert np.isfinite(first["loss"].dropna().iloc[:-1]).any()


# ---------------------------------------------------------------------- kept, resumed, never mistaken
def results(path):
    return sorted((Path(path) / "results").glob("*.result"))


def counting(monkeypatch):
    """A list of the units that are computed from now on."""
    computed, attempt = [], execution.attempt
    monkeypatch.setattr(
        execution, "attempt", lambda group: (computed.extend(unit.key for unit in group), attempt(group))[1]
    )
    return computed


def test_finished_replicates_are_not_run_again(whole, tmp_path, monkeypatch):
    computed = counting(monkeypatch)
    run_sweep(Sweep(BASE, {"protocol.k": [2], "delay": list(SWEEP.over["delay"])}), tmp_path, n_jobs=1)
    assert len(computed) == 4
    assert csv(run_sweep(SWEEP, tmp_path, n_jobs=1)) == csv(whole)
    assert len(computed) == 8 == len(results(tmp_path)) == len({unit.key for unit in units(SWEEP)})
    assert csv(run_sweep(SWEEP, tmp_path, n_jobs=1)) == csv(whole)
    assert len(computed) == 8


def test_what_a_result_depends_on_is_in_its_key(tmp_path, monkeypatch):
    keys = [unit.key for unit in units(SWEEP)]
    others = [unit.key for unit in units(Sweep(BASE, {**SWEEP.over, "step_size": [0.1, 0.2]}))]
    assert set(keys) < set(others)  # the default step size is 0.1, too
    assert len(set(others)) == 16
    monkeypatch.setattr(execution, "versions", lambda: {"numpy": "0.1"})
    assert not set(keys) & {unit.key for unit in units(SWEEP)}
    path = tmp_path / "trace.csv"
    rows = pd.DataFrame({"round": [0, 0, 0], "worker": [0, 1, 2], "seconds": [1.0, 2.0, 3.0]})
    rows.to_csv(path, index=False)
    sweep = Sweep({**BASE, "fleet": {"name": "from_trace", "trace": str(path)}})
    before = units(sweep)
    rows.assign(seconds=1.0).to_csv(path, index=False)
    assert [unit.experiment for unit in before] == [unit.experiment for unit in units(sweep)]
    assert not {unit.key for unit in before} & {unit.key for unit in units(sweep)}


@pytest.mark.parametrize("failing", ["write", "fsync", "replace", "folder"])
@pytest.mark.parametrize("problem", [KeyboardInterrupt, OSError(28, "No space left on device")], ids=["Ctrl-C", "full"])
def test_an_interruption_at_any_point_loses_nothing_that_is_finished(small, tmp_path, monkeypatch, failing, problem):
    """The second file cannot be written, at one of the steps of doing so; and so again, until all is done."""
    monkeypatch.setattr(execution, "MOST_TOGETHER", 1)
    computed, finished = counting(monkeypatch), [0]
    while finished[-1] < 4:
        with monkeypatch.context() as patch:
            _fail_in_the_second_save(patch, failing, problem)
            with suppress(KeyboardInterrupt, OSError):
                run_sweep(SMALL, tmp_path, n_jobs=1)
        assert not list((tmp_path / "results").glob(".*.unfinished"))
        finished.append(len(results(tmp_path)))
    if failing == "folder":  # the file was there already
        assert finished == [0, 2, 4]
        assert len(computed) == 4
    else:
        assert finished == [0, 1, 2, 3, 4]
        assert len(computed) == 4 + 3
    assert csv(run_sweep(SMALL, tmp_path, n_jobs=1)) == csv(small)


def test_replicates_in_step_are_kept_one_by_one_and_are_the_same(tmp_path, monkeypatch):
    """Those that miss are run together; where one fails, the others are there."""
    sweep = Sweep({**BASE, "replicates": 5}, {"protocol.k": [1, 2]})
    sizes, attempt = [], execution.attempt
    monkeypatch.setattr(execution, "attempt", lambda group: (sizes.append(len(group)), attempt(group))[1])
    outcome = run_sweep(sweep, tmp_path / "together", n_jobs=1)
    assert sizes == [5, 5]
    for path in results(tmp_path / "together")[::4]:
        path.unlink()
    assert csv(run_sweep(sweep, tmp_path / "together", n_jobs=1)) == csv(outcome)
    assert sum(sizes[2:]) == 3
    monkeypatch.setattr(execution, "MOST_TOGETHER", 1)
    assert csv(run_sweep(sweep, tmp_path / "alone", n_jobs=1)) == csv(outcome)
    together, alone = (
        {path.name: path.read_bytes() for path in results(tmp_path / name)} for name in ("together", "alone")
    )
    assert together == alone


def test_one_that_fails_among_replicates_in_step_stops_no_other(monkeypatch):
    run = Experiment.run

    def failing(experiment, n_jobs, replicates):
        if 1 in replicates:
            raise ValueError("replicate 1 is broken")
        return run(experiment, n_jobs, replicates)

    monkeypatch.setattr(Experiment, "run", failing)
    outcome = run_sweep(Sweep({**BASE, "replicates": 3}), n_jobs=1)
    assert outcome.table["replicate"].unique().tolist() == [0, 2]
    assert outcome.cells["error"].tolist() == ["replicate 1 is broken"]


def _fail_in_the_second_save(patch, step, problem):
    saves, save = [], Store.save
    patch.setattr(Store, "save", lambda store, key, tables: (saves.append(key), save(store, key, tables))[1])

    def failing(real):
        def call(*arguments):
            if len(saves) == 2:
                raise problem
            return real(*arguments)

        return call

    if step == "write":
        patch.setattr(sealed, "_digest", failing(sealed._digest))  # while the file is being written
    elif step == "folder":
        patch.setattr(sealed, "_sync_folder", failing(sealed._sync_folder))
    else:
        patch.setattr(sealed.os, step, failing(getattr(os, step)))


DAMAGE = {
    "empty": lambda content, other: b"",
    "half": lambda content, other: content[: len(content) // 2],
    "last byte missing": lambda content, other: content[:-1],
    "one bit": lambda content, other: content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
    "longer": lambda content, other: content + b"\0",
    "no head": lambda content, other: content.split(b"\n", 1)[1],
    "zeros": lambda content, other: bytes(len(content)),
    "foreign": lambda content, other: b"round,worker,seconds\n1,2,3\n",
    "of another run": lambda content, other: other,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_result_is_computed_anew_and_named(small, tmp_path, monkeypatch, damage):
    run_sweep(SMALL, tmp_path, n_jobs=1)
    path, other = results(tmp_path)[1:3]
    sound = path.read_bytes()
    path.write_bytes(DAMAGE[damage](sound, other.read_bytes()))
    computed = counting(monkeypatch)
    outcome = run_sweep(SMALL, tmp_path, n_jobs=1)
    assert outcome.damaged == (path,)
    assert computed == [path.stem]
    assert csv(outcome) == csv(small)
    assert path.read_bytes() == sound


def test_what_a_killed_process_leaves_behind_is_ignored_and_removed(small, tmp_path):
    run_sweep(SMALL, tmp_path, n_jobs=1)
    rest = tmp_path / "results" / f".{results(tmp_path)[0].name}.123.unfinished"
    rest.write_bytes(results(tmp_path)[0].read_bytes()[:50])
    results(tmp_path)[0].unlink()
    assert csv(run_sweep(SMALL, tmp_path, n_jobs=1)) == csv(small)
    assert not rest.exists()


def test_two_runs_do_not_share_a_folder(tmp_path):
    with Store(tmp_path), pytest.raises(OSError, match="another run is writing to"):
        run_sweep(SWEEP, tmp_path, n_jobs=1)
    run_sweep(SWEEP, tmp_path, n_jobs=1)  # once the first has ended


def test_one_lock_covers_configuration_runs_and_tables(small, tmp_path):
    another = Sweep({**BASE, "seed": 4}, {"protocol.k": [1, 2]})
    with Store(tmp_path) as store:
        note = folder.claim(store, SMALL)
        for write in (folder.claim, run_sweep):
            with pytest.raises(OSError, match="another run is writing to"):
                write(*((tmp_path, another) if write is folder.claim else (another, tmp_path)))
        outcome = run_sweep(SMALL, store, n_jobs=1)
        with pytest.raises(OSError, match="another run is writing to"):
            folder.claim(tmp_path, another)  # the lock is not given back by what runs within it
        folder.write_tables(store, outcome)
    assert Sweep.from_toml(note) == SMALL
    assert (tmp_path / "table.csv").read_text() == small.table.to_csv(index=False)
    with pytest.raises(ValueError, match="holds results of another configuration: seed = 3 there, 4 here"):
        folder.claim(tmp_path, another)


def test_what_a_killed_run_was_writing_is_removed(tmp_path):
    left = [tmp_path / ".table.csv.123.unfinished", tmp_path / "results" / ".abc.result.123.unfinished"]
    (tmp_path / "results").mkdir()
    for path in left:
        path.touch()
    with Store(tmp_path):
        assert not any(path.exists() for path in left)


def test_saved_tables_are_loaded_to_the_last_bit(tmp_path):
    table = pd.DataFrame(
        {
            "replicate": [1, 2], "time": [0.1, math.inf], "loss": [math.nan, -0.0], "flag": [True, False],
            "a name / with": ["ü", ""], "tiny": np.array([5e-324, 1.0]), "small": np.array([1, 2], "float32"),
        }
    )  # fmt: skip
    with Store(tmp_path) as store:
        saved = store.save("key", (table, table[:0]))
        for tables in (saved, store.load("key")):
            pd.testing.assert_frame_equal(tables[0], table, check_exact=True)
            pd.testing.assert_frame_equal(tables[1], table[:0], check_exact=True)
        assert store.load("another") is None
        assert store.damaged == []


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match=r"no backend 'jobilb'; did you mean 'joblib'\?"):
        run_sweep(SWEEP, backend="jobilb")


# ---------------------------------------------------------------------- the folder
def test_a_folder_may_grow_but_not_change(tmp_path):
    first = Sweep(BASE, {"protocol.k": [1, 2]})
    folder.claim(tmp_path, first)
    folder.claim(tmp_path, Sweep(BASE, {"protocol.k": [3]}))  # nothing is there yet
    folder.claim(tmp_path, first)
    run_sweep(first, tmp_path, n_jobs=1)
    folder.claim(tmp_path, first)
    with pytest.raises(ValueError, match=r"another configuration: step_size = 0\.1 there, 0\.2 here; give another"):
        folder.claim(tmp_path, Sweep({**BASE, "step_size": 0.2}, first.over))
    with pytest.raises(ValueError, match=r"sweep\.protocol\.k = .* there"):
        folder.claim(tmp_path, Sweep(BASE, {"protocol.k": [1, 3]}))
    with pytest.raises(ValueError, match="replicates = 2 there, 1 here"):
        folder.claim(tmp_path, Sweep({**BASE, "replicates": 1}, first.over))
    note = folder.claim(tmp_path, Sweep({**BASE, "replicates": 3}, {"protocol.k": [3, 2, 1]}))
    assert Sweep.from_toml(note).experiments[0].experiment.replicates == 3


def test_results_of_other_versions_or_of_a_damaged_note_are_refused(tmp_path, monkeypatch):
    note = folder.claim(tmp_path, SWEEP)
    run_sweep(SWEEP, tmp_path, n_jobs=1)
    note.write_text(note.read_text().replace('numpy = "', 'numpy = "0.'))
    with pytest.raises(ValueError, match=r"other versions: numpy = '0\..*' there"):
        folder.claim(tmp_path, SWEEP)
    for content in (note.read_bytes()[:70], b"\xff\xfe", b"n = "):
        note.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"holds results of a configuration that cannot be read any more: .*give another folder"
        ):
            folder.claim(tmp_path, SWEEP)
        assert len(results(tmp_path)) == 8
    with pytest.raises(ValueError, match="is a file"):
        folder.claim(note, SWEEP)


def test_large_tables_are_compressed_to_the_same_bytes(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "COMPRESSED_FROM_ROWS", len(whole.table))
    small = folder.write_tables(tmp_path, whole._replace(table=whole.table[1:]))
    assert [path.name for path in small] == ["table.csv", "cells.csv"]
    contents = set()
    for _ in range(2):
        paths = folder.write_tables(tmp_path, whole)
        assert [path.name for path in paths] == ["table.csv.gz", "cells.csv"]
        contents.add(paths[0].read_bytes())
    assert len(contents) == 1
    assert not (tmp_path / "table.csv").exists()
    assert gzip.decompress(paths[0].read_bytes()).decode() == whole.table.to_csv(index=False)
    pytest.importorskip("pyarrow")
    path = folder.write_tables(tmp_path, whole, "parquet")[0]
    pd.testing.assert_frame_equal(pd.read_parquet(path), whole.table, check_exact=True)
    assert not (tmp_path / "table.csv.gz").exists()


# ---------------------------------------------------------------------- elsewhere
def test_two_workers_of_a_ray_cluster_give_the_same_table(whole, tmp_path):
    ray = pytest.importorskip("ray")
    context = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    assert ray.cluster_resources()["CPU"] == 2
    try:
        assert csv(run_sweep(SWEEP, tmp_path, backend="ray")) == csv(whole)
        assert ray.is_initialized()  # theirs goes on
        failing = run_sweep(Sweep(BASE, {"protocol.k": [1, FAILS]}), backend="ray")
        assert failing.cells["finished"].tolist() == [2, 0]
    finally:
        ray.shutdown()
    assert context is not None
