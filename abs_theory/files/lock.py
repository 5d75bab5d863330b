"""One writer at a time: the lock of a folder of results."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from abs_theory.files.sealed import UNFINISHED

__all__ = ["locked"]


@contextmanager
def locked(folder: Path, inner: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Lock ``folder`` for one process at a time, with a file in its folder ``inner``, and remove unfinished files.

    The system releases the lock however the process ends.  Raises OSError if another process still has it after
    ``wait_seconds``, ValueError if ``folder`` is a file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder), "results"):
    ...     print(*(path.name for path in Path(folder).iterdir()))
    results
    """
    from filelock import FileLock, Timeout

    if folder.exists() and not folder.is_dir():
        raise ValueError(f"the results go to a folder, but {folder} is a file: give another one")
    (folder / inner).mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / inner / ".lock", timeout=wait_seconds)
    try:
        lock.acquire()
    except Timeout:
        raise OSError(f"another run is writing to {folder}: wait for it, or give another folder") from None
    except NotImplementedError:
        raise OSError(f"the file system of {folder} cannot lock files: give a folder on another one") from None
    try:
        for unfinished in [*folder.glob(UNFINISHED), *(folder / inner).glob(UNFINISHED)]:
            unfinished.unlink(missing_ok=True)
        yield
    finally:
        lock.release()
