"""Files of strangers, opened so that none of them takes all memory or never ends."""

import gzip
import io
import os
import stat
import zlib
from pathlib import Path
from typing import IO

__all__ = ["check_not_archive", "check_unpacked", "open_input"]

MOST_UNPACKED_BYTES = 4 * 2**30  # of one file; more than 10^8 rows of a trace
MOST_TIMES_PACKED = 200  # tables of numbers shrink 3 to 30 times; gzip reaches 1000 times where every row is the same
UNSUSPICIOUS_BYTES = 64 * 2**20  # up to here a file may unpack to any multiple of its size
GZIP = b"\x1f\x8b"
OTHER_ARCHIVES = {b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstandard"}


def open_input(path: Path, most_bytes: int | None = None) -> IO[bytes]:
    """Open a regular file to read its content, which is unpacked if its first bytes are those of gzip.

    Raises ValueError if ``path`` is a folder, a device, a pipe or another archive, or if it holds more than
    ``most_bytes`` when it is unpacked (default: 4 GiB); while it is read, also if it is damaged, or unpacks to
    suspiciously many times its size; the messages do not name it.  Raises OSError if it cannot be opened.

    >>> import gzip, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "table.csv.gz")
    ...     _ = path.write_bytes(gzip.compress(b"round,worker"))
    ...     with open_input(path) as file:
    ...         file.read()
    b'round,worker'
    """
    if not isinstance(path, Path):
        raise ValueError(f"path must be a pathlib.Path, got {path!r}")
    most_bytes = _limit(most_bytes)
    # a pipe that nobody writes to would wait here for ever without O_NONBLOCK
    file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")
    try:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("the file must be a regular one, but is a device or a pipe: copy its content to a file")
        head = file.read(max(map(len, OTHER_ARCHIVES)))
        file.seek(0)
        check_not_archive(head)
        packed_bytes = os.fstat(file.fileno()).st_size
        if head.startswith(GZIP):
            return io.BufferedReader(_Unpacked(file, packed_bytes, most_bytes))
        check_unpacked(packed_bytes, most_bytes)
        return file
    except BaseException:
        file.close()
        raise


def check_not_archive(head: bytes) -> None:
    """Raise ValueError if ``head`` begins an archive other than gzip.

    >>> check_not_archive(b"round,worker")
    >>> check_not_archive(b"BZh91AY")
    Traceback (most recent call last):
    ...
    ValueError: the file must be plain or compressed by gzip, it is compressed by bzip2: unpack it
    """
    for mark, kind in OTHER_ARCHIVES.items():
        if head.startswith(mark):
            raise ValueError(f"the file must be plain or compressed by gzip, it is compressed by {kind}: unpack it")


def check_unpacked(size: int, most_bytes: int | None = None) -> None:
    """Raise ValueError if a file unpacks to more than ``most_bytes`` (default: 4 GiB).

    >>> check_unpacked(10**6)
    """
    most_bytes = _limit(most_bytes)
    if _checked_bytes("size", size) > most_bytes:
        most = f"{most_bytes / 2**30:.3g} GiB"
        raise ValueError(f"the file must hold at most {most} when it is unpacked: split it, or thin it out")


def _limit(most_bytes: int | None) -> int:
    return MOST_UNPACKED_BYTES if most_bytes is None else _checked_bytes("most_bytes", most_bytes)


def _checked_bytes(name: str, number: int) -> int:
    if not isinstance(number, int):
        raise ValueError(f"{name} must be a whole number of bytes, got {name}={number!r}")
    return number


class _Unpacked(io.RawIOBase):
    """The content of a gzip file, up to ``most_bytes``."""

    def __init__(self, packed: IO[bytes], packed_bytes: int, most_bytes: int) -> None:
        self._packed, self._file = packed, gzip.GzipFile(fileobj=packed)
        self._packed_bytes, self._most_bytes, self._size = packed_bytes, most_bytes, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        try:
            count = self._file.readinto(buffer)  # pyright: ignore[reportArgumentType]
        except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
            raise ValueError(f"the file is cut short or damaged: {problem}") from None
        self._size += count
        check_unpacked(self._size, self._most_bytes)
        if self._size > max(UNSUSPICIOUS_BYTES, MOST_TIMES_PACKED * self._packed_bytes):
            raise ValueError(
                f"the file unpacks to more than {MOST_TIMES_PACKED} times its size: unpack it first, if you trust it"
            )
        return count

    def close(self) -> None:
        self._file.close()
        self._packed.close()
        super().close()
