"""Independent computations on all cores, with a progress bar."""

from collections.abc import Generator
from contextlib import closing
from typing import cast

from tqdm import tqdm

from simulations.processes import parallel


def in_parallel(what: str, calls: list) -> list:
    """Results of ``joblib.delayed`` calls, in their order, with progress on stderr."""
    with closing(cast(Generator, parallel(-1, "generator")(calls))) as results:  # after Ctrl-C the processes end
        return list(tqdm(results, total=len(calls), desc=what, leave=False, disable=None))
