"""Timelines as tools write them: hosts with dots, collectives of every library, steps cut off, impossible durations."""

import json
import math

import numpy as np
import pytest

from abs_theory.traces import read

OWN = np.random.default_rng(0).uniform(0.8, 1.6, size=(3, 6))  # seconds of workers x steps
PERIOD = 2.0


def event(name, cat, begin, seconds, pid=77, **more):
    return {
        "ph": "X",
        "name": name,
        "cat": cat,
        "ts": 1e6 * begin,
        "dur": 1e6 * seconds,
        "pid": pid,
        "args": {},
        **more,
    }


def steps(own, collective="ncclDevKernel_AllReduce_Sum_f32", first=10):
    """A rank that computes for ``own`` seconds of each step and then waits in a collective."""
    events = []
    for i, seconds in enumerate(own):
        begin = 100 + PERIOD * i
        events += [
            event(f"ProfilerStep#{first + i}", "user_annotation", begin, PERIOD),
            event("void gemm", "kernel", begin, seconds, pid=0),
            event(collective, "kernel", begin + seconds, PERIOD - seconds, pid=0),
        ]
    return events


def write_ranks(folder, events_of_rank, names=None):
    for rank, events in enumerate(events_of_rank):
        name = f"rank{rank}.json" if names is None else names[rank]
        (folder / name).write_text(json.dumps({"schemaVersion": 1, "traceEvents": events}))
    return read(folder)


@pytest.mark.parametrize(
    "hosts",
    [
        ["gpu1.lab.example_41", "gpu1.lab.example_42", "gpu2.lab.example_43"],
        ["10.0.0.0_1000", "10.0.0.1_1001", "10.0.0.2_1002"],
    ],
)
def test_hosts_with_dots_are_told_apart(hosts, tmp_path):
    names = [f"{host}.1741988781{i}.pt.trace.json" for i, host in enumerate(hosts)]
    trace = write_ranks(tmp_path, map(steps, OWN), names)
    assert trace.workers == tuple(hosts)
    assert trace.complete.to_numpy() == pytest.approx(OWN.T)


@pytest.mark.parametrize(
    "names", [["rank0.json", "rank0.pt.trace.json"], ["h_1.17419887810.pt.trace.json", "h_1.17419887811.pt.trace.json"]]
)
def test_two_files_of_one_worker_and_step_are_named(names, tmp_path):
    with pytest.raises(ValueError, match="(?s)" + ".*".join(name.replace(".", r"\.") for name in names)):
        write_ranks(tmp_path, map(steps, OWN[:2]), names)


@pytest.mark.parametrize(
    "collective",
    [
        "void deep_ep::internode_ll::combine<3, 10>(void*)",
        "void cross_device_reduce_2stage<half, 8>(RankData*)",
        "mscclKernel_Sum_half_Simple",
        "nvshmem_reduce",
        "hccl::allreduce",
        "ccl_allreduce",
        "userbuffers_fp16_sum_inplace_gpu_rr",
        "two_shot_all_reduce_kernel",
    ],
)
def test_collectives_of_every_library_are_no_computation(collective, tmp_path):
    trace = write_ranks(tmp_path, [steps(own, collective) for own in OWN])
    assert trace.complete.to_numpy() == pytest.approx(OWN.T)


def test_a_step_that_the_end_of_the_profile_cut_off_does_not_count(tmp_path):
    stub = event("ProfilerStep#16", "user_annotation", 100 + 6 * PERIOD, 5e-5)
    trace = write_ranks(tmp_path, [[*steps(own), stub] for own in OWN])
    assert trace.rounds == 6
    assert trace.complete.to_numpy() == pytest.approx(OWN.T)


@pytest.mark.parametrize("duration", [math.nan, math.inf, -1.0])
def test_an_impossible_duration_costs_that_event_alone(duration, tmp_path):
    wrong = {**event("void gemm", "kernel", 100, 0.1, pid=0), "dur": duration}
    trace = write_ranks(tmp_path, [[wrong, *steps(own)] for own in OWN])
    assert trace.complete.to_numpy() == pytest.approx(OWN.T)
    assert any("of impossible duration left out" in sentence for sentence in trace.report)


def test_an_old_timeline_of_ray_has_a_data_set_for_each_function(tmp_path):
    events = []
    for worker, own in enumerate(OWN):
        for i, seconds in enumerate(own):
            for name, begin, length in (("train_step", PERIOD * i, seconds), ("heartbeat", PERIOD * i + 1.8, 0.001)):
                where = {"pid": "10.0.0.1", "tid": f"worker:{worker}"}
                events.append(event("task:execute", "task:execute", begin, length, **where))
                events.append({**event(name, "task", begin, length, **where), "args": {"name": name}})
    path = tmp_path / "timeline.json"
    path.write_text(json.dumps(events))
    with pytest.raises(ValueError, match=r"choose one data set with dataset=.*heartbeat, train_step"):
        read(path)
    trace = read(path, dataset="train_step")
    assert trace.workers == tuple(f"10.0.0.1 worker:{worker}" for worker in range(3))
    assert trace.complete.to_numpy() == pytest.approx(OWN.T)
