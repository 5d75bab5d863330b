"""Independent computations on all cores, with a progress bar."""

import importlib
from collections.abc import Generator
from contextlib import closing
from typing import cast

import joblib
from tqdm import tqdm

from simulations.processes import parallel


def in_parallel(what: str, calls: list) -> list:
    """Results of ``joblib.delayed`` calls, in their order, with progress on stderr."""
    with closing(cast(Generator, parallel(-1, "generator")(calls))) as results:  # after Ctrl-C the processes end
        return list(tqdm(results, total=len(calls), desc=what, leave=False, disable=None))


def started_processes() -> Generator[None]:
    """Start the processes that ``in_parallel`` will use.  Each loads what most figures need.

    They are ready when the result is exhausted; until then this process can do something else.
    """
    calls = [joblib.delayed(_load)("paper_figs.study") for _ in range(joblib.cpu_count())]
    return cast(Generator[None], parallel(-1, "generator")(calls))


def _load(module: str) -> None:
    importlib.import_module(module)
