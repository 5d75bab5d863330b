"""What the theory says, at a prompt: ``python -m abs_theory round-time | choose | plan | rollouts``.

Only what the help texts need is imported here; each command imports the rest when it runs.
"""

from abs_theory import loading

if __name__ == "__main__":
    loading("abs_theory")

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abs_theory import choose
from abs_theory.bounds import Constants
from abs_theory.choose import Budget, Goal, Search, Target
from abs_theory.command_line import (
    Command,
    all_or_none,
    check_file,
    check_folder,
    check_outputs,
    column_roles,
    new_app,
    one_line,
    option,
    option_of,
    run_app,
    table_text,
    working_on,
    wrapped,
)
from abs_theory.files import replacing
from abs_theory.rollouts import command as rollouts
from abs_theory.steady_state import METHODS
from abs_theory.traces import format_names

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

    from abs_theory.delays import Delay
    from abs_theory.plan import Plan

PICTURES = (".pdf", ".png", ".svg")
RECIPE_NAMES = ("ray", "pytorch", "flower", "rollouts", "python")  # keys of ``plan.RECIPES``, which is slow to load
UNCOUNTED = 1e7  # updates, from which on they are not shown one by one
MOST_WORKERS = 10**6  # each takes some hundred bytes
MOST_PROBABILITIES = 10**7  # of a staleness, for all k together

app = new_app("Round times, staleness and the best choices for SGD with stragglers. Nothing is trained.")

Laws = Annotated[
    list[str],
    option(
        "LAW",
        'seconds a task takes: "gamma:shape=4,scale=0.25", "hyper-exponential:probs=.9|.1,means=1/3|7", '
        '"empirical:FILE"; for unequal workers several, as "exponential:mean=1 x 15"',
        "--delay",
    ),
]
Workers = Annotated[int, option("N", "workers", "-n", min=1, max=MOST_WORKERS)]
Ks = Annotated[list[int] | None, option_of(Search, "k", "-k", default="all; 56 to 90 of them if n > 128", min=1)]
Method = Annotated[str, option("WORD", ", ".join(METHODS))]
Seed = Annotated[int, option("INTEGER", "of Monte Carlo, where it is used", min=0)]
Csv = Annotated[Path | None, option("FILE", "write the whole table to this file")]


@app.command("round-time", cls=Command)
def round_time(
    delay: Laws,
    n: Workers,
    max_staleness: Annotated[str, option("UPDATES", "staler workers restart; none: nobody does")] = "none",
    k: Ks = None,
    method: Method = "auto",
    seed: Seed = 0,
    csv: Csv = None,
    picture: Annotated[Path | None, option("FILE", f"draw it to this file, {' or '.join(PICTURES)}")] = None,
) -> None:
    """Round time, staleness, messages and lost time for each k."""
    import numpy as np
    import pandas as pd

    from abs_theory import steady_state
    from abs_theory.choose import candidates
    from abs_theory.delays.text import delay_laws, files_of_laws

    check_file("--csv", csv)
    check_file("--picture", picture, PICTURES)
    check_outputs([("--csv", csv), ("--picture", picture)], [("--delay", path) for path in files_of_laws(delay)])
    laws, ks = delay_laws(delay, n), np.array(k) if k else candidates.coarse(n)
    rng = _rng(laws, n, method, seed)

    def rows(ks: "np.ndarray") -> pd.DataFrame:
        state = steady_state.abs_sgd(laws, ks, n, _threshold(max_staleness), method, rng)
        return pd.DataFrame(
            {
                "k": ks,
                "round_time": state.round_time,
                "error": state.error.round_time,
                "mean_staleness": state.mean_staleness,
                "restarts": state.restarts,
                "messages": state.uplinks + state.downlinks,
                "idle_share": state.idle_fraction,
                "wasted_share": state.wasted_fraction,
                "method": state.method,
            }
        )

    # the laws of the staleness, up to n updates for each k, are not kept for all k at once
    parts = math.ceil(ks.size * n / MOST_PROBABILITIES)
    table = pd.concat([rows(part) for part in np.array_split(ks, parts)], ignore_index=True)
    written = _write(table, csv)  # before anything is printed: a reader such as head may close the pipe
    if picture is not None:
        with replacing(picture) as file:
            _draw(table, n, max_staleness).savefig(file, format=picture.suffix[1:].lower())
        written.append(picture)
    bound = "none (nobody restarts)" if math.isinf(_threshold(max_staleness)) else max_staleness
    words = f"n = {n}, max_staleness {bound}; per round, in seconds; error: half-width of round_time; "
    print(wrapped(f"{words}staleness: mean, in updates; idle, wasted: shares of worker time"))
    names = {"mean_staleness": "staleness", "idle_share": "idle", "wasted_share": "wasted"}  # short, for 80 columns
    print(table_text(table.rename(columns=names), "{:.4g}"))
    print(*written, sep="\n", end="\n" if written else "")


