"""Timelines to rows: PyTorch's profiler (Kineto), one file per rank, and Chrome traces as ``ray timeline`` writes them.

Both are JSON in Chrome's trace event format: complete events (``ph`` is X) with ``ts`` and ``dur`` in microseconds,
whatever ``displayTimeUnit`` says, which is only for the viewer.

Source: the Trace Event Format of Chrome; Kineto's ``output_json.cpp`` (annotations ``ProfilerStep#N``, kernels of
category ``kernel``, ``distributedInfo``); Ray's ``profiling.py`` (an event ``task::NAME`` around each task, ``pid`` and
``tid`` for node and worker).
"""

import gzip
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abs_theory.traces.columns import listed

__all__ = ["read_timeline"]

STEP = re.compile(r"ProfilerStep\s*#(\d+)")
RANK = re.compile(r"rank[-_ ]?(\d+)", re.IGNORECASE)
COLLECTIVES = ("gloo:", "mpi:", "ucc:")  # on the host; those of NCCL only launch a kernel there
MICRO = 1e-6

Event = dict[str, Any]
Spans = NDArray[np.float64]  # shape (count, 2): begin and end


def read_timeline(path: Path, kind: str | None) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Rows round, worker, seconds (in microseconds) and more, and what there is to report.

    ``kind`` is "kineto", "chrome", or None: kineto if there are annotations ``ProfilerStep#N``.  Raises ValueError if
    the file is not a timeline or has no events to take for attempts.
    """
    text = _text(path)
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as problem:
        document = _unclosed(text)
        if document is None:
            raise ValueError(f"the file is cut short or not JSON: {problem}") from None
    events = document.get("traceEvents") if isinstance(document, dict) else document
    if not isinstance(events, list):
        raise ValueError("a timeline must be a list of events, or hold traceEvents, as those of PyTorch and Ray do")
    spans = [event for event in events if isinstance(event, dict) and _is_span(event)]
    if not spans:
        raise ValueError(f"there are no complete events (ph X, with ts and dur) among {len(events)} events")
    steps = [event for event in spans if STEP.search(str(event.get("name")))]
    if kind == "kineto" and not steps:
        raise ValueError("there is no annotation ProfilerStep#N: call profiler.step() once in each training step")
    if kind == "chrome" or not steps:
        return _tasks(spans, [event for event in events if isinstance(event, dict) and event.get("ph") == "M"])
    info = document.get("distributedInfo") if isinstance(document, dict) else None
    rank = info.get("rank") if isinstance(info, dict) else None
    return _steps(path, spans, steps, rank)


def _text(path: Path) -> bytes:
    raw = path.read_bytes()
    return gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw


def _unclosed(text: bytes) -> Any:
    """A list of events may end without its bracket, for programs that are killed; None if it is not that."""
    if not text.lstrip().startswith(b"["):
        return None
    try:
        return json.loads(text.rstrip().rstrip(b",") + b"]")
    except (json.JSONDecodeError, RecursionError):
        return None


def _is_span(event: Event) -> bool:
    return event.get("ph", "X") == "X" and all(isinstance(event.get(key), int | float) for key in ("ts", "dur"))


def _steps(path: Path, spans: list[Event], steps: list[Event], rank: Any) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Duration of each profiler step on the host, less the communication that no other kernel hides.

    A collective ends when the last worker has joined it, so the wait for the others is inside it: with it all workers
    would look equally slow.  What runs behind computation does not prolong the step and is not subtracted.
    """
    host = [step for step in steps if not str(step.get("cat", "")).lower().startswith("gpu")] or steps
    by_process: dict[Any, list[Event]] = defaultdict(list)
    for step in host:
        by_process[step.get("pid")].append(step)
    kernels = [event for event in spans if str(event.get("cat", "")).lower() == "kernel"]
    communication = _union([*filter(_communicates, kernels), *filter(_waits_on_host, spans)])
    computation = _union([event for event in kernels if not _communicates(event)])
    either = _merged(np.concatenate([communication, computation]))
    several = len(by_process) > 1
    rows = []
    for process, own in by_process.items():
        begin = np.array([float(step["ts"]) for step in own])
        end = begin + [float(step["dur"]) for step in own]
        busy = _within(computation, begin, end)
        exposed = np.zeros(len(own)) if several else _within(either, begin, end) - busy
        part = pd.DataFrame(
            {
                "round": [int(STEP.search(step["name"]).group(1)) for step in own],  # pyright: ignore
                "worker": f"process {process}" if several else _worker(path, rank),
                "seconds": end - begin - exposed,
            }
        )
        if not several:
            part["comm_s"] = MICRO * _within(communication, begin, end)
            if len(computation):
                part["compute_s"] = MICRO * busy
        rows.append(part)
    if several:
        found = "several processes in one file: communication is not subtracted, give one file per rank"
    elif len(communication):
        found = "communication that no computation hides is subtracted from each step, with the wait inside it"
    else:
        found = "no communication is on the timeline: if workers synchronise within a step, the wait is in its time"
    return pd.concat(rows, ignore_index=True), ("steps of the PyTorch profiler (ProfilerStep#N, on the host)", found)


