"""Time and memory to read a trace of ten million rows, and to plan from it: ``python -m benchmarks reading``.

The files are written to a temporary folder first.  Each is read, or planned from, in its own process, so that the peak
memory is that of one file.  Seconds are CPU time, so that other work on the machine has little influence.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from abs_theory import plan, traces

WORKERS, ROUNDS = 100, 100_000
MOST_SECONDS, MOST_GIB = 30, 2
GIB = 2**20  # ru_maxrss is in KiB


def write(folder: Path, workers: int = WORKERS, rounds: int = ROUNDS) -> list[Path]:
    """The same trace, with a status and text for worker names, in all formats."""
    rng = np.random.default_rng(0)
    seconds = rng.lognormal(0.0, 0.3, (rounds, workers)).round(6)
    names = [f"host-{i // 8}/gpu-{i % 8}" for i in range(workers)]
    frame = pd.DataFrame(
        {
            "round": np.repeat(np.arange(rounds), workers),
            "worker": np.tile(np.arange(workers), rounds),
            "seconds": seconds.ravel(),
        }
    )
    frame.to_csv(folder / "long.csv", index=False)
    frame.to_parquet(folder / "long.parquet")
    failed = rng.random(len(frame)) < 0.01
    frame = frame.assign(worker=pd.Categorical.from_codes(frame["worker"].tolist(), pd.Index(names)))
    frame["status"] = np.where(failed, "failed", "ok")
    frame.sample(frac=1, random_state=0).to_csv(
        folder / "text, failures, unsorted.csv.gz", index=False, compression={"method": "gzip", "compresslevel": 1}
    )
    wide = pd.DataFrame(seconds, columns=names)
    wide.to_csv(folder / "wide.csv")
    wide.to_parquet(folder / "wide.parquet")
    return sorted(folder.iterdir())


def measure(path: Path, planned: bool) -> tuple[float, float, int]:
    """Seconds to read ``path`` and, if ``planned``, to write a plan; the peak memory in GiB, and the attempts."""
    start = time.process_time()
    trace = traces.read(path)
    if planned:
        plan.write(plan.plan(trace), path.with_name("plan"))
    took = time.process_time() - start
    return took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIB, len(trace.attempts)


def main(quick: bool = False) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), rounds=ROUNDS // 100 if quick else ROUNDS)
        print(f"{'file':<36}{'':<10}{'rows':>12}{'s':>8}{'GiB':>8}   wanted: {MOST_SECONDS} s, {MOST_GIB} GiB")
        for path, planned in product(paths, (False, True)):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                took, memory, rows = pool.apply(measure, (path, planned))
            met = "yes" if took < MOST_SECONDS and memory < MOST_GIB else "NO"
            task = "plan" if planned else "reading"
            print(f"{path.name:<36}{task:<10}{rows:>12,}{took:>8.1f}{memory:>8.2f}   {met}")


if __name__ == "__main__":
    sys.exit(main())
