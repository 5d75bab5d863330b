"""The page of all figures in a folder: one HTML file that needs nothing beside itself.

Each figure comes with its claim, its numbers, its configuration and the command that makes it again.
"""

import base64
import html
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from paper_figs.catalogue import FIGURES, Config

ROWS = 250  # of a table that are shown; the file it links to has all

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem; color: #1a1a1a }
nav a { margin-right: 1em; white-space: nowrap }
section { border-top: 1px solid #ccc; margin-top: 2.5rem }
figure { margin: 1rem 0 } img { max-width: 100%; height: auto } figcaption { font-weight: 600; max-width: 50rem }
pre { background: #f4f4f4; padding: .6rem; overflow-x: auto } summary { cursor: pointer; margin: .4rem 0 }
.numbers { overflow: auto; max-height: 28rem } .missing { color: #666 }
table { border-collapse: collapse; font: 13px/1.4 ui-monospace, monospace }
th, td { padding: .1rem .6rem; text-align: right; white-space: nowrap }
td:first-child, th:first-child { text-align: left }
th { position: sticky; top: 0; background: #fff; border-bottom: 1px solid #888 }
tr:nth-child(even) td { background: #f7f7f7 }
"""


@dataclass(frozen=True)
class Card:
    """How a figure in a folder was made."""

    size: str
    config: Config
    seconds: float  # its computation took, once

    def write(self, out: Path, name: str) -> None:
        _card(out, name).write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, out: Path, name: str) -> Self | None:
        """None if the figure is not in this folder."""
        path = _card(out, name)
        return cls(**json.loads(path.read_text())) if path.exists() else None

    @staticmethod
    def remove(out: Path, name: str) -> None:
        _card(out, name).unlink(missing_ok=True)


def _card(out: Path, name: str) -> Path:
    return out / f"{name}.json"


def write(out: Path) -> Path:
    """Write ``index.html`` from the figures in ``out``; returns its path."""
    sections = "\n".join(section(out, name) for name in FIGURES)
    contents = "\n".join(f'<a href="#{name}">{name}</a>' for name in FIGURES)
    path = out / "index.html"
    path.write_text(
        f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Straggler- and staleness-aware SGD: the figures</title><link rel="icon" href="data:,">
<style>{_STYLE}</style></head>
<body>
<h1>Straggler- and staleness-aware SGD: the figures</h1>
<p>Every figure with its claim, its numbers, how it was configured and how to make it again. All times are in seconds;
the mean delay of a worker is 1 s unless said otherwise.</p>
<nav>{contents}</nav>
{sections}
</body>
</html>
"""
    )
    return path


def section(out: Path, name: str) -> str:
    """One figure, or how to draw it if it is not there yet."""
    figure, card = FIGURES[name], Card.read(out, name)
    title = html.escape(figure.title)
    head = f'<section id="{name}"><h2>{name}</h2><p>{title}.</p>'
    size = "" if card is None or card.size == "default" else f" --{card.size}"
    command = f"<pre>python -m paper_figs {name}{size}</pre>"
    if card is None:
        return f'{head}<p class="missing">Not drawn yet:</p>{command}</section>'
    claim, data = html.escape(figure.claim), (out / f"{name}.csv").read_bytes()
    picture = base64.b64encode((out / f"{name}.png").read_bytes()).decode()
    table = getattr(figure.load(), "numbers", lambda table: table)(pd.read_csv(out / f"{name}.csv"))
    config = html.escape(json.dumps(card.config, indent=1))
    smaller = card.size == "quick" and figure.config("quick") != figure.config("default")
    look = " <em>Quick size, for a look: the claim is about the default size.</em>" if smaller else ""
    return f"""{head}
<figure><img alt="{claim}" src="data:image/png;base64,{picture}"><figcaption>{claim}{look}</figcaption></figure>
<details open><summary>Numbers</summary><div class="numbers">{as_html(table)}</div>
<p><a download="{name}.csv" href="data:text/csv;base64,{base64.b64encode(data).decode()}">{name}.csv</a>, the
whole table behind the figure</p></details>
<details><summary>Configuration ({card.size} size)</summary><pre>{config}</pre></details>
<p>To make it again (the computation took {card.seconds:.1f} s):</p>{command}
</section>"""


def as_html(table: pd.DataFrame) -> str:
    """A table of at most ``ROWS`` rows, evenly chosen, of numbers with four digits."""
    rows = np.unique(np.linspace(0, len(table) - 1, min(ROWS, len(table))).round().astype(int))
    note = "" if len(rows) == len(table) else f"<p>{len(rows)} of {len(table)} rows:</p>"
    shown = table.iloc[rows].to_html(index=False, border=0, na_rep="", float_format=lambda x: f"{x:.4g}")
    return note + shown
