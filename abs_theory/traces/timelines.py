"""Timelines to rows: PyTorch's profiler (Kineto), one file per rank, and Chrome traces as ``ray timeline`` writes them.

Both are JSON in Chrome's trace event format: complete events (``ph`` is X) with ``ts`` and ``dur`` in microseconds,
``displayTimeUnit`` is only for the viewer.

Source: the Trace Event Format of Chrome; Kineto's ``output_json.cpp`` (annotations ``ProfilerStep#N``, kernels of
category ``kernel``, ``distributedInfo``); Ray's ``profiling.py`` (an event ``task::NAME`` around each task, ``pid`` and
``tid`` for node and worker).
"""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abs_theory.traces.columns import counted, listed
from abs_theory.traces.files import Loaded, Source
from abs_theory.traces.json_tables import NEITHER, json_document, json_table

__all__ = ["read_timeline"]

STEP = re.compile(r"ProfilerStep\s*#(\d{1,15})(?!\d)")
RANK = re.compile(r"(?<![a-z])rank[-_ ]?(\d{1,9})(?!\d)", re.IGNORECASE)
HOST_COLLECTIVES = ("gloo:", "mpi:", "ucc:")  # on the host; those of NCCL only launch a kernel there
# Kernels that wait for other workers, by words in their names: NCCL, RCCL, HCCL and oneCCL; MSCCL; NVSHMEM; DeepEP;
# the user buffers of Transformer Engine; the all-reduces of PyTorch's symmetric memory, vLLM and TensorRT-LLM.
DEVICE_COLLECTIVES = re.compile(
    r"[nrh]ccl|(?<![a-z])ccl_|oneccl|msccl|nvshmem|rocshmem|deep_ep|userbuffers|cross_device_reduce"
    r"|all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|send_?recv",
    re.IGNORECASE,
)
# Names that torch.profiler's trace handler gives: worker, nanoseconds since 1970, and these endings.
HANDLER_NAME = re.compile(r"(?:\.\d{6,})?(?:\.pt)?(?:\.trace)?\.json(?:\.gz)?$", re.IGNORECASE)
CUT_SHARE = 0.5  # of the usual number of events, or without events of the usual length, below which a last step is cut
MICROSECOND = 1e-6
LARGEST_TIME = 1e18  # microseconds; some 30,000 years
PYTORCH_CATEGORIES = {"cpu_op", "kernel", "user_annotation", "cuda_runtime", "python_function"}

Event = dict[str, Any]
Spans = NDArray[np.float64]  # shape (count, 2): begin and end


def read_timeline(source: Source) -> Loaded:
    """Attempts in a timeline: steps of the profiler, or tasks.

    Without a format by name it is kineto if there are annotations ``ProfilerStep#N``, else chrome.  Raises ValueError
    if the file is not a timeline, or has no events to take for attempts.
    """
    document, report = json_document(source)
    if source.format is None and (table := json_table(document)) is not None:
        return table._replace(report=report + table.report)
    events = document.get("traceEvents") if isinstance(document, dict) else document
    if not isinstance(events, list):
        raise ValueError(NEITHER)
    if any(isinstance(event, dict) and _text(event.get("name", "")).startswith("NEGOTIATE_") for event in events):
        raise ValueError(
            "a timeline of Horovod says when ranks were ready for each tensor, not how long they computed: record the "
            "seconds of each step on each rank"
        )
    spans = [event for event in events if isinstance(event, dict) and _is_span(event)]
    if not spans:
        raise ValueError(f"there are no complete events (ph X, with ts and dur) among {len(events)} events")
    impossible = sum(not _is_possible(event) for event in spans)
    spans = [_plain(event) for event in spans if _is_possible(event)]
    if not spans:
        raise ValueError(f"none of the {impossible} events has a possible ts and dur (finite numbers, dur >= 0)")
    said = report
    if impossible:
        said += (f"{counted(impossible, 'event')} of impossible duration left out",)
    steps = [event for event in spans if STEP.search(event["name"])]
    of_pytorch = source.format is None and any(event.get("cat") in PYTORCH_CATEGORIES for event in spans)
    if not steps and (source.format == "kineto" or of_pytorch):
        other = "; to read every operation as a task, name the format chrome" if of_pytorch else ""
        raise ValueError(
            f"there is no annotation ProfilerStep#N: call profiler.step() once in each training step{other}"
        )
    if source.format == "chrome" or not steps:
        metadata = [_plain(event) for event in events if isinstance(event, dict) and event.get("ph") == "M"]
        loaded = _tasks(spans, metadata)
        return loaded._replace(report=(*said, *loaded.report))
    info = document.get("distributedInfo") if isinstance(document, dict) else None
    rank = info.get("rank") if isinstance(info, dict) else None
    loaded = _steps(source.path, spans, steps, rank)
    return loaded._replace(report=(*said, *loaded.report))


def _is_span(event: Event) -> bool:
    return event.get("ph", "X") == "X" and all(isinstance(event.get(key), int | float) for key in ("ts", "dur"))


def _is_possible(event: Event) -> bool:
    """Whether its times are finite, and it does not end before it begins."""
    return all(abs(event[key]) <= LARGEST_TIME for key in ("ts", "dur")) and event["dur"] >= 0  # False for NaN


def _plain(event: Event) -> Event:
    """The event with its name, category, process and thread as text, whatever they were."""
    texts = {key: _text(event.get(key, "")) for key in ("name", "cat", "pid", "tid")}
    return {**event, **texts}


def _text(value: object) -> str:
    """``value`` as text that can be written; JSON allows halves of a character (surrogates)."""
    return str(value).encode(errors="replace").decode()


