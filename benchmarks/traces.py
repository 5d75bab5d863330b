"""Choices from measured traces, scored on rounds that they have not seen, and those of simpler rules.

    python -m benchmarks traces FOLDER [--csv FILE]
    python -m benchmarks traces --quick

FOLDER, or the environment variable ABS_TRACES, has CSV files with the columns dataset, round, worker, seconds.  Every
data set with at least 40 complete rounds is used; with --quick a drawn one, to see that it runs.  Choices are made from
the odd rounds, from 10 rounds, and from rounds that were censored when half of the workers had arrived.  They are
scored on the even rounds:

- k by gradients per second, all workers starting together;
- max_staleness at the chosen k, by the round time in replay;
- (k, max_staleness) by gradients per second in replay;
- (k, max_staleness) by the time to a target in replay, for little, some and much gradient noise.

"lost" is how much worse the choice is than the best candidate in hindsight; "-" means "not identified".
"""

import argparse
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from abs_theory import order_stats, traces
from abs_theory.bounds import Constants
from abs_theory.delays import Delay, Exponential, LogNormal, ShiftedExponential
from abs_theory.plan import decide, fit, plan
from abs_theory.plan.effects import table
from abs_theory.plan.replayed import TraceReplay
from abs_theory.traces import Trace

FEWEST_ROUNDS = 40  # complete; with fewer, halves of a data set are too short
SHORT_TRACE = 10  # rounds of the short trace that is shown
THRESHOLDS = (*decide.THRESHOLDS, math.inf)
NOISE = {"little": 0.1, "some": 1.0, "much": 10.0}  # sigma2, with L = 1, gap = 1 and TARGET
TARGET = 0.05
RIVALS = ("exponential", "shifted exponential", "lognormal", "plain arg max", "always all")


def folder_of_traces(given: str | None) -> Path | None:
    """The folder given, or that of ABS_TRACES."""
    name = given or os.environ.get("ABS_TRACES")
    return Path(name) if name else None


def data_sets(folder: Path) -> Iterator[tuple[str, Trace]]:
    """Every data set of the folder with enough complete rounds."""
    for path in sorted(folder.glob("*.csv*")):
        frame = pd.read_csv(path)
        if not {"dataset", "round", "worker", "seconds"} <= set(frame):
            continue  # another kind of data
        for name, part in frame.groupby("dataset"):
            trace = traces.from_frame(part.drop(columns="dataset"), warmup=0)
            if len(trace.complete) >= FEWEST_ROUNDS:
                yield str(name), trace


def drawn() -> Trace:
    """A small data set of workers with exponential times that begin at half a second."""
    rounds, workers = 2 * FEWEST_ROUNDS, 6
    seconds = ShiftedExponential(shift=0.5, scale=0.5).sample(np.random.default_rng(0), rounds * workers)
    index = {"round": np.repeat(np.arange(rounds), workers), "worker": np.tile(np.arange(workers), rounds)}
    return traces.from_frame(pd.DataFrame({**index, "seconds": seconds}), warmup=0)


