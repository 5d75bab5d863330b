"""Workers as processes of this machine: nothing listens, and nobody else can connect."""

import os
import selectors
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import Self

import cloudpickle
import numpy as np

from abs_theory.checks import check_memory
from simulations.live.engine import Answer
from simulations.live.messages import (
    DONE,
    FAILED,
    READY,
    AnswerMessage,
    Board,
    TaskMessage,
    board_bytes,
    new_board_file,
)
from simulations.live.nursery import LENGTH, ORDER
from simulations.problems import Problem
from simulations.processes import UNSENDABLE, explains_sending

ENDED = "the process that starts the workers has ended"
START_SECONDS = 120.0  # in which all workers must have started
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR")}


class Processes:
    """``n`` worker processes of this machine, which all have started.  Used in a ``with`` statement, which ends them.

    They have one thread for linear algebra, and end within seconds when this process ends, however it ends.
    """

    def __init__(self, problem: Problem, n: int):
        if not hasattr(os, "fork"):
            raise ValueError("worker processes need a system with fork, such as Linux or macOS: simulate instead")
        self.n = n
        self.numbers: Iterator[int] = count(1)
        initial = problem.initial
        size = board_bytes(n, initial.size, initial.dtype)
        check_memory(f"{n} workers with {initial.size} parameters", float(size))
        with explains_sending({"problem": problem}, UNSENDABLE, Exception):
            pickled = cloudpickle.dumps((problem, n, initial.size, initial.dtype.str))
        file = new_board_file(size)
        self._board = Board(n, initial.size, initial.dtype, file)
        self._selector = selectors.DefaultSelector()
        self._pipes: dict[int, socket.socket] = {}
        self._heard: dict[int, bytes] = defaultdict(bytes)  # beginnings of messages
        self._place_of: dict[int, int] = {}  # of each version on the board
        self._reads = [-1] * n  # place of the model of each worker
        self._control, other_end = socket.socketpair()
        try:
            with other_end:
                self._nursery = subprocess.Popen(
                    [sys.executable, "-m", "simulations.live.nursery", str(other_end.fileno())],
                    pass_fds=[other_end.fileno()],
                    env=os.environ | ONE_THREAD | {"PYTHONPATH": os.pathsep.join(sys.path)},
                    stdin=subprocess.DEVNULL, start_new_session=True,  # Ctrl-C is for the server
                )  # fmt: skip
            socket.send_fds(self._control, [LENGTH.pack(len(pickled))], [file])
            self._control.sendall(pickled)
            self._wait_for_the_problem()
            for worker in range(n):
                self._begin(worker)
            self._wait_for_all()
        except BaseException as failure:
            self.close()
            if isinstance(failure, BrokenPipeError | ConnectionResetError):
                raise RuntimeError(f"{ENDED}, before it had started any") from None
            raise
        finally:
            os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers."""
        self._control.close()
        for pipe in self._pipes.values():
            pipe.close()
        self._selector.close()
        if hasattr(self, "_nursery"):
            self._nursery.wait()

    # ------------------------------------------------------------------ the verbs of a crew
    def send(self, worker: int, task: TaskMessage, params: np.ndarray, version: int) -> None:
        """Give a worker a task on these parameters, which are the same for the same ``version``."""
        task = task._replace(place=self._place(version, params))
        self._reads[worker] = task.place
        # it has ended, which ``receive`` will find; or it reads nothing, and hangs
        with suppress(BrokenPipeError, ConnectionResetError, BlockingIOError):
            self._pipes[worker].send(task.packed())

    def receive(self, seconds: float) -> Sequence[Answer]:
        """All that has come; if nothing has, what comes first within ``seconds``."""
        answers: list[Answer] = []
        for key, _ in self._selector.select(seconds):
            worker = key.data
            try:
                part = self._pipes[worker].recv(1 << 16)
            except ConnectionResetError:
                part = b""
            received = time.monotonic()
            if not part:
                self._selector.unregister(self._pipes[worker])
                answers.append(Answer(worker, None, received))
                continue
            heard = self._heard[worker] + part
            while len(heard) >= AnswerMessage.size:
                message, heard = AnswerMessage.unpacked(heard[: AnswerMessage.size]), heard[AnswerMessage.size :]
                result = self._board.results[worker].copy() if message.kind == DONE else None
                words = self._board.read_words(worker) if message.kind == FAILED else ""
                answers.append(Answer(worker, message, received, result, words))
            self._heard[worker] = heard
        return answers

    def is_about_to_answer(self, worker: int, number: int) -> bool:
        """Whether a worker has perhaps ended this task already, though its message is not here."""
        return int(self._board.ending[worker]) == number

    def replace(self, worker: int) -> None:
        """End this worker, whatever it does, and start another one, which will say READY."""
        pipe = self._pipes.pop(worker)
        if pipe.fileno() in self._selector.get_map():
            self._selector.unregister(pipe)
        pipe.close()
        self._heard.pop(worker, None)
        self._begin(worker)

    def forget(self) -> None:
        """No model of an earlier run is used any more."""
        self._place_of.clear()

    # ------------------------------------------------------------------ inside
    def _place(self, version: int, params: np.ndarray) -> int:
        """Where the model of this version stands on the board; it is written there once."""
        place = self._place_of.get(version)
        if place is None:
            if params.dtype != self._board.models[0].dtype:
                raise ValueError(f"a live run needs a model of one precision, got {params.dtype} parameters")
            taken = set(self._reads)
            self._place_of = {old: at for old, at in self._place_of.items() if at in taken}
            place = next(free for free in range(self._board.places) if free not in taken)
            self._board.models[place][:] = params
            self._place_of[version] = place
        return place

    def _begin(self, worker: int) -> None:
        pipe, other_end = socket.socketpair()
        pipe.setblocking(False)
        try:
            with other_end:
                socket.send_fds(self._control, [ORDER.pack(worker)], [other_end.fileno()])
        except BrokenPipeError:
            pipe.close()
            raise RuntimeError(f"{ENDED}, so no worker can be replaced") from None
        self._pipes[worker] = pipe
        self._selector.register(pipe, selectors.EVENT_READ, worker)

    def _wait_for_the_problem(self) -> None:
        self._control.settimeout(START_SECONDS)
        try:
            answer = self._control.recv(2000)
        except TimeoutError:
            answer = b"F it did not start"
        if answer != b"R":
            raise RuntimeError(f"the process that starts the workers failed: {answer[1:].decode() or 'it ended'}")

    def _wait_for_all(self) -> None:
        ready: set[int] = set()
        end = time.monotonic() + START_SECONDS
        while len(ready) < self.n:
            answers = self.receive(end - time.monotonic())
            died = [answer.worker for answer in answers if answer.message is None]
            if died or not answers:
                what = f"worker {died[0]} ended" if died else f"{len(ready)} of {self.n} workers had started"
                raise RuntimeError(f"{what} within {START_SECONDS:g} s of the start")
            ready |= {answer.worker for answer in answers if answer.message and answer.message.kind == READY}
