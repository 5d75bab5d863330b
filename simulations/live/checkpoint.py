"""What is kept of a live run every few seconds, so that it can go on.

That is the model, the books, what protocol and policies remember, and where the draws of mini-batches are.
It is plain data with a digest.  Reading it runs no code.
"""

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from abs_theory.files import DamagedFileError, read_sealed, write_sealed
from simulations.live import plain_data
from simulations.live.engine import LiveEngine, Measured, Message
from simulations.server import Evaluations, Remembered, Round, Server, ServerState

FORMAT = 3  # of a checkpoint; one of another format is refused
MOST_OF_THE_TIME = 0.05  # spent on writing checkpoints; large ones are written less often


class Kept(NamedTuple):
    """What a run goes on from."""

    state: ServerState  #: of the server
    values: dict[int, dict[str, float]]  #: evaluations so far, by version of the model
    streams: list[bytes]  #: of the mini-batches of each worker
    measured: Measured  #: so far
    forgotten: str  #: why what protocol and policies remember could not be kept; "" if it was

    @property
    def words(self) -> str:
        """Where the run goes on, and whether protocol and policies start afresh."""
        afresh = f"; protocol and policies started afresh: {self.forgotten}" if self.forgotten else ""
        return f"t={self.state.time:.4g} s, after {self.state.updates} updates{afresh}"


class Finished(NamedTuple):
    """A replicate that has come to its end."""

    rounds: pd.DataFrame  #: one row per update
    tasks: pd.DataFrame  #: one row per task
    measured: Measured  #: beside the tables


class Checkpoints:
    """The checkpoints of the replicates of one run in a ``folder``; ``key`` says which run, as text.

    Each replicate has one, written ``every`` so many seconds, and once more at its end.
    """

    def __init__(self, folder: Path, key: str, every: float):
        self.folder, self.key, self.every = folder, f"{FORMAT}\n{key}", every
        self._next = time.monotonic() + every

    def load(self, replicate: int) -> Kept | Finished | None:
        """What is kept of this replicate; ValueError if it is damaged, or of another run."""
        path = self._path(replicate)
        try:
            kept: dict[str, Any] = json.loads(read_sealed(path, self.key))
        except FileNotFoundError:
            return None
        except DamagedFileError:
            raise ValueError(
                f"{path} must belong to this run and be whole: give another folder, or remove it"
            ) from None
        measured = Measured(**{**kept["measured"], "messages": [Message(*line) for line in kept["messages"]]})
        if "rounds" in kept:
            return Finished(pd.DataFrame(kept["rounds"]), pd.DataFrame(kept["tasks"]), measured)
        state = kept["state"]
        params = np.frombuffer(base64.b64decode(state["params"]), kept["dtype"])
        rounds = [Round(*row) for row in state["rounds"]]
        remembered, forgotten = kept["remembered"], kept["forgotten"]
        if remembered is not None:
            remembered = Remembered(**cast(Any, plain_data.read(remembered, state["tasks"] or [])))
        state |= {"params": params, "rounds": rounds, "remembered": remembered}
        values = {int(version): row for version, row in kept["values"].items()}
        streams = [base64.b64decode(text) for text in kept["streams"]]
        return Kept(ServerState(**state), values, streams, measured, forgotten)

    def keep(self, replicate: int, server: Server, evaluations: Evaluations, engine: LiveEngine) -> None:
        """Write what the replicate can go on from, if it is time."""
        begin = time.monotonic()
        if begin < self._next:
            return
        state = server.state()
        measured = engine.measured_so_far()
        plain = {name: getattr(state, name) for name in ServerState.__dataclass_fields__ if name != "remembered"}
        remembered, forgotten = None, ""
        try:
            remembered = plain_data.written(vars(state.remembered), state.tasks or [])
        except plain_data.NotPlainError as problem:
            forgotten = str(problem)
        kept = {
            "remembered": remembered,
            "forgotten": forgotten,
            "state": {**plain, "params": base64.b64encode(state.params.tobytes()).decode()},
            "dtype": state.params.dtype.str,
            "values": evaluations.values,
            "streams": [base64.b64encode(stream).decode() for stream in engine.streams],
            **_plain(measured),
        }
        self._write(replicate, kept)
        end = time.monotonic()
        self._next = end + max(self.every, (end - begin) / MOST_OF_THE_TIME)

    def finish(self, replicate: int, finished: Finished) -> None:
        """Write the tables of a replicate that has ended."""
        tables = {name: getattr(finished, name).to_dict("list") for name in ("rounds", "tasks")}
        self._write(replicate, {**tables, **_plain(finished.measured)})

    def _write(self, replicate: int, kept: Mapping[str, object]) -> None:
        write_sealed(self._path(replicate), self.key, json.dumps(kept, default=_number).encode())

    def _path(self, replicate: int) -> Path:
        return self.folder / f"replicate-{replicate}.kept"


def _plain(measured: Measured) -> dict[str, object]:
    numbers = {name: value for name, value in asdict(measured).items() if name != "messages"}
    return {"measured": numbers, "messages": measured.messages}


def _number(value: object) -> object:
    """A number of numpy as one of Python."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} cannot be kept")
