"""A timeline shows every task with its outcome, every gap between tasks, and every update."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from abs_theory.delays import Deterministic, Exponential, HyperExponential
from simulations import plot, protocols
from simulations.experiment import simulate
from simulations.fleets import Absences, as_fleet
from simulations.plot.timelines import spans
from simulations.problems import TimingOnly
from simulations.sweeps import Sweep, run_sweep

STALLS = HyperExponential(probs=(0.9, 0.1), means=(0.6, 4.6))
OPTIONS = {"step_size": 1.0, "num_updates": 30, "seed": 0, "jobs": True, "n_jobs": 1}


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    pyplot.close("all")


def bars_of(ax):
    return sorted((round(bar.get_y() + bar.get_height() / 2), bar.get_x(), bar.get_width()) for bar in ax.patches)


def updates_of(ax):
    return [line.get_xdata()[0] for line in ax.lines]


def test_a_timeline_drawn_by_hand():
    # worker 0 takes 1 s, worker 1 takes 3 s; the server waits for one and never restarts anybody
    laws = [Deterministic(1.0), Deterministic(3.0)]
    axes = plot.timeline({"K-async": protocols.k_async(1), "all": protocols.synchronous()}, laws, 2, seconds=4.0)
    first, second = axes
    assert bars_of(first)[:4] == [(0, float(t), 1.0) for t in range(4)]
    assert bars_of(first)[-2:] == [(1, 0.0, 3.0), (1, 3.0, 3.0)]
    assert updates_of(first) == [1, 2, 3, 3, 4]
    assert (0, 1.0, 2.0) in bars_of(second)  # it waits for the other
    assert updates_of(second) == [3]
    # three updates while worker 1 was at work; its own update, while worker 0 was
    assert [text.get_text() for text in first.texts][:5] == ["0", "0", "0", "1", "3"]
    assert axes[-1].get_xlabel() == "time (s)"


ALL_OUTCOMES = {
    "restarted": (protocols.abs_sgd(2, 1), STALLS),
    "discarded": (protocols.rennala(3), STALLS),
    "cut off": (protocols.mindflayer(STALLS, 5, 1, 0.8), STALLS),
    "lost": (protocols.k_async(2), Absences(as_fleet(STALLS, 5), up=3.0, down=1.0)),
}


@pytest.mark.parametrize("outcome", ALL_OUTCOMES)
def test_work_that_is_not_used_is_drawn_and_named(outcome):
    protocol, fleet = ALL_OUTCOMES[outcome]
    ax = plot.timeline(protocol, fleet, 5, seconds=20.0)[0]
    named = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert plot.OUTCOMES[outcome].label in named
    assert (plot.OUTCOMES["away"].label in named) == (outcome == "lost")
    _, tasks = simulate(
        protocol, TimingOnly(), fleet, 5, step_size=1.0, time_budget=80.0, seed=0, jobs=True, replicates=[0]
    )
    shown = tasks[tasks["start"] < 20.0]
    drawn = {(worker, round(start, 9), round(width, 9)) for worker, start, width in bars_of(ax)}
    wanted = {
        (worker, round(start, 9), round(end - start, 9))
        for worker, start, end in shown[["worker", "start", "end"]].itertuples(index=False)
    }
    assert wanted <= drawn


def test_bars_and_gaps_fill_the_time_of_every_worker_without_overlap():
    for protocol, fleet in ALL_OUTCOMES.values():
        _, tasks = simulate(protocol, TimingOnly(), fleet, 5, **OPTIONS)
        rows = spans(tasks).sort_values(["worker", "start", "end"])
        for _, own in rows.groupby("worker"):
            assert np.allclose(own["end"].to_numpy()[:-1], own["start"].to_numpy()[1:])


def test_recorded_tasks_of_runs_and_of_sweeps_are_drawn_under_their_names():
    result = simulate(protocols.abs_sgd(2, 1), TimingOnly(), STALLS, 5, **OPTIONS | {"replicates": 2})
    for thing in (result, result[1], {"mine": result}):
        assert len(plot.timeline(thing, replicate=1)[0].patches) > 10
    base = {
        "n": 3, "delay": "exponential:mean=1", "problem": "TimingOnly", "protocol": {"name": "k_sync", "k": 1},
        "step_size": 1.0, "num_updates": 9, "seed": 0, "jobs": True,
    }  # fmt: skip
    outcome = run_sweep(Sweep(base, {"protocol.k": [1, 3]}), n_jobs=1)
    assert [ax.get_title() for ax in plot.timeline(outcome)] == ["k=1", "k=3"]


def test_updates_are_found_from_tasks_alone():
    rounds, tasks = simulate(protocols.abs_sgd(2, 1), TimingOnly(), STALLS, 5, **OPTIONS)
    ax = plot.timeline(tasks, seconds=5.0)[0]
    assert updates_of(ax) == rounds["time"][rounds["time"] <= 5.0].tolist()


def test_panels_can_be_given():
    figure = Figure()
    ax = figure.subplots()
    assert plot.timeline(protocols.synchronous(), Exponential(1.0), 3, axes=[ax]) == [ax]


def test_what_cannot_be_drawn_is_refused_in_words():
    rounds, tasks = simulate(protocols.k_sync(1), TimingOnly(), STALLS, 3, **OPTIONS)
    with pytest.raises(ValueError, match="jobs=True"):
        plot.timeline(rounds)
    with pytest.raises(ValueError, match="no replicate 7"):
        plot.timeline((rounds, tasks), replicate=7)
    with pytest.raises(ValueError, match="give delay"):
        plot.timeline(protocols.k_sync(1))
    with pytest.raises(ValueError, match=r"shown must be a protocol, several as .*, got a list"):
        plot.timeline([protocols.k_sync(2)], Exponential(1.0), 4)
    with pytest.raises(ValueError, match="at least one"):
        plot.timeline({})
    with pytest.raises(ValueError, match="seconds must"):
        plot.timeline(protocols.k_sync(1), STALLS, 3, seconds=-1.0)
    with pytest.raises(ValueError, match="must be a table"):
        plot.compare(pd.DataFrame({"a": [1]}))


@pytest.mark.parametrize("n", [1, 2, 5, 6, 12])
def test_workers_count_from_0_and_few_are_all_labelled(n):
    ax = plot.timeline(protocols.asynchronous(), STALLS, n, seconds=10.0)[0]
    ax.figure.draw_without_rendering()
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == [str(worker) for worker in range(n)]
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))


def test_of_many_workers_some_are_labelled_and_numbers_cover_the_lines_of_updates():
    ax = plot.timeline(protocols.asynchronous(), STALLS, 20, seconds=10.0)[0]
    ticks = [tick for tick in ax.get_yticks() if 0 <= tick < 20]
    assert 0 in ticks
    assert 4 <= len(ticks) <= 12
    assert all(text.get_path_effects() for text in ax.texts)
    assert ax.texts[0].get_zorder() > ax.lines[0].get_zorder()
