"""Finished results in a folder: each in a file of its own, written completely or not at all, with a digest."""

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

__all__ = ["Store", "Tables", "replacing"]

_MAGIC = b"abs-toolkit result 1 "
UNFINISHED = ".*.unfinished"  # files that are being written
Tables = tuple[pd.DataFrame, ...]


class Store:
    """Tables by key (a text that can be a file name) in ``folder``, for one process at a time.

    Use it as a context, which locks the folder: the system releases the lock however the process ends.  A context
    within the context of the same Store is part of it.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder) / "results"
        self.damaged: list[Path] = []  # files whose content is not what was saved
        self._lock = FileLock(self.folder / ".lock", timeout=0)

    @classmethod
    def of(cls, out: "str | os.PathLike | Store") -> "Store":
        """The Store of a folder, or ``out`` itself if it is one."""
        return out if isinstance(out, Store) else cls(out)

    def __enter__(self) -> Self:
        folder = self.folder.parent
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"the results go to a folder, but {folder} is a file: give another one")
        self.folder.mkdir(parents=True, exist_ok=True)
        first = not self._lock.is_locked
        try:
            self._lock.acquire()
        except Timeout:
            raise OSError(f"another run is writing to {folder}: wait for it, or give another folder") from None
        except NotImplementedError:
            raise OSError(f"the file system of {folder} cannot lock files: give a folder on another one") from None
        if first:
            for unfinished in [*folder.glob(UNFINISHED), *self.folder.glob(UNFINISHED)]:  # of a process that was killed
                unfinished.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()

    def path(self, key: str) -> Path:
        """The file that keeps the tables under ``key``."""
        return self.folder / f"{key}.result"

    def save(self, key: str, tables: Tables) -> Tables:
        """Write ``tables``, whose columns are numbers or texts, and return them as ``load`` will.

        Whatever happens, the file holds all of them or does not exist.
        """
        content = io.BytesIO()
        columns = {f"{j} {name}": _plain(table[name]) for j, table in enumerate(tables) for name in table.columns}
        np.savez_compressed(content, allow_pickle=False, **cast(Any, columns))
        with replacing(self.path(key)) as file:
            file.write(_MAGIC + _digest(key, content.getvalue()) + b"\n" + content.getvalue())
        return _unpacked(content.getvalue())

    def load(self, key: str) -> Tables | None:
        """The tables saved under ``key``; None if there are none, or if one byte of the file has changed."""
        try:
            content = self.path(key).read_bytes()
        except FileNotFoundError:
            return None
        head, _, content = content.partition(b"\n")
        if head != _MAGIC + _digest(key, content):
            self.damaged.append(self.path(key))
            return None
        return _unpacked(content)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that replaces ``path`` in one step when the block ends; after an error ``path`` is unchanged."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        with open(unfinished, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        _sync_folder(path.parent)
    except BaseException as problem:
        unfinished.unlink(missing_ok=True)
        if isinstance(problem, OSError):
            raise OSError(problem.errno or errno.EIO, problem.strerror or str(problem), str(path)) from problem
        raise


def _unpacked(content: bytes) -> Tables:
    tables: dict[int, dict[str, np.ndarray]] = {}
    with np.load(io.BytesIO(content), allow_pickle=False) as columns:
        for column in columns.files:
            number, _, name = column.partition(" ")
            tables.setdefault(int(number), {})[name] = columns[column]
    return tuple(pd.DataFrame(tables[number]) for number in sorted(tables))


def _plain(column: pd.Series) -> np.ndarray:
    values = column.to_numpy()
    return values if values.dtype.kind in "biuf" else np.array(list(map(str, values)), dtype=str)


def _digest(key: str, content: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\n" + content).hexdigest().encode()


def _sync_folder(folder: Path) -> None:
    """Write the new name in ``folder`` to the disk, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
