"""A worker process: it waits for a model, computes its gradient, waits until the task may end, and sends it."""

import contextlib
import os
import select
import signal
import time
from dataclasses import dataclass

import numpy as np

from simulations.live.messages import (
    DIFFERENCE,
    DONE,
    FAILED,
    LONGEST_WAIT_SECONDS,
    READY,
    REST,
    AnswerMessage,
    Board,
    TaskMessage,
    packed_stream,
    set_stream,
)
from simulations.problems import Problem
from simulations.server import Job, contribution
from simulations.threads import one_thread

_pipe: list[int] = []  # that of this process, if it is a worker


def is_dropped() -> bool:
    """Whether the task that this process works on has been dropped; a long gradient may look, and then return anything.

    False in a process that is no worker of a live run.

    >>> is_dropped()
    False
    """
    return bool(_pipe) and _readable(_pipe[0], 0.0)


@dataclass
class Worker:
    """A worker process with its pipe."""

    number: int  #: of the worker
    problem: Problem  #: whose gradients it computes
    board: Board  #: shared with the server
    pipe: int  #: file of the pipe to and from the server

    def work(self) -> None:
        """Do one task after the other until the server closes the pipe."""
        rng = np.random.default_rng(0)  # its state comes with each task
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server handles Ctrl-C
        os.set_blocking(self.pipe, True)
        _pipe[:] = [self.pipe]
        task: TaskMessage | None = None
        with (
            contextlib.suppress(BrokenPipeError, ConnectionResetError, EOFError),
            one_thread(),
            np.errstate(all="ignore"),
        ):
            self._say(AnswerMessage(READY))
            while True:
                task = self._last_message() if task is None or is_dropped() else task
                task = None if task.kind == REST else self._do(task, rng)

    def _do(self, task: TaskMessage, rng: np.random.Generator) -> TaskMessage | None:
        """Do a task and say so; the next task if it comes before the end."""
        params, began = self.board.models[task.place].copy(), time.monotonic()
        set_stream(rng, task.stream)
        job = Job(self.number, 0, 0.0, params, task.local_steps, task.step_size)
        try:
            row, loss = contribution(self.problem, job, rng, one_step=task.kind != DIFFERENCE)
        except Exception as problem:  # the server tells it
            self.board.write_words(self.number, f"{type(problem).__name__}: {problem}")
            self._say(AnswerMessage(FAILED, task.number))
            return None
        computed = time.monotonic()
        wait = task.deadline - computed
        if is_dropped() if wait <= 0 else _readable(self.pipe, wait):
            return self._last_message()
        self.board.results[self.number][:] = row
        self.board.ending[self.number] = task.number
        ended = time.monotonic()
        self._say(AnswerMessage(DONE, task.number, float(loss), began, computed, ended, packed_stream(rng)))
        return None

    def _last_message(self) -> TaskMessage:
        """The newest task, for which a worker that has none waits; all before it have been dropped."""
        message = b""
        while not message or len(message) % TaskMessage.size or _readable(self.pipe, 0.0):
            part = os.read(self.pipe, 1 << 16)
            if not part:
                raise EOFError
            message += part
        return TaskMessage.unpacked(message[-TaskMessage.size :])

    def _say(self, message: AnswerMessage) -> None:
        os.write(self.pipe, message.packed())


def _readable(pipe: int, seconds: float) -> bool:
    """Whether a message is there, or comes within ``seconds`` (LONGEST_WAIT_SECONDS or more: wait for it)."""
    return bool(select.select([pipe], [], [], None if seconds >= LONGEST_WAIT_SECONDS else seconds)[0])
