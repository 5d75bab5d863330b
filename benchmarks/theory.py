"""How fast is the theory, and how much faster than the alternatives?  ``python -m benchmarks`` prints one table.

Every line is a time, or a ratio of two things timed in turn in one run.  Times are CPU times, so other work on the
machine has little influence.  Each is the median of several repetitions, each ratio the median of their ratios.
"""

import math
import os
import platform
import time
from importlib.metadata import version

import numpy as np
from scipy import stats

from abs_theory import monte_carlo, order_stats, steady_state
from abs_theory.delays import (
    Delay,
    Erlang,
    Exponential,
    Gamma,
    LocalSteps,
    Lomax,
    Mixture,
    Pareto,
    Uniform,
    Weibull,
)
from abs_theory.steady_state import mean_field
from benchmarks.measure import Line, seconds
from benchmarks.random_cells import random_cell
from benchmarks.rivals import heap_loop, simpy_model
from paper_figs.laws import LAWS

GAMMA = Gamma(shape=4.0, scale=0.25)
LOGNORMAL, STALLS = LAWS["neither"], LAWS["decreasing hazard"]
TIMED: dict[str, Delay] = {
    "exponential": LAWS["constant hazard"],
    "shifted exponential": LAWS["increasing hazard"],
    "gamma": GAMMA,
    "Erlang": Erlang(steps=4, scale=0.25),
    "Weibull": Weibull(scale=1.0, shape=0.7),
    "lognormal": LOGNORMAL,
    "Pareto": Pareto(minimum=0.5, index=2.0),
    "Lomax": Lomax(scale=2.0, index=3.0),
    "uniform": Uniform(low=0.0, high=2.0),
    "hyper-exponential": STALLS,
    "mixture": Mixture(weights=(0.9, 0.1), components=(GAMMA, LOGNORMAL)),
    "sum of 5 lognormals": LocalSteps(LOGNORMAL, 5),
}


def order_statistics(quick: bool = False) -> list[Line]:
    """All n mean order statistics at once, against scipy, one rank after another."""
    n, ranks = 900, range(1, 901, 450 if quick else 60)
    law = stats.make_distribution(stats.gamma)(a=4.0)

    def loop():
        return [float(stats.order_statistic(law, r=r, n=n).mean()) for r in ranks]

    lines = []
    times = seconds({"ours": lambda: order_stats.means(Gamma(4.0, 1.0), n), "scipy": loop}, 1 if quick else 3)
    ratio = float(np.median(times["scipy"] / times["ours"])) * n / len(ranks)
    lines.append(
        Line(f"order_stats.means, n = {n}: scipy, from {len(ranks)} of the ranks, / ours", ratio, "x", minimum=50)
    )
    for name, law in TIMED.items():
        once = seconds({"ours": lambda law=law: order_stats.means(law, 1000)}, 1 if quick else 5)["ours"]
        lines.append(Line(f"order_stats.means, n = 1000, {name}", 1e3 * float(np.median(once)), "ms", maximum=20))
    return lines


def mean_field_grid(quick: bool = False) -> list[Line]:
    """A grid of 100 k and 20 bounds in one call: the limit of many workers, and with its correction for few."""
    n, bounds = 1000, np.append(np.arange(19), math.inf)
    ks = np.arange(5, n, 10)[:, None]
    lines = []
    for name in ("gamma",) if quick else ("gamma", "lognormal", "hyper-exponential", "Lomax"):
        law = TIMED[name]
        calls = {
            "mean_field.limit_round_time": lambda law=law: mean_field.limit_round_time(law, ks / n, bounds),
            "steady_state.abs_sgd, mean field": lambda law=law: steady_state.abs_sgd(
                law, ks, n, bounds, method="mean-field"
            ),
        }
        for what, times in seconds(calls, 1 if quick else 2).items():
            lines.append(Line(f"{what}, 100 x 20, {name}", float(np.median(times)), "s", maximum=1))
    return lines


def auto_grid(quick: bool = False) -> list[Line]:
    """The same size of grid, for 101 workers, with plain "auto": exact values and simulations with small errors."""
    n, bounds = 101, np.append(np.arange(19), math.inf)
    ks, each = (np.arange(1, n, 50), "2") if quick else (np.arange(1, n), "100")
    lines = []
    for name in ("gamma",) if quick else ("gamma", "lognormal", "hyper-exponential", "Lomax"):
        start = time.process_time()
        steady_state.abs_sgd(TIMED[name], ks[:, None], n, bounds)
        what = f"steady_state.abs_sgd, auto, n = {n}, {each} x 20, {name}"
        lines.append(Line(what, time.process_time() - start, "s", maximum=20))
    return lines