@app.command("choose", cls=Command)
def choose_(  # noqa: PLR0913
    delay: Laws,
    n: Workers,
    L: Annotated[float, option_of(Constants, "L", "--L")],
    sigma2: Annotated[float, option_of(Constants, "sigma2")],
    gap: Annotated[float, option_of(Constants, "gap")],
    noise_curvature: Annotated[float | None, option_of(Constants, "noise_curvature", default="L")] = None,
    noise_curvature2: Annotated[float | None, option_of(Constants, "noise_curvature2", default="L^2")] = None,
    target: Annotated[float | None, option_of(Target, "error", "--target")] = None,
    time_budget: Annotated[float | None, option_of(Budget, "seconds", "--time-budget")] = None,
    objective: Annotated[str, option_of(Target, "objective")] = Target.objective,
    model: Annotated[str, option_of(Goal, "model")] = Goal.model,
    max_staleness: Annotated[list[str] | None, option_of(Search, "max_staleness", default=choose.SEARCH)] = None,
    k: Ks = None,
    step_size: Annotated[list[float] | None, option_of(Search, "step_size", default="the best for each k")] = None,
    message_seconds: Annotated[float, option_of(Search, "message_seconds")] = Search.message_seconds,
    by_the_clock: Annotated[bool, typer.Option("--by-the-clock", help="also: k and threshold as time goes on")] = False,
    method: Method = "auto",
    seed: Seed = 0,
    csv: Csv = None,
) -> None:
    """Which k, threshold and step to use, how it compares, and why."""
    from abs_theory.delays.text import delay_laws, files_of_laws

    check_file("--csv", csv)
    check_outputs([("--csv", csv)], [("--delay", path) for path in files_of_laws(delay)])
    laws = delay_laws(delay, n)
    constants = Constants(L, sigma2, gap, noise_curvature=noise_curvature, noise_curvature2=noise_curvature2)
    if by_the_clock and noise_curvature is None:
        raise ValueError("--by-the-clock takes --noise-curvature as well, which says how fast noise is forgotten")
    goal = _goal(target, time_budget, objective, model)
    thresholds = [_threshold(text) for text in max_staleness] if max_staleness else choose.SEARCH
    search = Search(k or None, thresholds, step_size or None, message_seconds=message_seconds)
    rng = _rng(laws, n, method, seed)
    # before anything is printed, because it may fail
    expected = _goal(target, time_budget, Target.objective, Goal.model)
    table = choose.timetable(laws, n, constants, expected, search, None, method, rng) if by_the_clock else None
    choice = choose.best(laws, n, constants, goal, search, method, rng)
    written = _write(choice.curve, csv)
    _print_choice(choice)
    if table is not None:
        _print_timetable(table)
    print(*written, sep="\n", end="\n" if written else "")


def _goal(target: float | None, time_budget: float | None, objective: str, model: str) -> Goal:
    """The goal that the options describe."""
    from abs_theory.checks import check_positive

    if target is not None and time_budget is None:
        check_positive("--target", target)
        return Target(target, objective, model=model)
    if time_budget is None or target is not None:
        raise ValueError("give --target (a mean squared gradient norm) or --time-budget (seconds), one of the two")
    if objective != Target.objective:
        raise ValueError(f'objective "{objective}" is for a target: give --target, not --time-budget')
    check_positive("--time-budget", time_budget)
    return Budget(time_budget, model=model)


def _print_choice(choice: "choose.Choice") -> None:
    print(wrapped(str(choice)))
    words = f"""Alternatives (ratio: of {choice.minimised}, to this choice; max_staleness none: nobody restarts; error:
        half-width of round_time, in seconds)"""
    print(f"\n{wrapped(one_line(words))}")
    compared = choice.alternatives().rename(columns={"round_time_error": "error"})
    columns = ["ratio", "k", "max_staleness", "step_size", "round_time", "error", "updates", "seconds", "messages"]
    shown, formats = _readable(compared[[*columns, "gradient_norm2"]]), {"updates": _count}
    print(table_text(shown, "{:.4g}", index=True, formats=formats))


def _count(updates: float) -> str:
    """A number of updates rounded up, as in the words of a choice; with four digits if nobody will ever count them."""
    return f"{math.ceil(updates)}" if updates < UNCOUNTED else f"{updates:.4g}"


