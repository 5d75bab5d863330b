"""Files: CSV in every dress, Parquet, the profiler of PyTorch, timelines of Ray; and real traces, if there are any."""

import gzip
import json
import os
import pkgutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic_traces as synthetic
from cases import every_case

from abs_theory.traces import FORMATS, format_names, from_frame, read

FOLDER = os.environ.get("ABS_TRACES")


def good():
    return synthetic.almost_iid(np.random.default_rng(2), num=12, n=4)


def same(trace, frame=None):
    pd.testing.assert_frame_equal(trace.attempts, from_frame(good() if frame is None else frame).attempts)


# --- tables ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lineterminator": "\r"},
        {"sep": ";"},
        {"sep": "\t"},
        {"sep": ";", "decimal": ","},
        {"encoding": "utf-8-sig"},
        {"encoding": "utf-16"},
    ],
    ids=str,
)
@every_case("suffix", ["csv", "csv.gz", "txt"])
def test_long_csv_in_every_dress(options, suffix, tmp_path):
    path = tmp_path / f"trace.{suffix}"
    good().to_csv(path, index=False, **options)
    same(read(path))
    same(read(path, format="long"))


def test_parquet(tmp_path):
    path = tmp_path / "trace.parquet"
    good().to_parquet(path)
    same(read(path))
    dates = good()
    dates["start"] = pd.Timestamp("2024-03-01") + pd.to_timedelta(2 * dates["round"], "s")
    dates["end"] = dates["start"] + pd.to_timedelta(dates["seconds"], "s")
    dates.drop(columns="seconds").to_parquet(path)
    assert read(path).attempts["seconds"].to_numpy() == pytest.approx(good()["seconds"].to_numpy(), abs=1e-8)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "trace.parquet"
    good().to_parquet(path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r'a Parquet file needs pyarrow: pip install "abs-toolkit\[traces\]"'):
        read(path)


@pytest.mark.parametrize("index", ["round", "step", "", None])
def test_wide_csv(index, tmp_path):
    path = tmp_path / "wide.csv"
    wide = good().pivot(index="round", columns="worker", values="seconds")
    wide.to_csv(path, index=index is not None, index_label=index)
    trace = read(path)
    same(trace)
    assert trace.report[0].startswith("read as a table of 12 rounds x 4 workers")
    assert ("(rounds are its lines)" in trace.report[0]) == (index is None)


def test_wide_csv_with_names_gaps_and_late_workers(tmp_path):
    wide = (
        good().pivot(index="round", columns="worker", values="seconds").rename(columns=lambda worker: f"node-{worker}")
    )
    wide.iloc[5, 1] = np.nan
    wide.iloc[:4, 2] = np.nan
    wide.to_csv(tmp_path / "wide.csv")
    trace = read(tmp_path / "wide.csv")
    assert trace.workers == ("node-0", "node-1", "node-2", "node-3")
    assert "1 attempt of 44 without a row: censored at the last arrival of the round" in trace.report
    assert "1 worker joining after the first round: node-2" in trace.report
    assert trace.complete.index.tolist() == [4, 6, 7, 8, 9, 10, 11]


def test_names_of_workers_are_kept_and_numbers_sorted_by_size(tmp_path):
    frame = good().assign(worker=good()["worker"].map({0: 10, 1: 9, 2: 100, 3: 2}))
    assert from_frame(frame).workers == (2, 9, 10, 100)
    text = good().assign(worker=good()["worker"].map({0: "b", 1: "a", 2: "d", 3: "c"}))
    text.to_csv(tmp_path / "trace.csv", index=False)
    trace = read(tmp_path / "trace.csv")
    assert trace.workers == ("a", "b", "c", "d")
    assert trace.complete[1].to_numpy() == pytest.approx(good()["seconds"][0::4].to_numpy())


def test_optional_columns_come_through(tmp_path):
    frame = synthetic.k_async(np.random.default_rng(0), num_updates=30)
    frame = frame.assign(status="ok", compute_s=0.5, comm_s=0.1, unit="ms", dataset="only")
    frame.to_csv(tmp_path / "trace.csv", index=False)
    attempts = read(tmp_path / "trace.csv").attempts
    names = ["k_waited", "version_read", "version_applied", "compute_s", "comm_s", "status"]
    assert set(attempts.columns) == {"round", "worker", "seconds", "observed", "window", *names}
    assert attempts.dtypes[["round", "worker", "window"]].tolist() == [np.int64] * 3
    assert attempts.dtypes[["seconds", "observed"]].tolist() == [np.float64, bool]
    order = np.lexsort((frame["worker"], frame["round"]))
    assert attempts["seconds"].to_numpy() == pytest.approx(frame["seconds"].to_numpy()[order] / 1e3)
    assert (attempts["compute_s"] == 0.5).all()  # its name says seconds


