"""Work on several processes, none of which outlives the process that started them."""

import atexit
import os
import signal
import threading
import time
from collections.abc import Iterable
from multiprocessing import resource_tracker
from types import ModuleType
from typing import Any, Literal

import joblib
from joblib.externals.loky.backend import resource_tracker as loky_tracker

from abs_theory.checks import check_n_jobs, explains_types

__all__ = ["end_with", "imported_ray", "parallel"]

WATCH_SECONDS = 1.0  # between two looks of a process at whether the process that started it still lives


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