def halves(trace: Trace) -> tuple[dict[str, Trace], np.ndarray]:
    """The traces that are shown to the rules, and the seconds of the rounds on which the rules are scored."""
    rounds = trace.complete.index.to_numpy()
    odd = trace.subset(rounds[1::2])
    shown = {"odd rounds": odd, f"{SHORT_TRACE} rounds": trace.subset(rounds[1::2][:SHORT_TRACE])}
    if trace.n > 1:
        shown["half censored"] = odd.waiting_for(max(1, trace.n // 2))
    return shown, trace.complete.to_numpy()[::2]


def rival_k(name: str, trace: Trace) -> int:
    """k by k / E[T_(k)] under one law fitted to all delays, or by a rule without a law."""
    data, n = table(trace), trace.n
    if name == "always all":
        return n
    if name == "plain arg max":
        seen = data.arrivals[:, np.isfinite(data.arrivals).all(axis=0)]
        return int(np.argmax(np.arange(1, seen.shape[1] + 1) / seen.mean(axis=0))) + 1
    x = data.seconds[data.observed]
    law: Delay = Exponential(float(x.mean()))
    if name == "shifted exponential":
        law = ShiftedExponential(shift=float(x.min()), scale=float(max(x.mean() - x.min(), 1e-9)))
    if name == "lognormal":
        fitted = next((f.law for f in fit.laws(x) if f.name == "lognormal"), None)
        law = fitted if isinstance(fitted, LogNormal) else law
    return int(np.argmax(np.arange(1, n + 1) / order_stats.means(law, n))) + 1


def lost_k(k: int, seconds: np.ndarray) -> float:
    """Gradients per second of the best k in hindsight over those of ``k``, less 1."""
    n = seconds.shape[1]
    rate = np.arange(1, n + 1) / np.sort(seconds, axis=1).mean(axis=0)
    return float(rate.max() / rate[k - 1]) - 1


def scoring_replay(seconds: np.ndarray) -> TraceReplay:
    """The replay of the rounds on which the rules are scored."""
    return TraceReplay(seconds, np.zeros(len(seconds), dtype=np.int64), np.random.default_rng(0), copies=2)


def grid(n: int) -> list[tuple[int, float]]:
    """All candidates in hindsight."""
    ks = np.unique(np.geomspace(1, n, 16).round().astype(int)).tolist()
    return [(k, t) for k in ks for t in (THRESHOLDS if k < n else (0.0,)) if t <= 8 * n / k or math.isinf(t)]


def trials(name: str, trace: Trace) -> list[dict[str, Any]]:
    """All rows of one data set."""
    shown, seconds = halves(trace)
    play = scoring_replay(seconds).play
    cells = grid(trace.n)
    rows = []

    def add(what: str, source: str, rule: str, choice: str, lost: float) -> None:
        rows.append({"data": name, "choice of": what, "from": source, "rule": rule, "chosen": choice, "lost": lost})

    for source, part in shown.items():
        answer = plan(part)
        lost = lost_k(answer.k, seconds) if answer.identified else math.nan
        add("k", source, "plan", str(answer.k), lost)
        for rule in RIVALS:
            k = rival_k(rule, part)
            add("k", source, rule, str(k), lost_k(k, seconds))
        if answer.setting is None or answer.ceiling is None:
            add("max_staleness", source, "plan", "-", math.nan)
            add("(k, max_staleness), gradients/s", source, "plan", "-", math.nan)
            for noise in NOISE:
                add(f"(k, max_staleness), {noise} noise", source, "plan", "-", math.nan)
            continue
        cell = answer.setting.k, answer.setting.max_staleness
        best = min(play(answer.k, t).round_time for k, t in [(answer.k, t) for t in THRESHOLDS])
        add("max_staleness", source, "plan", _words(*cell), play(*cell).round_time / best - 1)
        top = answer.ceiling.k, answer.ceiling.max_staleness
        slowest = min(play(*c).round_time / c[0] for c in [*cells, top])
        lost = play(*top).round_time / top[0] / slowest - 1
        add("(k, max_staleness), gradients/s", source, "plan", _words(*top), lost)
        for noise, sigma2 in NOISE.items():
            constants = Constants(L=1.0, sigma2=sigma2, gap=1.0)
            chosen = plan(part, constants=constants, target=TARGET)
            assert chosen.setting is not None
            cell = chosen.setting.k, chosen.setting.max_staleness
            needed = decide.times_to_target([*cells, cell], [play(*c) for c in [*cells, cell]], constants, TARGET)
            lost = needed[-1] / needed.min() - 1
            add(f"(k, max_staleness), {noise} noise", source, "plan", _words(*cell), float(lost))
    return rows


def _words(k: int, max_staleness: float) -> str:
    return f"{k}, {'none' if math.isinf(max_staleness) else f'{max_staleness:.0f}'}"


def compare(sets: Iterable[tuple[str, Trace]]) -> pd.DataFrame:
    """One row per data set, source, question and rule."""
    rows = [row for name, trace in sets for row in trials(name, trace)]
    if not rows:
        raise ValueError(f"there is no data set with {FEWEST_ROUNDS} complete rounds")
    return pd.DataFrame(rows)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks traces", description="Choices from measured traces, scored.")
    parser.add_argument("folder", nargs="?", help="with CSV files of traces [ABS_TRACES]")
    parser.add_argument("--quick", action="store_true", help="one small data set that is drawn, to see that it runs")
    parser.add_argument("--csv", help="write the table to this file")
    options = parser.parse_args(arguments)
    folder = folder_of_traces(options.folder)
    if options.quick:
        result = compare([("drawn", drawn())])
    elif folder is not None and folder.is_dir():
        result = compare(data_sets(folder))
    else:
        parser.error("give a folder of traces, or set ABS_TRACES, or try --quick")
    for (what, source), part in result.groupby(["choice of", "from"], sort=False):
        print(f"\n{what}, from {source}: chosen (lost, %)")
        part = part.assign(cell=[_cell(c, x) for c, x in zip(part["chosen"], part["lost"], strict=True)])
        print(part.pivot(index="data", columns="rule", values="cell")[part["rule"].unique()].to_string())
    mine = result[result["rule"] == "plan"]
    print(
        f"\nplan: {len(mine)} choices, {mine['lost'].isna().sum()} not identified, "
        f"worst of the others {mine['lost'].max():.1%} lost"
    )
    if options.csv:
        result.to_csv(options.csv, index=False)


def _cell(chosen: str, lost: float) -> str:
    return f"{chosen} (-)" if math.isnan(lost) else f"{chosen} ({100 * lost:.1f})"
