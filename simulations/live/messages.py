"""What server and workers on one machine tell each other: small messages over pipes, vectors in shared memory.

A message has a fixed size, so no reader waits for its end.  Models, gradients and the words of an error stand on the
``Board``, a piece of memory that the server and all workers see.  A model is written there once, however many workers
receive it.
"""

import mmap
import os
import struct
import tempfile
from typing import NamedTuple

import numpy as np

# what a worker shall do
GRADIENT, DIFFERENCE, REST = range(3)  # send one gradient; send what its local steps subtract; nothing
# what a worker says
READY, DONE, FAILED = range(3)  # it has started; its task has ended; its task raised an error, told on the board

_STREAM = struct.Struct("=16s16sqQ")  # the state of a generator of random numbers
_TASK = struct.Struct(f"=qqdqqd{_STREAM.size}s")
_ANSWER = struct.Struct(f"=qqdddd{_STREAM.size}s")
NO_STREAM = bytes(_STREAM.size)


class TaskMessage(NamedTuple):
    """What the server tells a worker: begin a task, and drop the one before."""

    kind: int  #: GRADIENT, DIFFERENCE or REST
    number: int  #: of the task
    deadline: float  #: on the clock of the machine (s), before which the answer must not be sent; inf: never send it
    place: int  #: of the model on the board
    local_steps: int  #: of the task
    step_size: float  #: of a local step
    stream: bytes  #: of the random numbers of the mini-batches

    size = _TASK.size  # bytes

    def packed(self) -> bytes:
        return _TASK.pack(*self)

    @classmethod
    def unpacked(cls, message: bytes) -> "TaskMessage":
        return cls(*_TASK.unpack(message))


class AnswerMessage(NamedTuple):
    """What a worker tells the server; times are those of the machine's clock, in seconds."""

    kind: int  #: READY, DONE or FAILED
    number: int = 0  #: of the task
    loss: float = 0.0  #: of its mini-batch
    began: float = 0.0  #: when the worker had the model
    computed: float = 0.0  #: when it had the gradient
    ended: float = 0.0  #: when the task ended, just before this message was sent
    stream: bytes = NO_STREAM  #: after the draws of the task

    size = _ANSWER.size  # bytes

    def packed(self) -> bytes:
        return _ANSWER.pack(*self)

    @classmethod
    def unpacked(cls, message: bytes) -> "AnswerMessage":
        return cls(*_ANSWER.unpack(message))


def packed_stream(rng: np.random.Generator) -> bytes:
    """The state of a generator of ``simulations.streams``."""
    state = rng.bit_generator.state
    inner = state["state"]
    words = (inner[name].to_bytes(16, "little") for name in ("state", "inc"))
    return _STREAM.pack(*words, state["has_uint32"], state["uinteger"])


def set_stream(rng: np.random.Generator, stream: bytes) -> None:
    """Let ``rng`` go on from a state that ``packed_stream`` has made."""
    state, inc, has_uint32, uinteger = _STREAM.unpack(stream)
    rng.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": int.from_bytes(state, "little"), "inc": int.from_bytes(inc, "little")},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }


WORDS_BYTES = 2048  # at least, for the result of a worker, where it also writes what went wrong
LONGEST_WAIT_SECONDS = 1e6  # twelve days: what lasts longer has no end, as clocks of the system cannot count to it
LINE_BYTES = 64  # vectors begin at multiples of this, a line of the cache


class Board:
    """Shared memory: a model per version in use, a result per worker, and the task that each worker is about to end."""

    def __init__(self, n: int, size: int, dtype: np.dtype, file: int):
        self.n, self.places, row = n, n + 2, _rounded(size * dtype.itemsize)
        result = max(row, WORDS_BYTES)
        self.memory = mmap.mmap(file, board_bytes(n, size, dtype))
        begin = _rounded(8 * n)
        #: the number of the task that each worker is about to end: written just before it looks at the clock
        self.ending = np.frombuffer(self.memory, np.int64, n)
        self.words = [memoryview(self.memory)[begin + w * result : begin + w * result + WORDS_BYTES] for w in range(n)]
        self.results = [np.frombuffer(self.memory, dtype, size, begin + w * result) for w in range(n)]
        begin += n * result
        self.models = [np.frombuffer(self.memory, dtype, size, begin + p * row) for p in range(self.places)]

    def write_words(self, worker: int, text: str) -> None:
        """Write what went wrong in ``worker``, as much as there is room for."""
        words = text.encode()[: WORDS_BYTES - 1]
        self.words[worker][: len(words) + 1] = words + b"\0"

    def read_words(self, worker: int) -> str:
        """What ``write_words`` has written."""
        return bytes(self.words[worker]).partition(b"\0")[0].decode(errors="replace")


def board_bytes(n: int, size: int, dtype: np.dtype) -> int:
    """Bytes of a board for ``n`` workers and vectors of ``size`` numbers."""
    row = _rounded(size * dtype.itemsize)
    return _rounded(8 * n) + n * max(row, WORDS_BYTES) + (n + 2) * row


def new_board_file(size: int) -> int:
    """A file of ``size`` bytes that has no name, and is gone when the last process that has it ends."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("board")
    else:
        with tempfile.TemporaryFile() as unnamed:
            file = os.dup(unnamed.fileno())
    os.ftruncate(file, size)
    return file


def _rounded(size: int) -> int:
    return -(-size // LINE_BYTES) * LINE_BYTES
