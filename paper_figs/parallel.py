"""Independent computations on all cores, with a progress bar."""

import joblib
from tqdm import tqdm


def in_parallel(what: str, calls: list) -> list:
    """Results of ``joblib.delayed`` calls, in their order, with progress on stderr."""
    results = joblib.Parallel(n_jobs=-1, return_as="generator")(calls)
    return list(tqdm(results, total=len(calls), desc=what, leave=False, disable=None))