def _steps(path: Path, spans: list[Event], steps: list[Event], rank: object) -> Loaded:
    """Duration of each profiler step on the host, minus the communication that no computation overlaps.

    A collective ends when the last worker has joined it.  It therefore contains the wait for the others, and with it
    all workers would look equally slow.  Communication that overlaps computation does not prolong the step.
    """
    host = [step for step in steps if not step["cat"].lower().startswith("gpu")] or steps
    host, cut = _whole_steps(host, spans)
    by_process: dict[str, list[Event]] = defaultdict(list)
    for step in host:
        by_process[step["pid"]].append(step)
    kernels = [event for event in spans if event["cat"].lower() == "kernel"]
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
            part["comm_s"] = MICROSECOND * _within(communication, begin, end)
            if len(computation):
                part["compute_s"] = MICROSECOND * busy
        rows.append(part)
    if several:
        waiting = "several processes in one file: communication is not subtracted, give one file per rank"
    elif len(communication):
        waiting = "communication that no computation hides is subtracted from each step, with the wait inside it"
    else:
        waiting = "no communication is on the timeline: if workers synchronise within a step, the wait is in its time"
    report = ("steps of the PyTorch profiler (ProfilerStep#N, on the host)", waiting)
    if cut:
        report = (*report, "a last step that the end of the profile cuts off is left out")
    return Loaded(pd.concat(rows, ignore_index=True), "us", report)


def _whole_steps(steps: list[Event], spans: list[Event]) -> tuple[list[Event], bool]:
    """The steps without a last one that ends with the profile, and whether one was left out.

    It is cut off if it contains less than CUT_SHARE of the events of the median step; where steps contain none, if it
    is shorter than CUT_SHARE of the median step.
    """
    keep, cut = [], False
    starts = np.sort([float(event["ts"]) for event in spans if not STEP.search(event["name"])])
    for process in dict.fromkeys(step["pid"] for step in steps):
        own = sorted((step for step in steps if step["pid"] == process), key=lambda step: float(step["ts"]))
        begin = np.array([float(step["ts"]) for step in own])
        length = np.array([float(step["dur"]) for step in own])
        events = np.searchsorted(starts, begin + length) - np.searchsorted(starts, begin)
        amount = events if np.median(events) > 0 else length
        if len(own) > 2 and amount[-1] < CUT_SHARE * np.median(amount) and length[-1] < CUT_SHARE * np.median(length):
            own, cut = own[:-1], True
        keep += own
    return keep, cut


def _worker(path: Path, rank: object) -> int | str:
    """The rank, from the trace or the name of its file; else that name up to the time stamp."""
    if isinstance(rank, int) and not isinstance(rank, bool) and abs(rank) < 2**53:
        return rank
    in_name = RANK.search(path.name)
    return int(in_name.group(1)) if in_name else HANDLER_NAME.sub("", path.name)


def _communicates(kernel: Event) -> bool:
    arguments = kernel.get("args")
    named = isinstance(arguments, dict) and "Collective name" in arguments
    return named or DEVICE_COLLECTIVES.search(kernel["name"]) is not None


def _waits_on_host(event: Event) -> bool:
    return event["name"].startswith(HOST_COLLECTIVES)


def _union(events: list[Event]) -> Spans:
    begin = np.array([float(event["ts"]) for event in events])
    return _merged(np.column_stack([begin, begin + [float(event["dur"]) for event in events]]))


def _merged(spans: Spans) -> Spans:
    """The union of the spans as disjoint spans in order."""
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


def _tasks(spans: list[Event], metadata: list[Event]) -> Loaded:
    """One row per task, with its name as the data set; round j is the j-th task of that name on a worker."""
    processes = {event["pid"]: _label(event) for event in metadata if event["name"] == "process_name"}
    threads = {(event["pid"], event["tid"]): _label(event) for event in metadata if event["name"] == "thread_name"}
    tasks = [event for event in spans if event["cat"].startswith("task::")]
    tasks = tasks or [event for event in spans if event["cat"] == "task"]  # of older versions, named by the function
    executed = [event for event in spans if event["cat"] == "task:execute"]
    rows = []
    for event in tasks or executed or spans:
        pid, tid = event["pid"], event["tid"]
        thread = threads.get((pid, tid), tid)
        if str(thread).startswith("driver"):
            continue
        arguments = event.get("args")
        arguments = arguments if isinstance(arguments, dict) else {}
        task = _text(arguments.get("func_or_class_name") or event["name"].removeprefix("task::"))
        worker = f"{processes.get(pid, pid)} {thread}"
        rows.append(
            (task, worker, float(event["ts"]), float(event["dur"]), arguments.get("round", arguments.get("step")))
        )
    if not rows:
        raise ValueError("the timeline has no tasks of workers, only of the driver")
    frame = pd.DataFrame(rows, columns=["dataset", "worker", "begin", "seconds", "round"])
    frame = frame.sort_values("begin", kind="stable")
    report = [f"tasks of a timeline: {listed(sorted(frame['dataset'].unique()))}"]
    if not all(isinstance(number, int) and abs(number) < 2**53 for number in frame["round"]):
        frame["round"] = frame.groupby(["dataset", "worker"]).cumcount()
        report.append("rounds are the order of each worker's tasks, the timeline numbers none")
    return Loaded(frame.drop(columns="begin"), "us", tuple(report))


def _label(event: Event) -> str:
    arguments = event.get("args")
    return _text(arguments.get("name")) if isinstance(arguments, dict) else event["pid"]
