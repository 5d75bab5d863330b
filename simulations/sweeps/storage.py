"""Finished results in a folder: each in a file of its own, written completely or not at all, with a digest."""

import io
import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
import pandas as pd

from abs_theory.checks import explains_types
from abs_theory.files import DamagedFileError, locked, read_sealed, write_sealed

__all__ = ["Store", "Tables", "pack", "unpack"]

Tables = tuple[pd.DataFrame, ...]


class Store:
    """Tables by key (a text that can be a file name) in ``folder``, for one process at a time.

    Use it as a context, which locks the folder: the system releases the lock however the process ends.  A context
    within the context of the same Store is part of it.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder) / "results"
        self.damaged: list[Path] = []  # files whose content is not what is saved
        self._open: list[ExitStack] = []  # one for each context; the first holds the lock

    @classmethod
    def of(cls, out: "str | os.PathLike | Store") -> "Store":
        """The Store of a folder, or ``out`` itself if it is one."""
        return out if isinstance(out, Store) else cls(out)

    def __enter__(self) -> Self:
        context = ExitStack()
        if not self._open:
            context.enter_context(locked(self.folder.parent, self.folder.name))
        self._open.append(context)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.pop().close()

    def path(self, key: str) -> Path:
        """The file of the tables with this key."""
        return self.folder / f"{key}.result"

    def save(self, key: str, tables: Tables) -> Tables:
        """Write ``tables``, whose columns are numbers or texts, and return them as ``load`` will.

        Whatever happens, the file holds all of them or does not exist.
        """
        content = pack(tables)
        write_sealed(self.path(key), key, content)
        return unpack(content)

    def load(self, key: str) -> Tables | None:
        """The tables saved under ``key``; None if there are none, or if one byte of the file has changed."""
        try:
            return unpack(read_sealed(self.path(key), key))
        except FileNotFoundError:
            return None
        except DamagedFileError:
            self.damaged.append(self.path(key))
            return None

    def has(self, key: str) -> bool:
        """Whether tables are saved under ``key``, and no byte of their file has changed."""
        try:
            read_sealed(self.path(key), key)
        except (FileNotFoundError, DamagedFileError):
            return False
        return True


@explains_types
def pack(tables: Tables) -> bytes:
    """Tables, whose columns are numbers or texts, as bytes, without pickle; see also ``unpack``.

    >>> table = pd.DataFrame({"k": [1, 2], "protocol": ["k_sync", "k_async"]})
    >>> unpack(pack((table,)))[0].equals(table)
    True
    """
    content = io.BytesIO()
    columns = {f"{j} {name}": _plain(table[name]) for j, table in enumerate(tables) for name in table.columns}
    np.savez_compressed(content, **cast(Any, columns))  # the names begin with a digit, so that none is an argument
    return content.getvalue()


@explains_types
def unpack(content: bytes) -> Tables:
    """The tables that ``pack`` has made bytes of.

    >>> unpack(pack(()))
    ()
    """
    tables: dict[int, dict[str, np.ndarray]] = {}
    with np.load(io.BytesIO(content), allow_pickle=False) as columns:
        for column in columns.files:
            number, _, name = column.partition(" ")
            tables.setdefault(int(number), {})[name] = columns[column]
    return tuple(pd.DataFrame(tables[number]) for number in sorted(tables))


def _plain(column: pd.Series) -> np.ndarray:
    values = column.to_numpy()
    return values if values.dtype.kind in "biuf" else np.array(list(map(str, values)), dtype=str)