def _worker(path: Path, rank: Any) -> Any:
    """The rank, from the trace or the name of its file; else that name up to the time stamp."""
    if isinstance(rank, int):
        return rank
    named = RANK.search(path.name)
    return int(named.group(1)) if named else path.name.split(".")[0]


def _communicates(kernel: Event) -> bool:
    arguments = kernel.get("args")
    name = str(kernel.get("name")).lower()
    return "nccl" in name or "rccl" in name or (isinstance(arguments, dict) and "Collective name" in arguments)


def _waits_on_host(event: Event) -> bool:
    return str(event.get("name")).startswith(COLLECTIVES)


def _union(events: list[Event]) -> Spans:
    begin = np.array([float(event["ts"]) for event in events])
    return _merged(np.column_stack([begin, begin + [float(event["dur"]) for event in events]]))


def _merged(spans: Spans) -> Spans:
    """The same points in time as disjoint spans in order."""
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    reach = np.maximum.accumulate(spans[:, 1])
    first = np.append(True, spans[1:, 0] > reach[:-1])[: len(spans)]
    starts = np.flatnonzero(first)
    return np.column_stack([spans[starts, 0], reach[np.append(starts[1:], len(spans)) - 1] if len(spans) else reach])


def _within(spans: Spans, begin: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Length of the part of disjoint ``spans`` in [begin, end], for each."""
    if not len(spans):
        return np.zeros(len(begin))
    times = spans.ravel()
    covered = np.concatenate([[0.0], np.cumsum(np.diff(times) * (np.arange(len(times) - 1) % 2 == 0))])
    return np.interp(end, times, covered) - np.interp(begin, times, covered)


def _tasks(spans: list[Event], metadata: list[Event]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """One row per task, its name as the data set; rounds are the order of the tasks of one name on one worker."""
    processes = {event.get("pid"): _label(event) for event in metadata if event.get("name") == "process_name"}
    threads = {
        (event.get("pid"), event.get("tid")): _label(event) for event in metadata if event.get("name") == "thread_name"
    }
    whole = [event for event in spans if str(event.get("cat", "")).startswith("task::")]
    executed = [event for event in spans if event.get("cat") == "task:execute"]
    rows = []
    for event in whole or executed or spans:
        pid, tid = event.get("pid"), event.get("tid")
        thread = threads.get((pid, tid), str(tid))
        if thread.startswith("driver"):
            continue
        arguments = event.get("args")
        arguments = arguments if isinstance(arguments, dict) else {}
        task = arguments.get("func_or_class_name") or str(event.get("name")).removeprefix("task::")
        worker = f"{processes.get(pid, pid)} {thread}"
        rows.append(
            (task, worker, float(event["ts"]), float(event["dur"]), arguments.get("round", arguments.get("step")))
        )
    if not rows:
        raise ValueError("the timeline has no tasks of workers, only of the driver")
    frame = pd.DataFrame(rows, columns=["dataset", "worker", "begin", "seconds", "round"])
    frame = frame.sort_values("begin", kind="stable")
    report = [f"tasks of a timeline: {listed(sorted(frame['dataset'].unique()))}"]
    if not all(isinstance(number, int) for number in frame["round"]):
        frame["round"] = frame.groupby(["dataset", "worker"]).cumcount()
        report.append("rounds are the order of each worker's tasks, the timeline numbers none")
    return frame.drop(columns="begin"), tuple(report)


def _label(event: Event) -> str:
    arguments = event.get("args")
    return str(arguments.get("name")) if isinstance(arguments, dict) else str(event.get("pid"))
