"""Modes of asynchronous reinforcement learning of language models: speed against staleness and against length bias."""

import itertools
import math
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from abs_theory.delays import Delay, Empirical
from abs_theory.results import Estimate, TrainerState
from abs_theory.rollouts import Setup, admission, batches, over_sampling, synchronous, tail_batching
from paper_figs import style
from paper_figs.parallel import in_parallel
from simulations import protocols
from simulations.experiment import simulate
from simulations.problems import TimingOnly
from simulations.server import Protocol

CLAIM = (
    "128 slots, batches of 32, answers as long as those of deepseek-r1. How far generation may run ahead bounds the "
    "mean staleness, not the largest: one batch ahead, 1 in 100 rollouts is stale by 11 updates or more. A threshold "
    "bounds the largest, but starves long answers: up to 8 updates, none of the longest tenth is trained. Training in "
    "the order of the starts, or nearly, bounds the largest without bias, but is slower than running ahead by a factor "
    "of 3 or more. Tail batching trains on nothing stale and all long answers, and is about as slow. If long answers "
    "must keep their share, running ahead is the fastest."
)
TOKENS = Path(__file__).parents[1] / "data" / "deepseek_r1.csv"
LOOKS = {  # colour, marker and dashes of each mode
    "runs ahead": ("#009E73", "P", "-"),
    "stopped in flight": ("#D55E00", "o", "-"),
    "dropped at arrival": ("#E69F00", "v", "--"),
    "in order": ("#0072B2", "s", ":"),
    "in a window": ("#56B4E9", "^", ":"),
    "over-sampling": ("#7F7F7F", "D", "none"),
    "tail batching": ("#CC79A7", "X", "none"),
}
MEAN_SECONDS = 1.0  # of an answer
LONGEST = 0.1  # share of the tasks that count as long
QUICK = {
    "n": 128, "k": 32, "update_seconds": 0.05, "ahead": [1.0, 3.0], "thresholds": [1, 4], "updates": 60,
    "replicates": 8, "seed": 6,
}  # fmt: skip
DEFAULT = {
    "n": 128, "k": 32, "update_seconds": 0.05, "ahead": [0.25, 0.5, 1.0, 2.0, 3.0], "thresholds": [1, 2, 4, 8, 16],
    "updates": 80, "replicates": 10, "seed": 5,
}  # fmt: skip
FULL = DEFAULT | {"updates": 300, "replicates": 30}


def compute(
    n: int, k: int, update_seconds: float, ahead: list[float], thresholds: list[int], updates: int, replicates: int,
    seed: int,
) -> pd.DataFrame:  # fmt: skip
    """Per mode and knob: theory and simulation of speed (to the synchronous mode), staleness, share of long answers."""
    law = lengths()
    setup = Setup(law, k, n, update_seconds)
    base = synchronous(setup).solve(law, update_seconds).round_time
    cells = [("over-sampling", 0.0), ("tail batching", 0.0)]
    cells += itertools.product(("runs ahead", "in order", "in a window"), ahead)
    cells += list(itertools.product(("stopped in flight", "dropped at arrival"), map(float, thresholds)))
    cells = [(mode, knob) for mode, knob in cells if not mode.startswith("in ") or knob == int(knob)]
    effort = {"updates": updates, "replicates": replicates, "seed": seed}
    calls = [joblib.delayed(compared)(setup, law, base, mode, knob, **effort) for mode, knob in cells]
    return pd.DataFrame(in_parallel("rollouts", calls))


def compared(setup: Setup, law: Delay, base: float, mode: str, knob: float, **effort: int) -> dict[str, object]:
    """The row of one mode and knob; ``base`` are the seconds of a round of the synchronous mode."""
    slots = tail_batching(setup).slots if mode == "tail batching" else setup.slots
    runs = simulated(law, mode, knob, slots, setup.batch, setup.trainer_seconds, **effort)
    state = theory(setup, law, mode, knob)
    row: dict[str, object] = {"mode": mode, "knob": knob, "solved": str(state.method), "speed": base / state.round_time}
    row |= {"speed_error": base / state.round_time**2 * state.error.round_time}
    row |= {"mean": state.mean_staleness, "p99": state.staleness_quantile(0.99)}
    row |= {"long": state.long_share(law, LONGEST), "lost": state.lost_share}
    speed = Estimate.of(base / runs["round_time"])
    row |= {"speed_simulated": speed.mean, "speed_half_width": speed.half_width()}
    return row | {f"{name}_simulated": runs[name].mean() for name in ("mean", "p99", "largest", "long")}


