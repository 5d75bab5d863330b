"""Independent computations on all cores, with a progress bar."""

import importlib
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import cast
from warnings import catch_warnings, filterwarnings

import joblib
from tqdm import tqdm

from simulations.processes import parallel


def in_parallel(what: str, calls: list) -> list:
    """Results of ``joblib.delayed`` calls, in their order, with progress on stderr."""
    with begun(calls) as results:
        return list(tqdm(results, total=len(calls), desc=what, leave=False, disable=None))


@contextmanager
def begun(calls: list) -> Iterator[Iterator]:
    """Begin with ``joblib.delayed`` calls; results come as they are asked for, in their order.

    The processes end if the block is left before, as by Ctrl-C.
    """
    with catch_warnings(), closing(cast(Generator, parallel(-1, "generator")(calls))) as results:
        filterwarnings("ignore", message=".* tasks which were still being processed")  # an interruption is meant to
        yield results


def started_processes() -> AbstractContextManager[Iterator]:
    """Start the processes that ``in_parallel`` will use.  Each loads what most figures need.

    They are ready when the result is exhausted; until then this process can do something else.
    """
    return begun([joblib.delayed(_load)("paper_figs.study") for _ in range(joblib.cpu_count())])


def _load(module: str) -> None:
    importlib.import_module(module)
