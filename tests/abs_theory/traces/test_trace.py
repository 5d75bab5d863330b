"""Traces: what comes out of good rows, and the views on it."""

import numpy as np
import pandas as pd
import pytest
import synthetic_traces as synthetic

from abs_theory.traces import from_frame, read


@pytest.mark.parametrize("regime", synthetic.REGIMES)
def test_a_clean_trace_comes_out_as_it_went_in(regime, tmp_path):
    frame = synthetic.REGIMES[regime](np.random.default_rng(0))
    frame.to_csv(tmp_path / "trace.csv", index=False)
    for trace in (from_frame(frame), read(tmp_path / "trace.csv"), from_frame(frame.sample(frac=1, random_state=0))):
        assert trace.n == 8
        assert trace.complete.shape == (trace.rounds, 8) == (frame["round"].nunique(), 8)
        assert np.array_equal(trace.complete.to_numpy().ravel(), frame["seconds"])
        assert np.array_equal(trace.arrivals, np.sort(trace.complete, axis=1))
        assert trace.attempts["observed"].all()
        assert not trace.attempts["window"].any()
        assert trace.k_waited_max == 8
    assert not from_frame(frame).report  # nothing to mend, nothing to say


def test_a_server_that_waits_for_k_sees_later_arrivals_censored_at_the_kth():
    trace = from_frame(synthetic.almost_iid(np.random.default_rng(0)))
    censored = trace.waiting_for(3)
    assert np.array_equal(censored.arrivals, trace.arrivals[[1, 2, 3]])
    assert censored.k_waited_max == 3
    assert censored.complete.empty
    late = censored.attempts[~censored.attempts["observed"]]
    assert len(late) == 5 * trace.rounds
    assert np.array_equal(late["seconds"], np.repeat(trace.arrivals[3], 5))
    assert (censored.attempts["k_waited"] == 3).all()
    assert np.array_equal(trace.waiting_for(8).complete, trace.complete)
    with pytest.raises(ValueError, match="k must be at most the arrivals seen in every round, 3, got k=4"):
        censored.waiting_for(4)
    with pytest.raises(ValueError, match="k must be an integer >= 1, got k=0"):
        trace.waiting_for(0)


def test_a_call_that_fails_after_the_kth_arrival_is_cancelled_by_a_server_that_waits_for_k():
    """Workers 0 and 1 take 1 s and 2 s, worker 2 fails after 3 s."""
    rows = [(t, w, 1.0 + w, "failed" if w == 2 else "ok") for t in range(5) for w in range(3)]
    trace = from_frame(pd.DataFrame(rows, columns=["round", "worker", "seconds", "status"]))
    censored = trace.waiting_for(1).attempts
    assert censored["status"].tolist() == ["ok", "cancelled", "cancelled"] * 5
    assert (censored["seconds"] == 1).all()
    assert trace.attempts["status"].tolist() == ["ok", "ok", "failed"] * 5


def test_a_subset_keeps_windows_and_workers():
    frame = synthetic.unequal_workers(np.random.default_rng(0), num=60)
    frame["round"] += 1000 * (frame["round"] >= 30)
    trace = from_frame(frame)
    odd = trace.subset(range(1, 2000, 2))
    assert odd.rounds == 30
    assert odd.workers == trace.workers
    assert odd.attempts["window"].unique().tolist() == [0, 1]
    assert np.array_equal(odd.complete, trace.complete.iloc[1::2])


def test_two_deliveries_in_one_round_are_no_complete_round():
    frame = synthetic.almost_iid(np.random.default_rng(0), num=5, n=2).assign(version_read=0, version_applied=0)
    frame.loc[[1, 5], "worker"] = 0  # worker 0 twice in rounds 0 and 2, worker 1 not at all
    trace = from_frame(frame)
    assert trace.complete.index.tolist() == [1, 3, 4]
    assert (
        trace.deliveries["seconds"].tolist()
        == frame.sort_values(["round", "worker"], kind="stable")["seconds"].tolist()
    )