def lengths() -> Delay:
    """The lengths of answers, in seconds of mean 1."""
    table = pd.read_csv(TOKENS)
    tokens, weights = table["tokens"].to_numpy(float), table["probability"].to_numpy()
    return Empirical(tokens * MEAN_SECONDS / np.average(tokens, weights=weights), weights)


def theory(setup: Setup, law: Delay, mode: str, knob: float) -> TrainerState:
    """The long run of a mode; without a formula for it, by Monte Carlo."""
    chosen = {
        "over-sampling": lambda: over_sampling(setup),
        "tail batching": lambda: tail_batching(setup),
        "runs ahead": lambda: admission(setup, knob),
        "in order": lambda: admission(setup, knob, window=1),
        "in a window": lambda: admission(setup, knob, window=setup.batch),
        "stopped in flight": lambda: batches(setup, int(knob), in_flight=True),
        "dropped at arrival": lambda: batches(setup, int(knob), in_flight=False),
    }[mode]()
    return chosen.solve(law, setup.trainer_seconds)


def protocol(mode: str, knob: float, k: int) -> Protocol:
    """The protocol that plays a mode."""
    return {
        "over-sampling": lambda: protocols.abs_sgd(k, 0),
        "tail batching": lambda: protocols.tail_batching(k),
        "runs ahead": lambda: protocols.admission(k, knob),
        "in order": lambda: protocols.admission(k, knob, window=1),
        "in a window": lambda: protocols.admission(k, knob, window=k),
        "stopped in flight": lambda: protocols.abs_batch(k, knob),
        "dropped at arrival": lambda: protocols.abs_batch(k, knob, in_flight=False),
    }[mode]()


def simulated(
    law: Delay, mode: str, knob: float, n: int, k: int, update_seconds: float, *, updates: int, replicates: int,
    seed: int,
) -> pd.DataFrame:  # fmt: skip
    """Round time, staleness (mean, 99 % quantile, largest) and share of long tasks, a row for each replicate."""
    rounds, tasks = simulate(
        protocol(mode, knob, k), TimingOnly(), law, n, step_size=1.0, num_updates=updates, replicates=replicates,
        seed=seed, update_seconds=update_seconds, jobs=True, n_jobs=1,
    )  # fmt: skip
    first = updates // 3
    late = rounds[rounds["update"] >= first].groupby("replicate")["time"]
    applied = tasks[tasks["applied_version"] > first]
    stale = (applied["applied_version"] - 1 - applied["read_version"]).groupby(applied["replicate"])
    long = (applied["end"] - applied["start"] > float(law.isf(LONGEST)) * (1 + 1e-9)).groupby(applied["replicate"])
    fair = float(law.sf(law.isf(LONGEST)))
    return pd.DataFrame(
        {
            "round_time": (late.last() - late.first()) / (late.size() - 1),
            "mean": stale.mean(),
            "p99": stale.quantile(0.99, interpolation="lower"),
            "largest": stale.max(),
            "long": long.mean() / fair,
        }
    )


def draw(table: pd.DataFrame) -> Figure:
    fig = Figure(figsize=(style.PAGE, 3.3), layout="constrained")
    axes = fig.subplots(1, 2, sharey=True)
    for mode, rows in table.groupby("mode", sort=False):
        color, marker, dashes = LOOKS[str(mode)]
        for ax, name in zip(axes, ("p99", "long"), strict=True):
            ax.plot(rows[name], rows["speed"], color=color, linestyle=dashes, zorder=2)
            style.points(
                ax, rows[f"{name}_simulated"], rows["speed_simulated"], rows["speed_half_width"], color=color,
                marker=marker, markersize=5,
            )  # fmt: skip
    axes[0].set_xscale("symlog", linthresh=1)
    last = max(table["p99"].max(), table["p99_simulated"].max())
    ticks = [0, *(2**i for i in range(math.ceil(math.log2(max(last, 2))) + 1))]
    axes[0].set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axes[0].minorticks_off()
    axes[0].set(xlabel="99 % quantile of the staleness (updates)", ylabel="updates per second,\n"
                "synchronous = 1", ylim=(0, None), xlim=(-0.2, None))  # fmt: skip
    axes[1].set(xlabel="share of the longest tenth among the trained,\nover its fair share", xlim=(-0.05, 1.1))
    handles = [
        style.key(mode, color=color, marker=marker, linestyle=dashes, markersize=5)
        for mode, (color, marker, dashes) in LOOKS.items()
    ]
    fig.legend(
        handles=handles, loc="outside upper center", ncols=4, title="lines: theory (in order, in a window of one "
        "batch: Monte Carlo); points: event simulation with 95 % intervals",
    )  # fmt: skip
    return fig
