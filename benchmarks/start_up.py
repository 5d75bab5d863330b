"""How long a user waits: for the help of each command, in times that of importing numpy, and for the explorer."""

import os
import subprocess
import sys
import time

import numpy as np

from benchmarks.measure import Line
from simulations.explore import LAWS, Setting, answer

MOST_TIMES_NUMPY = 4  # a command may take this many times as long as importing numpy
SLIDERS = {"fast": 0.3, "auto": 2.0}  # seconds for an answer while a slider moves, and for the accurate one
COMMANDS = {
    "python -m abs_theory --help": ["-m", "abs_theory", "--help"],
    "python -m simulations --help": ["-m", "simulations", "--help"],
    "python -m paper_figs --list": ["-m", "paper_figs", "--list"],
}


def start_up(repetitions: int = 5) -> list[Line]:
    """One line for each command: its CPU seconds over those of importing numpy, the median of runs that take turns."""
    programs = {"numpy": ["-c", "import numpy"], **COMMANDS}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repetitions + 1):
        for name, arguments in programs.items():
            start = _children_seconds()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(_children_seconds() - start)
    numpy_seconds = np.array(seconds["numpy"][1:])  # the first run fills the caches of the disk
    return [
        Line(
            f"{name}, over import numpy",
            float(np.median(np.array(seconds[name][1:]) / numpy_seconds)),
            "x",
            maximum=MOST_TIMES_NUMPY,
        )
        for name in COMMANDS
    ]


def explorer() -> list[Line]:
    """One line for each method: the CPU seconds of the answer that takes longest, over the laws of the explorer."""
    lines = []
    for method, limit in SLIDERS.items():
        longest = 0.0
        for law in LAWS.values():
            start = time.process_time()
            answer(Setting(law, n=63, k=17, max_staleness=3), method)
            longest = max(longest, time.process_time() - start)
        lines.append(Line(f"explorer, longest {method} answer", longest, "s", maximum=limit))
    return lines


def _children_seconds() -> float:
    """CPU seconds of all finished child processes."""
    times = os.times()
    return times.children_user + times.children_system


def main(quick: bool = False) -> None:
    print(*start_up(1 if quick else 5), *explorer(), sep="\n")
