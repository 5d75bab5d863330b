"""The stated 95 % intervals of E[T_(k)] hold the truth, or are not given, in every regime."""

import numpy as np
import pytest
from scipy import stats

from abs_theory.plan import intervals
from benchmarks import coverage as benchmark
from benchmarks.regimes import REGIMES


def coverage(regime, repetitions, seed=0):
    """How often each k was identified, and how often its interval held the truth."""
    counts = benchmark.coverage(REGIMES[regime], repetitions=repetitions, seed=seed)
    return counts["identified"].to_numpy(), counts["hold"].to_numpy()


def check(regime, repetitions, monkeypatch, resamples):
    """90 to 99 % hold, within what chance allows once in 10^4 for each k; some k are identified."""
    monkeypatch.setattr(intervals, "RESAMPLES", resamples)
    identified, held = coverage(regime, repetitions)
    assert (identified >= repetitions / 2).sum() >= 2, f"identified {identified}"
    low = stats.binom.ppf(1e-4, identified, 0.90)
    high = stats.binom.isf(1e-4, identified, 0.99)
    assert np.all((low <= held) & (held <= high)), f"of {identified} identified hold {held}"


@pytest.mark.parametrize("regime", REGIMES)
def test_intervals_cover(regime, monkeypatch):
    check(regime, 20, monkeypatch, resamples=399)


@pytest.mark.slow
@pytest.mark.parametrize("regime", REGIMES)
def test_intervals_cover_in_500_repetitions(regime, monkeypatch):
    """No allowance for chance at 90 and 99 % where a k is identified in most repetitions."""
    monkeypatch.setattr(intervals, "RESAMPLES", 999)
    identified, held = coverage(regime, 500, seed=1)
    print(regime, identified, np.round(held / np.maximum(identified, 1), 3))
    often = identified >= 250
    assert often.sum() >= 2
    share = held[often] / identified[often]
    assert np.all((share >= 0.90) & (share <= 0.99)), f"of {identified} identified hold {held}"
    rarely = (identified > 0) & ~often
    assert np.all(identified[rarely] - held[rarely] <= 0.10 * 500)
