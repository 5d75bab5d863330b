"""The table of a sweep counts misses, and is made of the numbers of the runs."""

import math

import numpy as np
import pandas as pd
import pytest

from simulations import summary
from simulations.record import median, to_target
from simulations.summary.cell_results import _short as short_name
from simulations.summary.cell_results import cells_of, interval_name
from simulations.sweeps import Sweep, run_sweep

BASE = {
    "n": 4, "delay": "hyper-exponential:probs=.9|.1,means=1/3|7", "step_size": 0.1, "time_budget": 20.0,
    "eval_every": 1.0, "replicates": 5, "seed": 0, "protocol": {"name": "k_async", "k": 2},
    "problem": {"name": "NoisyQuadratic", "curvatures": [1.0], "sigma2": 0.1},
}  # fmt: skip
OVER = {
    "protocol": [{"name": "synchronous"}, {"name": "k_async", "k": 2}, {"name": "abs_sgd", "k": 2, "max_staleness": 0}]
}


@pytest.fixture(scope="module")
def sweep():
    return Sweep(BASE, OVER)


@pytest.fixture(scope="module")
def outcome(sweep):
    return run_sweep(sweep, n_jobs=1)


def test_times_are_medians_over_all_runs_with_their_misses(sweep, outcome):
    target = ("loss", 0.02)
    table = summary.results(sweep, outcome, target)
    for number, row in enumerate(table.to_dict("records")):
        runs = outcome.table[outcome.table["cell"] == number]
        reached = to_target(runs, *target, time_budget=20.0, replicates=5)
        estimate = median(reached["time"], reached["reached"])
        assert (row["time"], row["time_low"], row["time_high"], row["reached"]) == estimate[:4]
        assert row["loss"] == sorted(runs.groupby("replicate")["loss"].last())[2]
        assert row["restarts"] == pytest.approx(runs["restarts"].mean())
    assert table["reached"].min() < 5
    assert table["unused"][0] == 0.0 < table["unused"][2] < 1.0


def test_a_target_is_that_of_the_configuration_or_one_that_every_cell_reaches(sweep, outcome):
    (column, level), _ = summary.target_of(sweep, outcome)
    medians = [sorted(runs.groupby("replicate")["loss"].last())[2] for _, runs in outcome.table.groupby("cell")]
    assert column == "loss"
    assert max(medians) <= level <= 1.01 * max(medians)
    assert (summary.results(sweep, outcome, (column, level))["reached"] >= 3).all()
    with_target = Sweep(BASE | {"target": ["loss", 0.1], "replicates": 1}, OVER)
    found = summary.target_of(with_target, run_sweep(with_target, n_jobs=1))
    assert found == (("loss", 0.1), summary.CONFIGURED)


def test_a_cell_without_finished_runs_has_no_times():
    """It had a range of times, to never, and made the interval of all cells one of fewer than 6 runs."""
    sweep = Sweep(BASE | {"replicates": 6}, {"protocol.k": [2, 5]})  # 5 of 4 workers
    table = summary.results(sweep, run_sweep(sweep, n_jobs=1), ("loss", 0.1))
    assert table["finished"].tolist() == [6, 0]
    assert table.loc[1, ["time", "update", "communication", "time_low", "time_high"]].isna().all()
    shown = summary.shown_results(table, ("loss", 0.1))
    assert shown.loc[1, ["reached", "seconds", "95 % interval", "rounds", "messages"]].tolist() == ["0 of 0", *[""] * 4]


@pytest.mark.parametrize(
    "value, short",
    [
        ("exponential:mean=1", "exponential"),
        ("hyper-exponential:probs=.9|.1,means=1/3|7", "hyper-exponential"),
        ("k_sync(k=2)", "k_sync(k=2)"),
        ("abs_sgd(k=time_optimal(delay=exponential:mean=1))", "abs_sgd(...)"),
        ("mine:coin(k=mine:half(lo=1, hi=4), p=0.0)", "coin(...)"),
        ("my.own:age(k=2)", "age(k=2)"),
        ("mine:logreg", "logreg"),
    ],
)
def test_names_in_pictures_are_those_of_what_is_named(value, short):
    """Two protocols of one module of the user had the same name, that of the module."""
    assert short_name("key", value) == short


def test_a_run_without_an_update_is_a_miss_and_a_diverged_run_is_one():
    sweep = Sweep(BASE | {"time_budget": 0.2}, {"protocol.k": [1, 4]})
    outcome = run_sweep(sweep, n_jobs=1)
    table = summary.results(sweep, outcome, ("loss", 0.1))
    assert table["finished"].tolist() == [5, 5]
    assert table["reached"][1] == 0
    assert math.isinf(table["time"][1])
    assert "0 of 5" in summary.results_text(table, ("loss", 0.1), "")
    wild = Sweep(BASE | {"step_size": 1e30})
    outcome = run_sweep(wild, n_jobs=1)
    table = summary.results(wild, outcome, ("loss", 0.1))
    assert table[["diverged", "reached", "finished"]].to_numpy().tolist() == [[5, 0, 5]]
    assert math.isinf(table["loss"][0])
    assert "diverged" in summary.results_text(table, ("loss", 0.1), "")