def auto_cells(quick: bool = False) -> list[Line]:
    """Plain "auto" for random laws, fleets, k and thresholds, one at a time."""
    cells = [random_cell(np.random.default_rng([11, seed])) for seed in range(6 if quick else 100)]
    times = []
    for cell in cells:
        start = time.process_time()
        steady_state.abs_sgd(*cell)
        times.append(time.process_time() - start)
    what = f"steady_state.abs_sgd, auto, one of {len(cells)} random cells"
    return [
        Line(f"{what}: median", 1e3 * float(np.median(times)), "ms", maximum=50),
        Line(f"{what}: slowest", max(times), "s", maximum=0.5),
    ]


def exact_chain(quick: bool = False) -> list[Line]:
    """The Markov chain of phase-type delays; the orientation is ours."""
    lines = []
    cells = [(Erlang(2, 0.5), 4, 8, 1), (STALLS, 5, 10, 2), (STALLS, 10, 20, None)]
    for law, k, n, bound in cells[:1] if quick else cells:
        call = {"ours": lambda law=law, k=k, n=n, bound=bound: steady_state.abs_sgd(law, k, n, bound, "exact")}
        once = float(np.median(seconds(call, 1)["ours"]))
        lines.append(Line(f"steady_state.abs_sgd, exact, k={k}, n={n}, bound {bound}, {type(law).__name__}", once, "s"))
    return lines


def simulation(
    law: Delay,
    k: int,
    n: int,
    bound: float,
    required: tuple[float, float | None, float | None],
    quick: bool = False,
) -> list[Line]:
    """Delivered tasks per second, of ours and of the rivals; drawing alone draws one delay for each."""
    rng = np.random.default_rng(0)
    replicates, rounds = (128, 6000) if k == 1 else (64, 40)
    plain, processes = (200_000, 20_000) if k == 1 else (150, 60)
    drawn = 500_000
    if quick:
        replicates, plain, processes, drawn = replicates // 16, plain // 10, processes // 10, drawn // 10
    tasks = {
        "ours": lambda: monte_carlo.abs_sgd(law, k, n, bound, rng, rounds // 2, replicates, warmup=rounds // 2),
        "heapq": lambda: heap_loop(law, k, n, bound, rng, plain),
        "SimPy": lambda: simpy_model(law, k, n, bound, rng, processes),
        "drawing": lambda: [law.sample(rng, 10_000) for _ in range(drawn // 10_000)],
    }
    delivered = {"ours": replicates * rounds * k, "heapq": plain * k, "SimPy": processes * k, "drawing": drawn}
    speed = {name: delivered[name] / times for name, times in seconds(tasks, 1 if quick else 5).items()}
    ratios = {name: float(np.median(speed["ours"] / rates)) for name, rates in speed.items()}
    heap, simpy, drawing = required
    case = f"{type(law).__name__}, n={n}, k={k}, {'no bound' if math.isinf(bound) else f'bound {bound:g}'}"
    return [
        *(Line(f"{case}: {name}", float(np.median(rates)) / 1e6, "M tasks/s") for name, rates in speed.items()),
        Line(f"{case}: ours / heapq", ratios["heapq"], "x", minimum=heap),
        Line(f"{case}: ours / SimPy", ratios["SimPy"], "x", minimum=simpy),
        Line(f"{case}: drawing / ours", 1 / ratios["drawing"], "x", maximum=drawing),
    ]


def main(quick: bool = False) -> None:
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "simpy"))
    print(f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {packages}")
    for part in (order_statistics, mean_field_grid, auto_grid, auto_cells, exact_chain):
        print(*part(quick), sep="\n", flush=True)
    for law in (GAMMA,) if quick else (Exponential(1.0), GAMMA, LOGNORMAL):
        within = None if isinstance(law, Exponential) else 3.0
        for bound in (3, math.inf):
            print(*simulation(law, 500, 1000, bound, (15, 60, within), quick), sep="\n", flush=True)
        print(*simulation(law, 1, 10_000, math.inf, (3, None, None), quick), sep="\n", flush=True)
