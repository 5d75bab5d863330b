"""The process that starts the workers of a live run, replaces them, and ends them when the server has ended.

It loads the problem once and forks, so that a hundred workers start within a second and share the data.  It has one
thread and computes nothing, so it always hears that its pipe to the server is closed; then it kills all workers, also
those that hang.  A worker looks from time to time whether this process lives.
"""

import gc
import os
import select
import signal
import socket
import struct
import sys
import traceback
from contextlib import suppress

import cloudpickle
import numpy as np

from simulations.live.messages import Board
from simulations.live.worker import Worker
from simulations.processes import end_with

ORDER = struct.Struct("=q")  # the worker to start, in the place of the one of this number, if there is one
LENGTH = struct.Struct("=q")
LOOK_SECONDS = 1.0  # between two looks at which workers have ended


def main(control: int) -> None:
    """Obey the server at the other end of the socket ``control``, until it closes it."""
    server = socket.socket(fileno=control)
    workers: dict[int, int] = {}  # process of each worker
    try:
        _obey(server, workers)
    except (EOFError, OSError):  # the server has ended
        for worker in list(workers):
            _kill(workers, worker)


def _obey(server: socket.socket, workers: dict[int, int]) -> None:
    length, (board_file, *_) = _received(server, LENGTH.size)
    pickled, _ = _received(server, LENGTH.unpack(length)[0])
    try:
        problem, n, size, dtype = cloudpickle.loads(pickled)
    except Exception as failure:
        server.sendall(b"F" + f"{type(failure).__name__}: {failure}".encode()[:1000])
        return
    board = Board(n, size, np.dtype(dtype), board_file)
    server.sendall(b"R")
    gc.freeze()  # what the workers share is not copied
    while True:
        _reap(workers)
        if not select.select([server], [], [], LOOK_SECONDS)[0]:
            continue
        order, files = _received(server, ORDER.size)
        (worker,) = ORDER.unpack(order)
        _kill(workers, worker)
        workers[worker] = _forked(server, Worker(worker, problem, board, files[0]))
        os.close(files[0])


def _forked(server: socket.socket, worker: Worker) -> int:
    parent = os.getpid()
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        server.close()
        end_with(parent)
        worker.work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _kill(workers: dict[int, int], worker: int) -> None:
    process = workers.pop(worker, None)
    if process is not None:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _reap(workers: dict[int, int]) -> None:
    for worker, process in list(workers.items()):
        if os.waitpid(process, os.WNOHANG)[0]:
            del workers[worker]


def _received(server: socket.socket, size: int) -> tuple[bytes, list[int]]:
    """The next ``size`` bytes, and the files that came with them; EOFError if the server has ended."""
    parts: list[bytes] = []
    files: list[int] = []
    received = 0
    while received < size:
        part, came, _, _ = socket.recv_fds(server, min(size - received, 1 << 20), 4)
        if not part:
            raise EOFError
        parts.append(part)
        received += len(part)
        files += came
    return b"".join(parts), files


if __name__ == "__main__":
    main(int(sys.argv[1]))
