"""Curves, times to a target, staleness and trade-offs show the numbers of the runs, misses included."""

import math
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot

from abs_theory import steady_state
from abs_theory.delays import Exponential, HyperExponential
from simulations import plot, protocols
from simulations.experiment import simulate
from simulations.plot.comparison import curve
from simulations.problems import NoisyQuadratic, TimingOnly
from simulations.record import to_target, with_totals
from simulations.sweeps import Sweep, run_sweep

STALLS = HyperExponential(probs=(0.9, 0.1), means=(0.6, 4.6))
PROBLEM = NoisyQuadratic((1.0, 0.3), sigma2=0.1)
OPTIONS = {
    "step_size": 0.1, "time_budget": 30.0, "eval_every": 1.0, "replicates": 5, "seed": 0, "n_jobs": 1, "jobs": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def runs():
    methods = {"K-async": protocols.k_async(2), "ABS": protocols.abs_sgd(2, 1), "all": protocols.synchronous()}
    return {name: simulate(protocol, PROBLEM, STALLS, 6, **OPTIONS) for name, protocol in methods.items()}


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    pyplot.close("all")


@pytest.mark.parametrize("x", ["time", "update", "communication"])
def test_a_curve_is_the_median_of_the_last_values_of_the_replicates(runs, x):
    rounds = with_totals(runs["ABS"][0])
    points = curve(plot.named_runs(runs)["ABS"], x, "loss")
    evaluated = [rows.dropna(subset="loss") for _, rows in rounds.groupby("replicate")]
    assert points[x].iloc[0] == max(rows[x].iloc[0] for rows in evaluated)
    assert points[x].iloc[-1] == pytest.approx(min(rows[x].iloc[-1] for rows in evaluated))
    for row in points.iloc[[0, 57, 199]].to_dict("records"):
        last = sorted(rows["loss"][rows[x] <= row[x]].iloc[-1] for rows in evaluated)
        assert [row["loss_low"], row["loss_median"], row["loss_high"]] == [last[1], last[2], last[3]]


def test_panels_have_loss_and_metrics_against_all_three_and_the_time_to_the_target(runs):
    axes = plot.compare(runs, target=("loss", 0.2))
    assert [ax.get_xlabel() for ax in axes[:3]] == ["time (s)", "rounds (updates)", "messages"]
    assert [ax.get_ylabel() for ax in axes[::3]][:-1] == [
        name.replace("_", " ") for name in ("loss", *PROBLEM.metrics(PROBLEM.initial))
    ]
    assert axes[-3].get_xlabel() == "time to target (s)"
    assert [text.get_text() for text in axes[-3].get_yticklabels()] == list(runs)
    assert [text.get_text() for text in axes[0].figure.legends[0].get_texts()] == list(runs)
    single = plot.compare(runs["ABS"][0], "loss", "time")
    assert len(single) == 1
    assert not single[0].figure.legends


def test_misses_are_counted_and_never_dropped(runs):
    level = 0.0008
    times = to_target(runs["ABS"][0], "loss", level)
    table = plot.to_targets(runs, ("loss", level)).set_index("name")
    assert table.loc["ABS", "reached"] == times["reached"].sum() < 5
    for name in table.index[table["reached"] <= 2]:
        assert math.isinf(table.loc[name, "time"])
    axes = plot.compare(runs, "loss", "time", target=("loss", level))
    assert any(text.get_text() == "reached by 0 of 5" for text in axes[-1].texts)
    assert "all" in plot.tradeoff(runs, ("loss", level)).get_legend().get_title().get_text()


def test_a_target_that_nobody_reaches_is_said_in_lines_that_fit(runs):
    named = {f"{name}, a method of a long name": found for name, found in runs.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        legend = plot.tradeoff(named, ("loss", 1e-9)).get_legend()
    assert not legend.get_texts()
    lines = legend.get_title().get_text().splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 60


def test_the_legend_of_a_trade_off_covers_no_point(runs):
    ax = plot.tradeoff({f"{name}, a method of a long name": found for name, found in runs.items()}, ("loss", 0.2))
    ax.figure.draw_without_rendering()
    assert ax.get_legend().get_window_extent().y1 < ax.get_window_extent().y0


@pytest.mark.parametrize("step_size", [0.1, 3.0])
def test_a_logarithmic_axis_has_numbers_whatever_its_range(step_size):
    problem = NoisyQuadratic((1.0,), sigma2=0.01, start=3.0)
    run = simulate(protocols.asynchronous(), problem, STALLS, 6, **OPTIONS | {"step_size": step_size, "jobs": False})
    (ax,) = plot.compare(run, "loss", "time")
    low, high = ax.get_ylim()
    assert ax.get_yscale() == "log"
    assert (high > 1e20) == (step_size == 3.0)
    assert sum(low <= tick <= high for tick in ax.get_yticks()) >= 2


def test_the_staleness_of_a_theory_with_a_single_value_is_seen():
    ax = plot.staleness({"theory": steady_state.abs_sgd(Exponential(1.0), 4, 4, 0)})
    assert ax.lines[0].get_marker() == "_"


def test_a_diverged_run_does_not_hide_the_others():
    run = simulate(protocols.asynchronous(), PROBLEM, STALLS, 6, **OPTIONS | {"step_size": 300.0, "jobs": False})
    assert (run["loss"] == math.inf).any()
    ax = plot.compare({"large step": run}, "loss", "time")[0]
    assert np.isfinite(ax.lines[0].get_ydata()).all()


def test_staleness_is_that_of_theory(runs):
    law = Exponential(1.0)
    result = simulate(
        protocols.abs_sgd(2, 3), TimingOnly(), law, 6, step_size=1.0, num_updates=400, replicates=8, seed=1, jobs=True,
        n_jobs=1,
    )  # fmt: skip
    shares = plot.staleness_shares(result[1], after_update=50)
    theory = steady_state.abs_sgd(law, 2, 6, 3).staleness_pmf
    error = 5 * shares.std(ddof=1) / math.sqrt(8)
    assert (abs(shares.mean() - theory) <= error).all()
    ax = plot.staleness({"simulated": result, "theory": steady_state.abs_sgd(law, 2, 6, 3)})
    assert ax.get_xlim()[1] == 3.5
    with pytest.raises(ValueError, match="jobs=True"):
        plot.staleness({"mine": result[0]})


def test_a_sweep_has_a_line_for_each_cell():
    base = {
        "n": 3, "delay": "exponential:mean=1",
        "problem": {"name": "NoisyQuadratic", "curvatures": [1.0], "sigma2": 0.1},
        "protocol": {"name": "k_sync", "k": 1}, "step_size": 0.1, "time_budget": 9.0, "eval_every": 1.0, "seed": 0,
    }  # fmt: skip
    outcome = run_sweep(Sweep(base, {"protocol.k": [1, 2, 3]}), n_jobs=1)
    for result in (outcome, outcome.table):
        axes = plot.compare(result, "loss", "time")
        assert axes[0].get_legend_handles_labels()[1] == ["k=1", "k=2", "k=3"]
    assert list(plot.named_runs({"small": outcome, "single": outcome.table.drop(columns=["cell", "protocol.k"])})) == [
        "small: k=1", "small: k=2", "small: k=3", "single"
    ]  # fmt: skip
    table = outcome.table.copy()
    table.insert(2, "step_size", 0.5)
    assert next(iter(plot.named_runs(table))) == "k=1, step_size=0.5"  # whole numbers beside others stay whole


def test_what_cannot_be_drawn_is_refused_in_words(runs):
    rounds = runs["ABS"][0]
    bare = simulate(protocols.k_sync(1), PROBLEM, STALLS, 6, step_size=0.1, num_updates=9, seed=0)
    with pytest.raises(ValueError, match=r"evaluated less than twice.*eval_every"):
        plot.compare({"mine": bare})
    with pytest.raises(ValueError, match="no column 'accuracy'"):
        plot.compare(rounds, "accuracy")
    with pytest.raises(ValueError, match="must be of time"):
        plot.compare(rounds, "loss", "seconds")
    with pytest.raises(ValueError, match="must be two of"):
        plot.tradeoff(rounds, ("loss", 1.0), "seconds")
    with pytest.raises(ValueError, match="no column 'accuracy'"):
        plot.tradeoff(rounds, ("accuracy", 1.0))
    with pytest.raises(ValueError, match="at least one run"):
        plot.compare({})
    with pytest.raises(ValueError, match="made no update"):
        plot.compare(pd.DataFrame(columns=rounds.columns))


def test_matplotlib_is_loaded_only_when_something_is_drawn():
    code = (
        "import sys; from simulations import plot, summary; plot.compare, plot.timeline, summary.write;"
        "print('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_with_the_problem_all_curves_begin_at_0_with_the_first_model():
    problem = NoisyQuadratic((1.0,), sigma2=0.1)
    options = {"step_size": 0.2, "time_budget": 20.0, "eval_every": 1.0, "replicates": 3, "seed": 0, "n_jobs": 1}
    runs = {
        name: simulate(protocol, problem, Exponential(1.0), 6, **options)
        for name, protocol in {"sync": protocols.synchronous(), "async": protocols.asynchronous()}.items()
    }
    for against in ("time", "update", "communication"):
        (ax,) = plot.compare(runs, "loss", against, problem=problem)
        starts = [tuple(line.get_xydata()[0]) for line in ax.lines]
        assert starts == [(0.0, problem.loss(problem.initial))] * 2
        (ax,) = plot.compare(runs, "loss", against)
        assert min(line.get_xdata()[0] for line in ax.lines) > 0
    (_, targets) = plot.compare(runs, "loss", "time", problem=problem, target=("loss", 0.6))
    (_, without) = plot.compare(runs, "loss", "time", target=("loss", 0.6))
    assert [list(line.get_xdata()) for line in targets.lines] == [list(line.get_xdata()) for line in without.lines]
    pyplot.close("all")
