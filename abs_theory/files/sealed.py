"""Files that are written completely or not at all, and are read only if no byte of them has changed.

This file loads no numerics, so that a look at what is kept is fast.
"""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["UNFINISHED", "DamagedFileError", "read_sealed", "replacing", "write_sealed"]

UNFINISHED = ".*.unfinished"  # files that are being written, or were when a process was killed
_MAGIC = b"abs-toolkit result 1 "


class DamagedFileError(ValueError):
    """A file is not what was written to it."""


def write_sealed(path: Path, key: str, content: bytes) -> None:
    """Write ``content`` with a digest of it and of ``key``, which says what it is; completely or not at all.

    See also ``read_sealed``, and ``replacing`` for files without a digest.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_sealed(Path(folder, "kept"), "numbers", b"1, 2")
    ...     read_sealed(Path(folder, "kept"), "numbers")
    b'1, 2'
    """
    _check_types(path, key)
    if not isinstance(content, bytes):
        raise ValueError(f"content must be bytes, got {type(content).__name__}")
    with replacing(path) as file:
        file.write(_MAGIC + _digest(key, content) + b"\n" + content)


def read_sealed(path: Path, key: str) -> bytes:
    """The content that ``write_sealed`` has written for ``key``.

    Raises DamagedFileError if the file is anything else, FileNotFoundError if there is none.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "kept")
    ...     write_sealed(path, "numbers", b"1, 2")
    ...     read_sealed(path, "numbers")
    b'1, 2'
    """
    _check_types(path, key)
    if path.exists() and not path.is_file():
        raise DamagedFileError(f"{path} is a folder or a device, not a file of results")
    head, _, content = path.read_bytes().partition(b"\n")
    if head != _MAGIC + _digest(key, content):
        raise DamagedFileError(f"{path} is not what was written")
    return content


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that replaces ``path`` in one step when the block ends; after an error ``path`` is unchanged.

    What a link points to is replaced, not the link.  To a device or a pipe, such as /dev/null, is written directly.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "table.csv")) as file:
    ...         print(file.write(b"k"), Path(folder, "table.csv").exists())
    ...     Path(folder, "table.csv").exists()
    1 False
    True
    """
    if not isinstance(path, Path):
        raise ValueError(f"path must be a pathlib.Path, got {path!r}")
    path = path.resolve()
    is_device = path.exists() and not path.is_file()
    unfinished = path if is_device else path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        with open(unfinished, "wb") as file:
            yield file
            file.flush()
            if not is_device:
                os.fsync(file.fileno())
        if not is_device:
            os.replace(unfinished, path)
            _sync_folder(path.parent)
    except BaseException as problem:
        if not is_device:
            unfinished.unlink(missing_ok=True)
        if isinstance(problem, OSError):
            raise OSError(problem.errno or errno.EIO, problem.strerror or str(problem), str(path)) from problem
        raise


def _check_types(path: object, key: object) -> None:
    if not (isinstance(path, Path) and isinstance(key, str)):
        raise ValueError(f"path must be a pathlib.Path and key a text, got {path!r} and {key!r}")


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
