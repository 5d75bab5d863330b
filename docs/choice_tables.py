"""Write the tables of ``docs/choice.md`` from ``docs/choice.csv``: ``python docs/choice_tables.py``.

    python -m benchmarks choice --csv docs/choice.csv

measures the numbers.
"""

from pathlib import Path

import pandas as pd
from marks import command, filled

CSV, PAGE = (Path(__file__).with_name(name) for name in ("choice.csv", "choice.md"))
RIVALS = ("best member", "best constant")


def measured() -> pd.DataFrame:
    """One row per problem, law and proposal, see ``benchmarks.choice.trial``."""
    return pd.read_csv(CSV)


def by_the_clock(rows: pd.DataFrame) -> str:
    """What the timetable takes beside the best member and the best constant pair."""
    lines = [
        "| problem, delays | best member, tuned | its time | best constant, tuned | its time "
        "| by the clock | predicted | over best member | over best constant |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows[rows["choice"] == "timetable, own step"].to_dict("records"):
        rivals = " | ".join(f"{row[rival]} | {row[f'{rival}, seconds']:.1f} s" for rival in RIVALS)
        ratios = " | ".join(_ratio(row, rival) for rival in RIVALS)
        took = f"{row['seconds']:.1f} s | {row['predicted']:.1f} s"
        lines.append(f"| {row['problem']}, {row['law']} | {rivals} | {took} | {ratios} |")
    return "\n".join(lines) + "\n"


def constant(rows: pd.DataFrame) -> str:
    """What the proposed constant pairs take, with the proposed step and with a tuned one."""
    lines = [
        "| problem, delays | model | k, threshold | step | predicted | took | over best constant | over best member |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows[rows["choice"] != "timetable, own step"].to_dict("records"):
        model, step = row["choice"].removesuffix(" step").split(", ")
        cells = [f"{row['problem']}, {row['law']}", model, row["chosen"], f"{row['step']:.3g} {step}"]
        cells += [f"{row['predicted']:.1f} s", f"{row['seconds']:.1f} s", *(_ratio(row, r) for r in reversed(RIVALS))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _ratio(row: dict, rival: str) -> str:
    ratio, low, high, verdict = (row[f"{rival}, {what}"] for what in ("ratio", "low", "high", "verdict"))
    mark = {"miss": " **miss**", "open": " *open*"}.get(verdict, "")
    return f"{ratio:.2f} [{low:.2f}, {high:.2f}]{mark}"


def in_page(text: str) -> str:
    """``text`` with both tables between their marks."""
    rows = measured()
    for name, table in (("by the clock", by_the_clock), ("constant", constant)):
        text = filled(text, name, "choice_tables.py", table(rows))
    return text


if __name__ == "__main__":
    command(__doc__)
    PAGE.write_text(in_page(PAGE.read_text()))