def _print_timetable(table: "choose.Timetable") -> None:
    words = f"""By the clock: step_size = {table.step_size:.4g}, {_count(table.updates)} updates,
        {table.seconds:.4g} s, {table.messages:.4g} messages;
        mean squared gradient norm over time {table.gradient_norm2:.4g}"""
    print(f"\n{wrapped(one_line(words))}")
    print(table_text(_readable(table.stairs), "{:.4g}"))


def _readable(table: "pd.DataFrame") -> "pd.DataFrame":
    return table.replace({"max_staleness": {math.inf: "none"}})


@app.command("plan", cls=Command, short_help="k and max_staleness from measured delays, and what they save.")
def plan_(  # noqa: PLR0913
    trace: Annotated[Path, typer.Argument(metavar="TRACE", hidden=True)],
    after: Annotated[Path | None, typer.Argument(metavar="AFTER", hidden=True)] = None,
    n: Annotated[int | None, option("N", "workers to plan for [those of the trace]", "-n", min=1)] = None,
    L: Annotated[float | None, option("NUMBER", "smoothness; with the next 3: minimise time to target", "--L")] = None,
    sigma2: Annotated[float | None, option_of(Constants, "sigma2")] = None,
    gap: Annotated[float | None, option_of(Constants, "gap")] = None,
    target: Annotated[float | None, option_of(Target, "error", "--target")] = None,
    unit: Annotated[str | None, option("UNIT", "of the times in the file: s, ms, us or ns")] = None,
    dataset: Annotated[str | None, option("NAME", "which, if the file has several")] = None,
    warmup: Annotated[str, option("ROUNDS", "first rounds to leave out, or auto")] = "auto",
    since: Annotated[int | None, option("ROUND", "first round to use, as after a change [the first]")] = None,
    format: Annotated[str | None, option("WORD", f"{format_names()} [by its content]")] = None,
    columns: Annotated[list[str] | None, option("ROLE=NAME,...", "roles of columns: round=step,worker=rank")] = None,
    ignore: Annotated[list[str] | None, option("COLUMN", "to leave out; repeat for several")] = None,
    decimal: Annotated[str | None, option("MARK", '"." or ",", where numbers in text allow both readings')] = None,
    rounds: Annotated[int | None, option("N", "length of a training run: what it costs, in hours", min=1)] = None,
    price: Annotated[str | None, option("PRICE", "of one worker, as 2.5/h; with --rounds: also in money")] = None,
    recipe_for: Annotated[str | None, option("NAME", f"what to type: {', '.join(RECIPE_NAMES)}", "--for")] = None,
    seed: Seed = 0,
    out: Annotated[Path, option("FOLDER", "folder for plan.html and plan.json")] = Path("plan"),
) -> None:
    """From measured delays to k, max_staleness and what they save: a page of text, plan.html and plan.json.

    TRACE is a file, or a folder of such files: CSV, Parquet or xlsx with a row for each attempt of a worker. Needed
    columns: round, worker, seconds (or start and end). Optional: status (ok, failed, cancelled, censored, not asked),
    unit, k_waited, version_read, version_applied, compute_s, comm_s, dataset. A small one is examples/trace.csv.

    Or a table of seconds, a row for each round and a column for each worker; JSON records; or a profiler's timeline.

    With a second trace, AFTER, both are compared instead: round times, delays, spread, and worker by worker.

    L, sigma2 and gap of your own model: simulations.problems.constants estimates them for a model in Python. Without
    it, gap is the first loss minus the least one of a loss curve; docs/howto.md shows both.
    """
    from abs_theory import plan as planning
    from abs_theory import traces

    for name, path in (("TRACE", trace), ("AFTER", after)):
        if path is not None and not path.exists():
            raise ValueError(
                f"{name} must be a file or a folder, there is no {path}; its columns: round, worker, seconds, ... "
                "(--help)"
            )
    check_folder("--out", out)
    read_from = [("TRACE", trace), *([] if after is None else [("AFTER", after)])]
    kind = "plan" if after is None else "comparison"
    check_outputs([("--out", out / f"{kind}.{suffix}") for suffix in ("html", "json")], read_from)
    if price is not None and rounds is None:
        raise ValueError("--price takes --rounds as well: the number of rounds of a training run")
    worker_price = None if price is None else planning.price(price)
    if recipe_for is not None and recipe_for not in RECIPE_NAMES:
        raise ValueError(f"--for must be one of {', '.join(RECIPE_NAMES)}, got {recipe_for!r}")
    given = {"--L": L, "--sigma2": sigma2, "--gap": gap, "--target": target}
    of_one = {**given, "-n": n, "--rounds": rounds, "--price": price, "--for": recipe_for, "--since": since}
    if after is not None and (used := [name for name, value in of_one.items() if value is not None]):
        raise ValueError(f"two traces are compared without a plan: leave out {', '.join(used)}, or AFTER")
    known = all_or_none("to minimise the time to a target", given)
    constants = Constants(L, sigma2, gap) if known else None  # pyright: ignore[reportArgumentType]
    if warmup != "auto" and not warmup.isdecimal():
        raise ValueError(f'warmup must be a whole number >= 0, or "auto", got {warmup!r}')
    skip = warmup if warmup == "auto" else int(warmup)
    roles = column_roles(columns or [], several="worker")

    def read(path: Path) -> traces.Trace:
        working_on(f"reading {path.name}")
        try:
            measured = traces.read(
                path, unit=unit, warmup=skip, format=format, dataset=dataset, columns=roles, ignore=ignore or (),
                decimal=decimal,
            )  # fmt: skip
            return measured if since is None else measured.since(since)
        except ValueError as problem:
            raise ValueError(_as_options(str(problem))) from None

    if after is not None:
        comparison = planning.compare(read(trace), read(after), seed=seed)
        written = planning.write_comparison(comparison, out, planning.Origin.of_command(trace, after))
        print(wrapped(_as_options("\n".join(comparison.lines))), *written, sep="\n")
        return
    measured = read(trace)
    working_on(f"planning from {measured.rounds} rounds of {measured.n} workers")
    result = planning.plan(measured, n, constants=constants, target=target, seed=seed)
    working_on("drawing the page")
    cost = None if rounds is None else planning.cost(result, rounds, worker_price)
    written = planning.write(result, out, cost, planning.Origin.of_command(trace))
    *paragraphs, curve = planning.sentences(result)
    print(wrapped(_as_options("\n".join(paragraphs))), curve, sep="\n")
    if cost is not None:
        print("", wrapped("\n".join(cost.lines)), sep="\n")
    _print_recipe(result, recipe_for)
    print(*written, sep="\n")


