"""``python -m abs_theory rollouts``: which mode of generation to use, for the lengths of one's own log."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from abs_theory.bounds import Constants
from abs_theory.choose import Target
from abs_theory.command_line import (
    all_or_none,
    check_file,
    check_outputs,
    column_roles,
    option,
    option_of,
    table_text,
    wrapped,
)
from abs_theory.rollouts.names import HEADINGS

if TYPE_CHECKING:
    from abs_theory.rollouts.comparison import Comparison

__all__ = ["rollouts"]

LEGEND = (
    "mean, p99, max: staleness of trained tasks, in updates from their start to their use. tokens/s: of trained tasks "
    "only. lost: share of the tasks that are stopped or dropped; tail batching trains them later. long: share of the "
    "longest tasks among the trained ones, over their fair share. method: exact, mean-field (an approximation) or "
    "monte-carlo (a simulation). --csv, --json and --page give more columns."
)


def rollouts(  # noqa: PLR0913
    lengths: Annotated[
        str, option("FILE|LAW", "tokens of an answer: CSV, Parquet or JSON lines, also gzipped; or a law")
    ],
    batch: Annotated[int, option("N", "rollouts of an update, or groups", min=1)],
    slots: Annotated[int, option("N", "rollouts, or groups, that are generated at the same time", min=1)],
    group: Annotated[int, option("N", "answers to a prompt; batch and slots then count prompts", min=1)] = 1,
    trainer_seconds: Annotated[float, option("SECONDS", "of an update", min=0)] = 0.0,
    seconds_per_token: Annotated[
        float | None, option("SECONDS", "of one answer, > 0 [those of the file, else 0.02]")
    ] = None,
    gpus: Annotated[float | None, option("N", "for generation, > 0")] = None,
    slowdown: Annotated[float, option("SECONDS", "per token for each further task on the same GPU", min=0)] = 0.0,
    columns: Annotated[
        list[str] | None, option("ROLE=NAME,...", "of the file, where names are not the usual: tokens=n_out,group=pid")
    ] = None,
    tolerance: Annotated[str, option("WHAT:UPDATES", "staleness: p99:8, mean:2 or max:4")] = "p99:8",
    fair: Annotated[float, option("SHARE", "of its fair share that the longest tenth must keep", min=0, max=1)] = 0.9,
    L: Annotated[
        float | None, option("NUMBER", "smoothness; with the next 3: minimise the time to a target", "--L")
    ] = None,
    sigma2: Annotated[float | None, option("NUMBER", "noise variance of the gradient of one rollout, or group")] = None,
    gap: Annotated[float | None, option_of(Constants, "gap")] = None,
    target: Annotated[float | None, option_of(Target, "error", "--target")] = None,
    csv: Annotated[Path | None, option("FILE", "write the whole table to this file")] = None,
    json: Annotated[Path | None, option("FILE", "write table, advice and settings to this file")] = None,
    page: Annotated[Path | None, option("FILE", "write a page with pictures to this file, .html")] = None,
) -> None:
    """Modes of asynchronous reinforcement learning of language models: speed, staleness, lost rollouts; and which.

    A file has a column of tokens. Optional columns: probability, weight or count; group, the prompt of an answer;
    seconds; step; status. Usual names of logs are known, such as response_length, completion_tokens, prompt_id and
    latency_ms.
    """
    from abs_theory.checks import check_positive
    from abs_theory.delays.text import files_of_laws
    from abs_theory.rollouts import Objective, Setup, Tolerance, compare, read_lengths

    check_file("--csv", csv)
    check_file("--json", json)
    check_file("--page", page, (".html",))
    outputs = [("--csv", csv), ("--json", json), ("--page", page)]
    check_outputs(outputs, [("--lengths", path) for path in (Path(lengths), *files_of_laws([lengths]))])
    tolerated = Tolerance.of(tolerance, fair)
    objective = None
    if all_or_none(
        "to minimise the time to a target", {"--L": L, "--sigma2": sigma2, "--gap": gap, "--target": target}
    ):
        check_positive("target", target)
        objective = Objective(Constants(L, sigma2, gap), Target(target))  # pyright: ignore[reportArgumentType]
    roles = {role: str(name) for role, name in column_roles(columns or []).items()}
    data = read_lengths(lengths, group, roles)
    if seconds_per_token is not None:
        check_positive("--seconds-per-token", seconds_per_token)
    if gpus is not None:
        check_positive("--gpus", gpus)
    speed = seconds_per_token or data.seconds_per_token or 0.02
    setup = Setup(data.task(group), batch, slots, trainer_seconds, speed, slowdown, gpus)
    comparison = replace(compare(setup, tolerated, group, data.law, objective=objective), notes=data.notes)
    written = _write(comparison, data.words, csv, json, page)
    print(wrapped("\n".join([f"{comparison.conditions(data.words)}.", *comparison.notes, LEGEND])))
    print()
    print(readable(comparison))
    print()
    print(wrapped(f"Recommended: {comparison.why}\n{comparison.what_to_type}"))
    for path in written:
        print(path)


def _write(comparison: "Comparison", words: str, csv: Path | None, json: Path | None, page: Path | None) -> list[Path]:
    """Write the files that are asked for; which."""
    from abs_theory.files import replacing
    from abs_theory.rollouts import write_page

    if csv is not None:
        with replacing(csv) as part:
            part.write(comparison.table.to_csv(index=False).encode())
    if json is not None:
        with replacing(json) as part:
            part.write(comparison.to_json(words).encode())
    if page is not None:
        write_page(comparison, words, page)
    return [path for path in (csv, json, page) if path is not None]


def readable(comparison: "Comparison") -> str:
    """The table as text, without the columns that a narrow terminal has no room for."""
    left_out = {"slots_busy", "staleness_p90"}
    if "tokens_per_second_per_gpu" in comparison.table:
        left_out.add("tokens_per_second")
    table = comparison.readable().drop(columns=left_out)
    table = table.rename(columns=HEADINGS).replace({"max": {float("inf"): "none"}})
    return table_text(table, "{:.3g}")
