"""Two traces compared: what changed is found, what did not is not, and intervals contain the truth."""

import json

import numpy as np
import pytest
import synthetic_traces

from abs_theory import traces
from abs_theory.plan import compare, write_comparison
from abs_theory.plan.telling.comparison import _difference


def trace(seed, slowest=1.0, factor=1.0, names=None, num=60, n=6):
    frame = synthetic_traces.unequal_workers(np.random.default_rng(seed), num=num, n=n, slowest=slowest, sigma=0.1)
    frame["seconds"] *= factor
    frame["worker"] = frame["worker"].map(dict(enumerate(names or [f"gpu-{i}" for i in range(n)])))
    return traces.from_frame(frame, warmup=0)


def test_a_slower_worker_is_named_and_nobody_else():
    found = compare(trace(0), trace(1, slowest=2.0))
    changed = [worker for worker in found.workers if worker.clear]
    assert [worker.name for worker in changed] == ["gpu-5"]
    assert changed[0].ratio[1] < 2 < changed[0].ratio[2]
    assert "Worker gpu-5: " in "\n".join(found.lines)
    assert "5 workers: no change beyond chance." in found.lines


def test_a_slower_fleet_is_no_slower_worker():
    found = compare(trace(0), trace(1, factor=1.5))
    assert not any(worker.clear for worker in found.workers)
    *times, spread = found.whole
    for difference in times:
        assert difference.ratio[1] < 1.5 < difference.ratio[2], difference
    assert not spread.clear  # it is relative


def test_a_trace_in_another_unit_is_doubted(tmp_path):
    doubt = "The delays of the two traces are about 1000 times apart: is one in another unit?"
    found = compare(trace(0), trace(1, factor=1000))
    page, data = write_comparison(found, tmp_path)
    assert found.lines[len(found.whole)].startswith(doubt)
    assert doubt in page.read_text()
    assert json.loads(data.read_text())["may_differ_in_unit"]
    assert doubt not in "".join(compare(trace(0), trace(1, factor=100)).lines)


def test_what_reading_noticed_is_told(tmp_path):
    """A worker that stops delivering stands before the workers, an unfinished last round at the end."""
    frame = synthetic_traces.unequal_workers(np.random.default_rng(1), num=40, n=6, slowest=1.0)
    silent = frame.assign(seconds=frame["seconds"].where((frame["worker"] != 2) | (frame["round"] < 10)))
    found = compare(frame, silent)
    told = "worker 2 has delivered nothing after round 9, in 30 of its 40 rounds"
    assert found.lines[len(found.whole)] == f"Doubt (after): {told}."
    assert "\n".join(found.lines).count(told) == 1
    data = json.loads(write_comparison(found, tmp_path)[1].read_text())
    assert data["doubts"] == [[], [told]]
    cut = compare(frame, frame[:-2])
    assert "Reading (after): the unfinished last round is left out." in cut.lines
    assert cut.to_dict()["differences"] == compare(frame, frame[:-6]).to_dict()["differences"]


def test_frames_are_compared_as_the_traces_in_them():
    frames = [synthetic_traces.almost_iid(np.random.default_rng(seed), num=40, n=4) for seed in (0, 1)]
    assert compare(*frames).lines == compare(*map(traces.from_frame, frames)).lines


def test_workers_of_one_trace_only_are_listed():
    found = compare(trace(0), trace(1, names=["gpu-0", "gpu-1", "gpu-2", "gpu-3", "x", "y"]))
    assert (found.gone, found.new) == (("gpu-4", "gpu-5"), ("x", "y"))
    assert "Only in the first trace: gpu-4, gpu-5." in found.lines
    assert [worker.name for worker in found.workers] == ["gpu-0", "gpu-1", "gpu-2", "gpu-3"]


def test_fewer_workers_afterwards_than_k_are_not_waited_for():
    found = compare(trace(0), trace(1, n=3))
    assert found.k is None
    assert [difference.name for difference in found.whole][1] == "Mean delay"
    with pytest.raises(ValueError, match="k"):
        compare(trace(0), trace(1, n=3), k=4)


def test_a_short_trace_has_no_intervals_and_no_numbers_that_are_none(tmp_path):
    found = compare(trace(0, num=5), trace(1, num=5))
    assert "interval not identified" in found.lines[0]
    assert "nan" not in "\n".join(found.lines)
    page, data = write_comparison(found, tmp_path)
    assert "nan" not in page.read_text()
    read = json.loads(data.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert read["differences"][0]["ratio_low"] is None
    assert read["origin"]["version"]


def test_intervals_of_a_ratio_contain_the_truth():
    """Means of 40 lognormal values with ratio 1.3, whose own intervals are those of Student."""
    rng, inside, repetitions = np.random.default_rng(2), 0, 1000
    for _ in range(repetitions):
        samples = [level * np.exp(0.2 * rng.standard_normal(40)) for level in (1.0, 1.3)]
        means = []
        for values in samples:
            stderr = values.std(ddof=1) / np.sqrt(values.size)
            means.append(values.mean() + 2.02 * stderr * np.array([0, -1, 1]))
        difference = _difference("", "", *means)
        inside += difference.ratio[1] <= 1.3 <= difference.ratio[2]
    assert 0.93 <= inside / repetitions <= 0.97
