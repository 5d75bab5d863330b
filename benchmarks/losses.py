"""Choices of k from short traces with heavy tails: how many are called identified, and how many of those lose much.

    python -m benchmarks losses [--repetitions 40] [--csv FILE]

Delays are independent draws of one law.  "lost" is how much the best k in hindsight has more gradients per second than
the chosen one, by the exact E[T_(k)] of the law.  A trace of R rounds of n workers contains no stall of share s with
probability (1 - s)^(R n), and then looks the same as one of a fleet without stalls.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import pandas as pd

from abs_theory import order_stats, traces
from abs_theory.delays import Delay, LogNormal, Mixture, Pareto
from abs_theory.plan.arrivals import mean_arrivals
from abs_theory.plan.decide import KChoice, choose_k
from abs_theory.plan.evidence import gather
from abs_theory.plan.losses import PlausibleMeans

WORKERS = (4, 8, 16, 32)
ROUNDS = (10, 20, 60)
STALLS = ((0.005, 30.0), (0.01, 10.0), (0.02, 5.0), (0.02, 20.0), (0.05, 10.0))  # share, usual delays
LAWS: dict[str, Delay] = {
    **{f"lognormal {sigma}": LogNormal(1.0, sigma) for sigma in (1.0, 1.5, 2.0, 2.5)},
    **{f"Pareto {index}": Pareto(1.0, index) for index in (1.5, 2.0, 2.5, 3.0)},
    **{
        f"stalls {share:.1%} x {length:.0f}": Mixture((1 - share, share), (LogNormal(1.0, 0.1), LogNormal(length, 0.1)))
        for share, length in STALLS
    },
}
LIGHT: dict[str, Delay] = {f"lognormal {sigma}": LogNormal(1.0, sigma) for sigma in (0.1, 0.3)}
MUCH = 0.05  # share of the gradients per second


def choices(
    laws: dict[str, Delay],
    repetitions: int,
    seed: int = 0,
    workers: Sequence[int] = WORKERS,
    rounds: Sequence[int] = ROUNDS,
) -> pd.DataFrame:
    """One row for each choice: law, n, rounds, k, identified, lost, expected, upper, needed."""
    rows = []
    for name, law in laws.items():
        for n in workers:
            rate = np.arange(1, n + 1) / order_stats.means(law, n)
            for num in rounds:
                rng = np.random.default_rng((seed, n, num))
                for _ in range(repetitions):
                    choice = choice_of_k(law.sample(rng, (num, n)), rng)
                    lost = rate.max() / rate[choice.k - 1] - 1
                    losses = choice.expected_loss, choice.upper_loss, choice.further_rounds
                    rows.append((name, n, num, choice.k, choice.identified, lost, *losses))
    return pd.DataFrame(rows, columns=["law", "n", "rounds", "k", "identified", "lost", "expected", "upper", "needed"])


def choice_of_k(seconds: np.ndarray, rng: np.random.Generator) -> KChoice:
    """What a plan chooses from complete rounds, without its replay."""
    evidence = gather(trace_of(seconds), None, rng)
    means = mean_arrivals(evidence.rounds, evidence.round_effects, rng, evidence.completed)
    return choose_k(evidence, means, PlausibleMeans(evidence, rng), rng)


def trace_of(seconds: np.ndarray) -> traces.Trace:
    """A trace of complete rounds."""
    num, n = seconds.shape
    index = {"round": np.repeat(np.arange(num), n), "worker": np.tile(np.arange(n), num)}
    return traces.from_frame(pd.DataFrame({**index, "seconds": seconds.ravel()}), warmup=0)


def shares(outcome: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Share of choices that are identified, and share of these that lose much, by groups."""
    wrong = outcome["identified"] & (outcome["lost"] > MUCH)
    groups = outcome.assign(wrong=wrong, much=outcome["lost"] > MUCH).groupby(by, sort=False)
    table = groups[["identified", "wrong", "much"]].mean()
    return table.assign(wrong_of_identified=table["wrong"] / table["identified"]).drop(columns="wrong")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks losses", description="Choices from traces with heavy tails.")
    parser.add_argument("--repetitions", type=int, default=40, help="per law, number of workers and of rounds")
    parser.add_argument("--quick", action="store_true", help="few workers, rounds and repetitions, to see that it runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", help="write the choices to this file")
    options = parser.parse_args(arguments)
    repetitions = 1 if options.quick else options.repetitions
    size = {"workers": WORKERS[:2], "rounds": ROUNDS[:2]} if options.quick else {}
    outcome = choices(LAWS, repetitions, options.seed, **size)
    light = choices(LIGHT, max(repetitions // 4, 1), options.seed, **size)
    for title, table in (("Heavy tails and rare stalls", outcome), ("Light tails", light)):
        print(f"\n{title}\n{shares(table, ['rounds']).round(3).to_string()}")
        print(shares(table, ["law", "rounds"]).unstack("rounds").round(3).to_string())
    if options.csv:
        pd.concat([outcome, light]).to_csv(options.csv, index=False)
