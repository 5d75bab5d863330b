"""Workers that join, leave or are drawn anew in each round: which rounds a plan uses, and its number of workers."""

import numpy as np
import pandas as pd
import pytest
import synthetic_traces

from abs_theory import order_stats, traces
from abs_theory.delays import LogNormal
from abs_theory.plan import plan


@pytest.mark.parametrize("joins", [True, False])
def test_rounds_before_a_worker_joins_or_after_it_left_are_not_those_of_all(joins):
    """A round of 5 workers waits longer for its 5th arrival than one of 6, so k = 6 seemed as good as 5."""
    seconds = LogNormal(1.0, 0.5).sample(np.random.default_rng(2), (400, 6)) + 0.3
    frame = synthetic_traces.frame(seconds)
    there = (frame["round"] >= 200) == joins
    answer = plan(traces.from_frame(frame[there | (frame["worker"] != 3)], warmup=0))
    whole = np.sort(seconds[200:] if joins else seconds[:200], axis=1).mean(axis=0)
    assert answer.curve["mean"].to_numpy() == pytest.approx(whole, rel=1e-12)
    assert (answer.n, answer.k) == (6, 5)
    assert "200 rounds with fewer than 6 workers left out of E[T_(k)] and the decision" in answer.report
    if joins:
        assert answer.doubts == ()
    else:
        assert answer.doubts == (
            "5 workers took part in the last 200 rounds, and the plan is for 6; if it stays so, plan from these rounds "
            "only: --since 200",
        )
        assert plan(traces.from_frame(frame[there | (frame["worker"] != 3)], warmup=0), n=6).doubts == ()


def test_a_plan_is_for_as_many_workers_as_most_rounds_have():
    """A worker that leaves after 10 of 400 rounds is not planned for; its rounds count without it."""
    seconds = LogNormal(1.0, 0.5).sample(np.random.default_rng(2), (400, 6)) + 0.3
    frame = synthetic_traces.frame(seconds)
    answer = plan(traces.from_frame(frame[(frame["round"] < 10) | (frame["worker"] != 3)], warmup=0))
    assert answer.n == 5
    assert answer.curve["mean"].to_numpy() == pytest.approx(np.sort(np.delete(seconds, 3, 1), axis=1).mean(axis=0))


def test_clients_drawn_in_other_numbers_in_each_round_are_planned_for_as_many_as_usual():
    """About 10 of 100 clients take part in a round; the plan is for 10, and E[T_(k)] is that of 10."""
    rng = np.random.default_rng(5)
    rows = [
        (t, w, LogNormal(1.0, 0.5).sample(rng, ()) + 0.3)
        for t in range(400)
        for w in rng.permutation(100)[: max(rng.poisson(10), 1)]
    ]
    answer = plan(traces.from_frame(pd.DataFrame(rows, columns=["round", "worker", "seconds"]), warmup=0))
    assert answer.n == 10
    exact = order_stats.means(LogNormal(1.0, 0.5), 10) + 0.3
    assert answer.curve["mean"].to_numpy() == pytest.approx(exact, rel=0.04)