def test_the_unused_share_is_that_of_the_tasks():
    sweep = Sweep(BASE | {"jobs": True, "replicates": 2, "protocol": {"name": "abs_sgd", "k": 2, "max_staleness": 0}})
    outcome = run_sweep(sweep, n_jobs=1)
    tasks = outcome.tasks
    seconds = (tasks["end"] - tasks["start"]).groupby(tasks["outcome"]).sum()
    share = summary.results(sweep, outcome)["unused"][0]
    assert share == pytest.approx(seconds["restarted"] / seconds.sum(), rel=0.02)


def test_cells_have_names_short_enough_for_a_picture(sweep, outcome):
    cells = list(cells_of(sweep, outcome))
    assert [cell.short for cell in cells] == ["0: synchronous()", "1: k_async(k=2)", "2: abs_sgd(...)"]
    assert cells[2].name == "protocol=abs_sgd(k=2, max_staleness=0)"
    assert np.all([len(cell.finished) == 5 for cell in cells])


# ---------------------------------------------------------------------- notices
def notices(**changes):
    sweep = Sweep(BASE | changes)
    outcome = run_sweep(sweep, n_jobs=1)
    return summary.notices(sweep, outcome, summary.target_of(sweep, outcome)[0])


def test_no_notice_where_all_is_well():
    assert notices() == []


@pytest.mark.parametrize(
    "words, changes",
    {
        "5 of 5 runs diverged": {"step_size": 1e30},
        "in 5 of 5 runs the loss rose": {"step_size": 50.0, "time_budget": 5.0},
        "% of the computing was not used": {"protocol": {"name": "k_sync", "k": 1}},
        "no gradient of worker 3 was applied": {
            "delay": [*["exponential:mean=1"] * 3, "exponential:mean=1e9"], "protocol": {"name": "k_sync", "k": 2},
        },
        "5 of 5 runs did not reach loss <= 1e-09": {"target": ["loss", 1e-9]},
    }.items(),
)  # fmt: skip
def test_what_is_likely_to_disappoint_is_said(words, changes):
    assert sum(words in line for line in notices(**changes)) == 1


def test_a_notice_names_only_what_the_protocol_can_be_told():
    def told(protocol, **changes):
        return next(line.partition(": ")[2] for line in notices(protocol=protocol, **changes))

    unused, wild = {"eval_every": 30.0}, {"step_size": 1e30, "time_budget": 5.0}
    restarts = "workers restart; where stalls are rare and long this saves time"
    assert told({"name": "k_sync", "k": 1}, **unused).endswith(f"not used: {restarts}, else raise k")
    assert told({"name": "abs_sgd", "k": 1, "max_staleness": 0}, **unused).endswith(
        f"{restarts}, else raise max_staleness"
    )
    assert told({"name": "ringmaster", "threshold": 1}, **unused).endswith(f"{restarts}, else raise threshold")
    assert told({"name": "rennala", "batch": 1}, **unused).endswith("not used: gradients are discarded; raise batch")
    diverged = "5 of 5 runs diverged: lower step_size"
    assert told("asynchronous", **wild) == diverged
    assert told({"name": "k_async", "k": 2}, **wild) == f"{diverged}, or raise k"
    assert told({"name": "ringmaster", "threshold": 3}, **wild) == f"{diverged}, or lower threshold"
    assert told({"name": "fedbuff", "buffer": 2}, **wild) == f"{diverged}, or raise buffer"


def test_the_ends_of_an_interval_are_called_what_they_are():
    names = {(1, 1): "range of 1 run", (3, 3): "range of 3 runs", (6, 9): "95 % interval",
             (2, 4): "range of fewer than 6 runs", (5, 6): "95 % interval, or range of fewer than 6 runs"}  # fmt: skip
    for finished, name in names.items():
        assert interval_name(pd.DataFrame({"finished": finished})) == name


@pytest.mark.parametrize("runs", [1, 2, 3, 4, 5])
def test_the_interval_of_few_runs_is_their_range(runs):
    values = pd.Series(np.random.default_rng(runs).permutation(runs) + 1.0)
    assert median(values, pd.Series([True] * runs))[1:3] == (1.0, runs)


def test_a_worker_is_heard_of_once_the_server_waits_for_it():
    slow = {"delay": [*["exponential:mean=1"] * 3, "exponential:mean=3"]}
    assert not [line for line in notices(**slow) if "no gradient" in line]
