"""Work on several processes, none of which outlives the process that started them."""

import atexit
import copyreg
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from functools import cached_property
from multiprocessing import resource_tracker
from types import ModuleType
from typing import Any, Literal

import cloudpickle
import joblib
from joblib.externals.loky.backend import resource_tracker as loky_tracker

from abs_theory.checks import check_n_jobs, explains_types

__all__ = ["UNSENDABLE", "check_sendable", "end_with", "explains_sending", "imported_ray", "parallel"]

UNSENDABLE = "leave out what belongs to this process, such as locks and open files"  # an advice
WATCH_SECONDS = 1.0  # between two looks of a process at whether the process that started it still lives

if sys.version_info < (3, 12):  # where each has a lock, without which a class of a script could not be sent
    copyreg.pickle(
        cached_property,
        lambda made: (cached_property, (made.func,), {"attrname": made.attrname, "__doc__": made.__doc__}),  # pyright: ignore
    )


@explains_types
def parallel(n_jobs: int, return_as: Literal["list", "generator", "generator_unordered"] = "list") -> joblib.Parallel:
    """``joblib.Parallel`` on ``n_jobs`` processes (-1: all cores) that exit within seconds after this one dies.

    They ignore Ctrl-C, which this process handles.

    >>> parallel(1)(joblib.delayed(abs)(number) for number in (-1, 2))
    [1, 2]
    """
    check_n_jobs(n_jobs)
    backend, _ = joblib.parallel.get_active_backend()
    if n_jobs == 1 or not isinstance(
        backend, joblib.parallel.BACKENDS["loky"]
    ):  # of another kind, if the caller says so
        return joblib.Parallel(n_jobs=n_jobs, return_as=return_as)
    return _Parallel(n_jobs=n_jobs, return_as=return_as, initializer=end_with, initargs=(os.getpid(),))


class _Parallel(joblib.Parallel):
    """A Parallel whose processes do not even see Ctrl-C while they start: they inherit what is blocked here."""

    def __call__(self, iterable: Iterable[object]) -> Any:
        if not self.return_generator or not hasattr(signal, "pthread_sigmask"):
            return super().__call__(iterable)
        for helper in (loky_tracker, resource_tracker):  # when they start, they let Ctrl-C through again
            helper.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().__call__(iterable)  # starts the processes; the results come later
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def check_sendable(parts: Mapping[str, object], advice: str) -> None:
    """Raise ValueError, with ``advice``, if one of the named ``parts`` cannot be sent to another process.

    >>> check_sendable({"problem": 1.0, "step_size": (step for step in (0.1, 0.2))}, "give n_jobs=1")
    Traceback (most recent call last):
    ValueError: step_size cannot be sent to other processes (cannot pickle 'generator' object): give n_jobs=1
    """
    for name, part in parts.items():
        try:
            cloudpickle.dumps(part)
        except Exception as failure:  # of any kind: objects may say themselves how they are pickled
            raise ValueError(f"{name} cannot be sent to other processes ({failure}): {advice}") from failure


@contextmanager
def explains_sending(
    parts: Mapping[str, object], advice: str, failures: type[Exception] = pickle.PicklingError
) -> Iterator[None]:
    """Say which of the named ``parts`` is to blame, if the block fails because it cannot be sent to another process.

    ``failures`` are those that may have this reason.  The parts are looked at only then: much data takes a while.
    """
    try:
        yield
    except BrokenExecutor as failure:
        if "un-serialize" not in str(failure):
            raise
        reason = str(failure.__cause__).rstrip("\"'\n ").splitlines()[-1]
        sent = f"one of {', '.join(parts)}"
        raise ValueError(f"{sent} cannot be read by other processes ({reason}): {advice}") from failure
    except failures:
        check_sendable(parts, advice)
        raise


def end_with(parent: int) -> None:
    """Exit when the process ``parent`` dies; ignore Ctrl-C.  At the end leave the modules to the system."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit.register(os._exit, 0)  # Python would take a second to take them apart

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def imported_ray() -> ModuleType:
    """Ray, which computes on other computers; ValueError if it is not installed."""
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError('Ray is not installed: install the extra "cluster" of this package') from None
    return ray