def _print_recipe(result: "Plan", name: str | None) -> None:
    from abs_theory.plan import recipe

    if name is None:
        print(wrapped(f"\nWhat to type: --for {', '.join(RECIPE_NAMES)}; plan.html has them all"))
        return
    found = recipe(result, name)
    print(wrapped(f"\nWhat to type: {found.title}\n{found.can}"))
    print(f"\n{found.code}")
    remarks = {
        "What it does not do": found.cannot,
        "What a restart is": found.restart,
        "Checked against": found.version,
    }
    print(wrapped("\n".join(f"{title}: {text}" for title, text in remarks.items())))


app.command("rollouts", cls=Command, short_help="Modes of asynchronous RL of language models, and which to use.")(
    rollouts.rollouts
)


def _as_options(text: str) -> str:
    """``text`` with the arguments of the library, such as unit=ms, as options of the command."""
    return re.sub(r"\b(unit|warmup|since|format|dataset|columns|ignore|decimal)=(?=\S)", r"--\1 ", text)


def _threshold(text: str) -> float:
    """``max_staleness`` as typed."""
    if text.lower() == "none":
        return math.inf
    if not text.isdecimal():
        raise ValueError(f'max_staleness must be a whole number >= 0, or "none", got {text!r}')
    return float(text)


def _rng(laws: "Delay | list[Delay]", n: int, method: str, seed: int) -> "np.random.Generator | None":
    """A generator for Monte Carlo if it is asked for, or if nothing else works; "auto" would use it everywhere."""
    import numpy as np

    from abs_theory.workers import as_workers

    needed = method == "monte-carlo" or (method == "auto" and as_workers(laws, n).has_atoms)
    return np.random.default_rng(seed) if needed else None


def _write(table: "pd.DataFrame", csv: Path | None) -> list[Path]:
    """Write the table, if a file is asked for, and return what was written."""
    if csv is None:
        return []
    with replacing(csv) as file:
        table.to_csv(file, index=False)
    return [csv]


def _draw(table: "pd.DataFrame", n: int, max_staleness: str) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.errorbar(table["k"], table["round_time"], table["error"], fmt=".-", capsize=2)
    left.set(xlabel="k", ylabel="round time (s)", title=f"n = {n}, max_staleness {max_staleness}")
    right.plot(table["k"], table["mean_staleness"], ".-", label="mean staleness")
    right.plot(table["k"], table["restarts"], ".-", label="restarts per round")
    right.set(xlabel="k")
    right.legend()
    return figure


def run() -> None:
    """Run the command; a mistake of the caller ends it with one line on stderr and status 2."""
    run_app(app, "abs_theory", OSError, ValueError, ArithmeticError, timed=True)


if __name__ == "__main__":
    run()
