"""Workers as actors of a Ray cluster; it needs the extra ``cluster`` of this package."""

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np

import abs_theory
import simulations
from simulations.live.engine import Answer
from simulations.live.messages import (
    DIFFERENCE,
    DONE,
    FAILED,
    LONGEST_WAIT_SECONDS,
    READY,
    REST,
    AnswerMessage,
    TaskMessage,
    packed_stream,
    set_stream,
)
from simulations.problems import Problem
from simulations.processes import UNSENDABLE, explains_sending, imported_ray
from simulations.server import Job, contribution
from simulations.threads import one_thread

START_SECONDS = 300.0  # in which all actors must have started
MOST_IN_A_MESSAGE = 1 << 16  # bytes of a model that is sent with each task; Ray itself does so up to 100 kB
LOCAL = "local"  # as an address: a new cluster on this computer
TELL = "tell"  # the thread of an actor that hears of new tasks while another one computes


class ActorWork:
    """What an actor does.  A task that has been superseded ends at once if it waits, else after its gradient."""

    def __init__(self, number: int, problem: Problem):
        self.number, self.problem, self.rng = number, problem, np.random.default_rng(0)
        self.newest, self.changed = 0, threading.Condition()
        self.node = node_of_this_process()

    def ready(self) -> AnswerMessage:
        """Say so: what the server waits for."""
        return AnswerMessage(READY)

    def supersede(self, number: int) -> None:
        """Note that this task is the newest; called in a thread of its own."""
        with self.changed:
            self.newest = max(number, self.newest)
            self.changed.notify_all()

    def do(
        self, packed: bytes, seconds: float, params: np.ndarray, server: str
    ) -> tuple[AnswerMessage, object, str] | None:
        """The answer to a task that must not end before ``seconds`` are over, its result, and what went wrong.

        None if the task was dropped.  Its times are comparable if the ``server`` is on the same machine, else 0.
        """
        began, task = time.monotonic(), TaskMessage.unpacked(packed)
        if self.newest > task.number:
            return None
        set_stream(self.rng, task.stream)
        job = Job(self.number, 0, 0.0, params.copy(), task.local_steps, task.step_size)
        try:
            with one_thread(), np.errstate(all="ignore"):
                row, loss = contribution(self.problem, job, self.rng, one_step=task.kind != DIFFERENCE)
        except Exception as problem:  # the server tells it
            return AnswerMessage(FAILED, task.number), None, f"{type(problem).__name__}: {problem}"
        computed = time.monotonic()
        with self.changed:
            end = began + seconds
            while self.newest <= task.number and (seconds_left := end - time.monotonic()) > 0:
                self.changed.wait(min(seconds_left, LONGEST_WAIT_SECONDS))
            if self.newest > task.number:
                return None
        ended = time.monotonic()
        times = (began, computed, ended) if server == self.node else (0.0, 0.0, 0.0)
        return AnswerMessage(DONE, task.number, float(loss), *times, packed_stream(self.rng)), row, ""


def node_of_this_process() -> str:
    """The machine that this process runs on, as Ray names it."""
    return imported_ray().get_runtime_context().get_node_id()


