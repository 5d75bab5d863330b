"""Traces: what comes out of good rows."""

import numpy as np
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
