"""Independent computations on all cores, with a progress bar."""

from tqdm import tqdm

from simulations.processes import parallel


def in_parallel(what: str, calls: list) -> list:
    """Results of ``joblib.delayed`` calls, in their order, with progress on stderr."""
    results = parallel(-1, "generator")(calls)
    return list(tqdm(results, total=len(calls), desc=what, leave=False, disable=None))