def test_a_folder_of_tables(tmp_path):
    for worker, part in good().groupby("worker"):
        part.to_csv(tmp_path / f"worker{worker}.csv", index=False)
    (tmp_path / "notes.md").write_text("not a trace")
    trace = read(tmp_path)
    same(trace)
    assert trace.report[0] == "4 files read"
    (tmp_path / "rank0.json").write_text(json.dumps(kineto(0, [1.0])))
    with pytest.raises(ValueError, match="must hold tables or timelines, not both"):
        read(tmp_path)


def test_every_format_has_a_reader_and_is_in_the_help():
    for name, kind in FORMATS.items():
        assert callable(pkgutil.resolve_name(kind.reader))
        assert kind.suffixes
        assert name in format_names()


# --- the profiler of PyTorch ----------------------------------------------------------------------------------------


def span(name, cat, begin, length, pid=77, **arguments):
    """A complete event; ``begin`` and ``length`` in seconds."""
    return {"ph": "X", "name": name, "cat": cat, "ts": 1e6 * begin, "dur": 1e6 * length, "pid": pid, "args": arguments}


def kineto(rank, own, period=2.0, first=10, collectives=True, cat="kernel", **head):
    """Steps of ``period`` seconds in which a worker computes for ``own`` seconds and then waits in an all-reduce.

    The collective starts .2 s before the computation ends, as the gradients of the last layers are exchanged first.
    """
    events = [{"ph": "M", "name": "process_name", "pid": 77, "args": {"name": "python"}}]
    for step, seconds in enumerate(own):
        begin = period * step
        events += [
            span(f"ProfilerStep#{first + step}", "user_annotation", begin, period),
            span(f"ProfilerStep#{first + step}", "gpu_user_annotation", begin + 0.01, period, pid=0),
            span("void gemm", cat, begin, 0.7 * seconds, pid=0),
            span("void gemm", cat, begin + 0.6 * seconds, 0.4 * seconds, pid=0),
        ]
        if collectives:
            name = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"
            events.append(span(name, cat, begin + seconds - 0.2, period - seconds + 0.2, pid=0))
    events.append({"ph": "i", "name": "marker", "ts": 0.0, "pid": 77})
    return {
        "schemaVersion": 1,
        "displayTimeUnit": "ms",
        "distributedInfo": {"rank": rank},
        "traceEvents": events,
        **head,
    }


OWN = np.random.default_rng(3).uniform(0.8, 1.8, size=(3, 12))  # workers x steps


@pytest.mark.parametrize("unit", ["ms", "ns"])
def test_kineto_subtracts_the_wait_whatever_is_displayed(unit, tmp_path):
    for rank, own in enumerate(OWN):
        text = json.dumps(kineto(rank, own, displayTimeUnit=unit))
        with gzip.open(tmp_path / f"host.{1000 - rank}.pt.trace.json.gz", "wt") as file:
            file.write(text)
    trace = read(tmp_path)
    assert trace.workers == (0, 1, 2)
    assert trace.complete.index.tolist() == list(range(10, 22))
    assert trace.complete.to_numpy() == pytest.approx(OWN.T)
    assert trace.attempts["compute_s"].to_numpy() == pytest.approx(OWN.T.ravel())
    assert trace.attempts["comm_s"].to_numpy() == pytest.approx(2 - OWN.T.ravel() + 0.2)
    assert (
        "communication that no computation hides is subtracted from each step, with the wait inside it" in trace.report
    )
    assert read(tmp_path, unit="us").rounds == 12
    with pytest.raises(ValueError, match=r"a timeline is in microseconds whatever it displays, got unit='ms'"):
        read(tmp_path, unit="ms")


def test_kineto_without_kernels_of_communication_says_that_the_wait_is_inside(tmp_path):
    path = tmp_path / "rank3.json"
    path.write_text(json.dumps(kineto(None, OWN[0], collectives=False)))
    trace = read(path)
    assert trace.workers == (3,)
    assert trace.attempts["seconds"].to_numpy() == pytest.approx(2.0)
    assert "if workers synchronise within a step, the wait is in its time" in " ".join(trace.report)


def test_kineto_on_the_host_takes_gloo_for_communication(tmp_path):
    events = [span(f"ProfilerStep#{i}", "user_annotation", 2 * i, 2.0) for i in range(5)]
    events += [span("gloo:all_reduce", "cpu_op", 2 * i + 1.25, 0.75) for i in range(5)]
    (tmp_path / "gloo.json").write_text(json.dumps({"traceEvents": events}))
    trace = read(tmp_path / "gloo.json")
    assert trace.workers == ("gloo",)
    assert trace.attempts["seconds"].to_numpy() == pytest.approx(1.25)