class Actors:
    """``n`` actors of the Ray cluster at ``address``, which all have started.  Used in a ``with`` statement.

    None: the cluster this process is connected to.  "local": a new one on this computer, which ends with the run.  Ray
    listens on the network of the computer, so this is nobody's default.
    Raises ValueError if Ray is not installed or there is no address, ConnectionError if no cluster is there.
    """

    def __init__(self, problem: Problem, n: int, address: str | None = None):
        self.ray: Any = imported_ray()
        self.n = n
        self.numbers: Iterator[int] = count(1)
        self._ours = not self.ray.is_initialized()
        if self._ours:
            if address is None:
                raise ValueError(
                    'address must be that of a Ray cluster, or "local" for a new one on this computer, which then '
                    "listens on its network"
                )
            alone = {"include_dashboard": False} if address == LOCAL else {}
            variables = {"OMP_NUM_THREADS": "1"}
            if address == LOCAL:
                variables["PYTHONPATH"] = os.pathsep.join(sys.path)  # the problem may be in a module of the user
            source = {"py_modules": [abs_theory, simulations], "env_vars": variables}
            self.ray.init(address=address, runtime_env=source, log_to_driver=False, logging_level="error", **alone)
        self._node = node_of_this_process()
        with explains_sending({"problem": problem}, UNSENDABLE, Exception):
            self._problem = self.ray.put(problem)
        self._actors: dict[int, Any] = {}
        self._pending: dict[Any, int] = {}  # the worker of each answer that is to come
        self._params: tuple[int, Any] | None = None  # version, and the model where actors find it
        for worker in range(n):
            self._begin(worker)
        ready, end = 0, time.monotonic() + START_SECONDS
        while ready < n:
            answers = self.receive(max(end - time.monotonic(), 0.0))
            ended = [answer.words for answer in answers if answer.message is None]
            if not answers or ended:
                self.close()
                raise RuntimeError(f"only {ready} of {n} actors started: {ended[0] if ended else 'it took too long'}")
            ready += len(answers)

    def __enter__(self) -> "Actors":
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """End all actors, and the cluster if it was started for them."""
        for actor in self._actors.values():
            self.ray.kill(actor)
        self._actors.clear()
        if self._ours:
            self.ray.shutdown()

    # ------------------------------------------------------------------ the verbs of a crew
    def send(self, worker: int, task: TaskMessage, params: np.ndarray, version: int) -> None:
        """Give a worker a task on these parameters, which are the same for the same ``version``."""
        actor = self._actors[worker]
        if worker in self._pending.values():
            actor.supersede.remote(task.number)  # once per task; what it drops ends by itself
        if task.kind == REST:
            return
        if self._params is None or self._params[0] != version:
            self._params = version, self.ray.put(params) if params.nbytes > MOST_IN_A_MESSAGE else params.copy()
        seconds = min(task.deadline - time.monotonic(), threading.TIMEOUT_MAX)
        self._pending[actor.do.remote(task.packed(), seconds, self._params[1], self._node)] = worker

    def receive(self, seconds: float) -> Sequence[Answer]:
        """All that has come; if nothing has, what comes first within ``seconds``."""
        ready = self._ready(0.0, len(self._pending))  # not only the first: Ray prefers the front of the list
        if not ready and seconds > 0:
            ready = self._ready(seconds, 1) and self._ready(0.0, len(self._pending))
        answers = []
        for reference, result in zip(ready, self._results(ready), strict=True):
            worker, received = self._pending.pop(reference), time.monotonic()
            if isinstance(result, Exception):
                if worker not in self._pending.values():  # the last word of this actor
                    answers.append(Answer(worker, None, received, words=str(result).strip().rpartition("\n")[2]))
            elif isinstance(result, AnswerMessage):
                answers.append(Answer(worker, result, received))
            elif result is not None:
                message, row, words = result
                if message.kind == DONE and not message.ended:  # of another machine, whose clock is another one
                    message = message._replace(began=received, computed=received, ended=received)
                answers.append(Answer(worker, message, received, None if row is None else np.array(row), words))
        return sorted(answers, key=lambda answer: answer.message.ended if answer.message else answer.received)

    def is_about_to_answer(self, worker: int, number: int) -> bool:
        """Unknown: there is no memory that both sees; answers that come together are put in the order of their ends."""
        return False

    def replace(self, worker: int) -> None:
        """End this worker, whatever it does, and start another one, which will say READY."""
        self.ray.kill(self._actors[worker])
        self._pending = {reference: other for reference, other in self._pending.items() if other != worker}
        self._begin(worker)

    def forget(self) -> None:
        """No model of an earlier run is used any more."""
        self._params = None

    # ------------------------------------------------------------------ inside
    def _begin(self, worker: int) -> None:
        remote = self.ray.remote(num_cpus=0, concurrency_groups={TELL: 1})(_with_group(self.ray))
        actor = remote.remote(worker, self._problem)
        self._actors[worker] = actor
        self._pending[actor.ready.remote()] = worker

    def _ready(self, seconds: float, most: int) -> list[Any]:
        if not self._pending:
            time.sleep(min(seconds, 0.01))
            return []
        return self.ray.wait(list(self._pending), num_returns=most, timeout=seconds)[0]

    def _results(self, ready: list[Any]) -> list[Any]:
        """What the actors have returned, or the error of one that has ended."""
        try:
            return self.ray.get(ready)  # all at once
        except self.ray.exceptions.RayError:
            return [self._result(reference) for reference in ready]

    def _result(self, reference: Any) -> Any:
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayError as problem:
            return problem


def _with_group(ray: Any) -> type:
    """The class of the actors; new tasks are told to a thread of their own."""

    class Actor(ActorWork):
        @ray.method(concurrency_group=TELL)
        def supersede(self, number: int) -> None:
            super().supersede(number)

    return Actor
