"""Dates of a wall clock that was changed for summer time, and times that are too coarse."""

import numpy as np
import pandas as pd
import pytest

from abs_theory.traces import from_frame

TRUE = np.round(np.random.default_rng(0).lognormal(0, 0.5, (60, 4)) + 0.3, 4)
ROUND, WORKER = np.indices(TRUE.shape).reshape(2, -1)
START = np.concatenate([[0.0], TRUE.max(axis=1).cumsum()[:-1]])[ROUND]


def frame(first, form="%Y-%m-%d %H:%M:%S.%f"):
    """Attempts of 60 rounds from the instant ``first`` on, by a clock on a wall in Berlin."""

    def written(seconds):
        instants = pd.Timestamp(first, tz="UTC") + pd.to_timedelta(seconds, unit="s")
        return instants.tz_convert("Europe/Berlin").strftime(form)

    columns = {"round": ROUND, "worker": WORKER, "start": written(START), "end": written(START + TRUE.ravel())}
    return pd.DataFrame(columns)


SPRING, AUTUMN = "2025-03-30 00:59:00", "2025-10-26 00:59:00"


@pytest.mark.parametrize(("first", "words"), [(SPRING, "an hour more"), (AUTUMN, "an hour less")])
def test_an_hour_of_summer_time_is_no_delay(first, words):
    """In spring E[T_(k)] was 12 times too long, in autumn a round was left out."""
    trace = from_frame(frame(first), warmup=0)
    assert trace.deliveries["seconds"].to_numpy() == pytest.approx(TRUE.ravel(), abs=2e-6)
    (told,) = (line for line in trace.report if "summer time" in line)
    assert f"at one moment would last {words} than all others" in told
    assert trace.doubts == ()


@pytest.mark.parametrize("first", [SPRING, AUTUMN])
def test_dates_with_a_zone_need_no_correction(first):
    trace = from_frame(frame(first, "%Y-%m-%d %H:%M:%S.%f%z"), warmup=0)
    assert trace.deliveries["seconds"].to_numpy() == pytest.approx(TRUE.ravel(), abs=2e-6)
    assert not any("summer time" in line for line in trace.report)


def test_hours_at_several_moments_are_stalls():
    """And so are those of a clock that counts seconds."""
    stalled = frame("2025-06-01 12:00:00")
    ends = pd.to_datetime(stalled["end"])
    ends[[10, 200]] += pd.Timedelta(hours=1)
    trace = from_frame(stalled.assign(end=ends.astype(str)), warmup=0)
    assert trace.deliveries["seconds"].nlargest(2).min() > 3600
    end = START + TRUE.ravel() + 3600 * (np.arange(TRUE.size) == 100)
    seconds = pd.DataFrame({"round": ROUND, "worker": WORKER, "start": START, "end": end})
    assert from_frame(seconds, warmup=0).deliveries["seconds"].max() > 3600


def test_times_that_are_too_coarse_are_called_so():
    coarse = frame(SPRING, "%Y-%m-%d %H:%M:%S")
    with pytest.raises(
        ValueError, match=r"an end that is not after the start \(are the times too coarse\?\), such as 20"
    ):
        from_frame(coarse)