def test_kineto_of_several_processes_in_one_file(tmp_path):
    events = [
        span(f"ProfilerStep#{i}", "user_annotation", 2 * i, 1.0 + pid, pid=pid) for i in range(5) for pid in (0, 1)
    ]
    (tmp_path / "merged.json").write_text(json.dumps(events))
    trace = read(tmp_path / "merged.json")
    assert trace.complete.mean().tolist() == pytest.approx([1.0, 2.0])
    assert "several processes in one file: communication is not subtracted, give one file per rank" in trace.report


def test_kineto_needs_steps(tmp_path):
    (tmp_path / "trace.json").write_text(json.dumps([span("aten::mm", "cpu_op", 0, 1)]))
    with pytest.raises(ValueError, match=r"no annotation ProfilerStep#N: call profiler.step\(\) once in each training"):
        read(tmp_path / "trace.json", format="kineto")


# --- timelines of Ray -----------------------------------------------------------------------------------------------


def ray_timeline(seconds):
    """Tasks as ``ray timeline`` writes them: one row of ``seconds`` per worker, on two nodes."""
    events = [
        {"ph": "M", "name": "process_name", "pid": node, "args": {"name": f"Node 10.0.0.{node}"}} for node in (0, 1)
    ]
    for worker, own in enumerate(seconds):
        node = worker % 2
        events.append(
            {"ph": "M", "name": "thread_name", "pid": node, "tid": worker, "args": {"name": f"worker:{worker:04x}"}}
        )
        for task, length in enumerate(own):
            for cat, part in [("task::Trainer.step", 1.0), ("task:execute", 0.9), ("task:store_outputs", 0.05)]:
                event = span(
                    cat, cat, 5 * task, part * length, node, func_or_class_name="Trainer.step", attempt_number=0
                )
                events.append({**event, "tid": worker, "cname": "generic_work"})
    events.append({"ph": "M", "name": "thread_name", "pid": 0, "tid": 99, "args": {"name": "driver:0001"}})
    events.append({**span("ray.get", "ray.get", 0, 100, 0), "tid": 99})
    return events


def test_ray_timeline(tmp_path):
    path = tmp_path / "timeline.json"
    path.write_text(json.dumps(ray_timeline(OWN)))
    trace = read(path)
    names = ("Node 10.0.0.0 worker:0000", "Node 10.0.0.0 worker:0002", "Node 10.0.0.1 worker:0001")
    assert trace.workers == names
    assert trace.complete.to_numpy() == pytest.approx(OWN[[0, 2, 1]].T)
    assert "rounds are the order of each worker's tasks, the timeline numbers none" in trace.report
    path.write_text(json.dumps(ray_timeline(OWN))[:-1] + ",")  # killed while writing: the format allows that
    assert read(path).complete.to_numpy() == pytest.approx(OWN[[0, 2, 1]].T)


def test_tasks_of_several_names_are_a_choice(tmp_path):
    path = tmp_path / "timeline.json"
    events = ray_timeline(OWN)
    other = [
        {**event, "args": {"func_or_class_name": "Trainer.save"}} for event in events if event["name"][:6] == "task::"
    ]
    path.write_text(json.dumps(events + other))
    with pytest.raises(
        ValueError, match=r"choose one data set with dataset=\.\.\., there are Trainer.save, Trainer.step"
    ):
        read(path)
    assert read(path, dataset="Trainer.step").complete.shape == (12, 3)


def test_any_chrome_trace_may_number_its_rounds(tmp_path):
    events = [{**span("work", "x", i, 0.5 + w, 1, step=10 * i), "tid": w} for i in range(4) for w in (0, 1)]
    (tmp_path / "chrome.json").write_text(json.dumps({"traceEvents": events}))
    trace = read(tmp_path / "chrome.json")
    assert trace.complete.index.tolist() == [0, 10, 20, 30]
    assert trace.complete.mean().tolist() == pytest.approx([0.5, 1.5])
    (tmp_path / "driver.json").write_text(json.dumps(ray_timeline(OWN[:0])))
    with pytest.raises(ValueError, match="the timeline has no tasks of workers, only of the driver"):
        read(tmp_path / "driver.json")


# --- real traces ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(FOLDER is None, reason="ABS_TRACES names no folder of real traces")
def test_real_traces():
    for path in sorted(Path(str(FOLDER)).glob("*.csv.gz")):
        frame = pd.read_csv(path)
        with pytest.raises(ValueError, match="choose one data set"):
            read(path)
        for name, part in frame.groupby("dataset"):
            trace = read(path, dataset=str(name))
            attempts = trace.attempts[trace.attempts["observed"]]
            assert trace.n == part["worker"].nunique()
            assert trace.rounds == part["round"].nunique()
            assert attempts["seconds"].sum() == pytest.approx(part["seconds"].sum())
            assert trace.attempts["window"].max() < 5
            if len(part) == trace.n * trace.rounds:
                assert len(trace.complete) == trace.rounds


# --- exports as people have them ------------------------------------------------------------------------------------


def test_records_in_json_are_a_table(tmp_path):
    rows = good().to_dict("records")
    (tmp_path / "list.json").write_text(json.dumps(rows))
    (tmp_path / "lines.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    same(read(tmp_path / "list.json"))
    same(read(tmp_path / "lines.jsonl"))
    nested = [{"round": row["round"], "at": {"worker": row["worker"], "seconds": row["seconds"]}} for row in rows]
    (tmp_path / "nested.json").write_text(json.dumps(nested))
    same(read(tmp_path / "nested.json", columns={"worker": "at/worker", "seconds": "at/seconds"}))


@pytest.mark.parametrize("orient", ["records", "columns", "split", "table"])
def test_the_json_of_pandas_is_a_table(orient, tmp_path):
    path = tmp_path / "trace.json"
    good().to_json(path, orient=orient, double_precision=15)
    assert read(path).complete.to_numpy() == pytest.approx(from_frame(good()).complete.to_numpy())


def test_spans_of_opentelemetry(tmp_path):
    """With a document in each line, as the collector writes them; spans of another name are another data set."""
    lines = []
    for row in good().to_dict("records"):
        start = 1_741_082_400_000_000_000 + 10**10 * row["round"]
        numbers = [{"key": name, "value": {"intValue": str(row[name])}} for name in ("round", "worker")]
        span = {"name": "train_step", "startTimeUnixNano": str(start), "attributes": numbers}
        span["endTimeUnixNano"] = str(start + round(1e9 * row["seconds"]))
        span["status"] = {"code": 2} if row["round"] == 3 and row["worker"] == 1 else {}
        scope = {"spans": [span, {**span, "name": "heartbeat"}]}
        lines.append(json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": [scope]}]}))
    path = tmp_path / "spans.json"
    path.write_text("\n".join(lines))
    trace = read(path, dataset="train_step")
    assert (~trace.attempts["observed"]).sum() == 1
    right = from_frame(good()).complete.drop(index=3).to_numpy()
    assert trace.complete.to_numpy() == pytest.approx(right, abs=1e-9)
    path.write_text(lines[0].replace("startTimeUnixNano", "startTime"))
    with pytest.raises(ValueError, match="the spans of OpenTelemetry are damaged"):
        read(path)


def test_columns_aligned_by_spaces(tmp_path):
    path = tmp_path / "trace.txt"
    path.write_text(good().to_string(index=False))
    assert read(path).complete.to_numpy() == pytest.approx(from_frame(good()).complete.to_numpy(), rel=1e-5)


def test_a_table_below_the_title_of_a_sheet(tmp_path):
    path = tmp_path / "trace.xlsx"
    with pd.ExcelWriter(path) as book:
        good().to_excel(book, index=False, startrow=3)
        book.sheets["Sheet1"]["A1"] = "Step times of March"
    same(read(path))


def test_a_folder_with_a_file_for_each_worker(tmp_path):
    """As TensorBoard exports them: Wall time, Step and Value, whose names tell nothing of the worker."""
    table = good().pivot(index="round", columns="worker", values="seconds")
    for worker in table:
        one = pd.DataFrame({"Wall time": 1.7e9 + table.index, "Step": table.index, "Value": table[worker]})
        one.to_csv(tmp_path / f"run-rank{worker}-tag-step_time.csv", index=False)
    trace = read(tmp_path)
    assert trace.workers[1] == "run-rank1-tag-step_time"
    assert trace.complete.to_numpy() == pytest.approx(table.to_numpy())
    (tmp_path / "run-rank0-tag-train_loss.csv").write_text((tmp_path / "run-rank0-tag-step_time.csv").read_text())
    with pytest.raises(ValueError, match=r"train_loss\.csv seems to hold a metric, not step times"):
        read(tmp_path)


def test_a_timeline_of_horovod_is_refused_by_what_it_is(tmp_path):
    path = tmp_path / "timeline.json"
    path.write_text(json.dumps([{"ph": "B", "name": "NEGOTIATE_ALLREDUCE", "ts": 1, "pid": 0}]))
    with pytest.raises(ValueError, match="a timeline of Horovod says when ranks were ready"):
        read(path)


def test_json_that_is_named_as_records_is_read_as_records(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in good().assign(ts=1.0, dur=2.0).to_dict("records")))
    same(read(path, format="json"))
    (tmp_path / "flower.json").write_text(json.dumps({"losses": [[0, 1.0]], "metrics": {}}))
    with pytest.raises(ValueError, match="JSON must be records"):
        read(tmp_path / "flower.json", format="json")
