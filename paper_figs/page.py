"""The page of all figures in a folder: a gallery, then each figure with its claim, numbers and configuration.

It is one HTML file that needs nothing beside itself.  It is made from the files of the figures alone, so writing it
imports no figure.
"""

import csv
import datetime
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Self

from abs_theory.files import replacing
from abs_theory.pages import data_uri, render
from paper_figs.catalogue import FIGURES, ROOT, Config

__all__ = ["MAX_ROWS", "PAGE", "Card", "digest_of", "numbers_of", "write"]

PAGE = "index.html"
MAX_ROWS = 250  # of a table that are shown; the file it links to has all
THUMBNAIL_PIXELS = 480  # width
KINDS = {"pdf": "application/pdf", "svg": "image/svg+xml", "csv": "text/csv"}


@dataclass(frozen=True)
class Card:
    """How a figure in a folder was made."""

    size: str  #: quick, default or full
    config: Config  #: what it was computed with
    seconds: float  #: its computation took, once
    made: str = ""  #: when the numbers were computed, and by which version of the toolkit
    drawn_from: str = ""  #: digest of all that the picture depends on
    panels: str = ""  #: what the axes of the picture show
    #: digest of each file of the figure, by its name, so that damage is noticed
    digests: Mapping[str, str] = field(default_factory=dict)

    def write(self, out: Path, name: str) -> None:
        """Write the card, as NAME.json."""
        content = asdict(self)
        with replacing(_card(out, name)) as file:
            file.write(json.dumps({**content, "digest": _digest_of_card(content)}, indent=1).encode() + b"\n")

    @classmethod
    def read(cls, out: Path, name: str) -> Self | None:
        """The card of a figure; None if it is not in this folder, is damaged, or of another version."""
        try:
            content = json.loads(_card(out, name).read_text())
            return cls(**content) if content.pop("digest") == _digest_of_card(content) else None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    def damaged(self, paths: Iterable[Path]) -> list[Path]:
        """Those of the files ``paths`` of the figure that are missing, or not what was written."""
        return [path for path in paths if not path.is_file() or digest_of(path) != self.digests.get(path.name)]

    @staticmethod
    def remove(out: Path, name: str) -> None:
        """Mark a figure as not drawn."""
        _card(out, name).unlink(missing_ok=True)


def digest_of(path: Path) -> str:
    """A digest of the content of a file."""
    return _digest(path.read_bytes())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _digest_of_card(content: Mapping[str, object]) -> str:
    return _digest(json.dumps(content).encode())


def _card(out: Path, name: str) -> Path:
    return out / f"{name}.json"


def numbers_of(out: Path, name: str) -> Path:
    """Where the short table of a figure is: a file of its own, or that of the whole table."""
    short = out / f"{name}-numbers.csv"
    return short if short.exists() else out / f"{name}.csv"


def write(out: Path) -> Path:
    """Write ``index.html`` from the figures in ``out``; returns its path."""
    page = render(
        Path(__file__).with_name("index.html"),
        title="Straggler- and staleness-aware SGD: the figures",
        version=_version(),
        date=datetime.date.today().isoformat(),
        figures=[_shown(out, name) for name in FIGURES],
    )
    path = out / PAGE
    with replacing(path) as file:
        file.write(page.encode())
    return path


def _version() -> str:
    try:
        return metadata.version("abs-toolkit")
    except metadata.PackageNotFoundError:  # run from its folder without installation
        return "unknown"


def _shown(out: Path, name: str) -> dict[str, object]:
    """What the page says of one figure."""
    figure, card = FIGURES[name], Card.read(out, name)
    size = "" if card is None or card.size == "default" else f" --{card.size}"
    values = {"name": name, "title": figure.title, "claim": figure.claim, "card": card, "thumbnail": ""}
    values["command"] = f"python -m paper_figs {name}{size}"
    if card is None or not (out / f"{name}.png").is_file() or not numbers_of(out, name).is_file():
        return {**values, "card": None}
    picture = (out / f"{name}.png").read_bytes()
    files = [path for kind in KINDS if (path := out / f"{name}.{kind}").exists()]
    return values | {
        "thumbnail": data_uri(_thumbnail(picture), "image/png"),
        "picture": data_uri(picture, "image/png"),
        "files": [
            {"name": path.name, "address": data_uri(path.read_bytes(), KINDS[path.suffix[1:]])} for path in files
        ],
        "table": table_of(numbers_of(out, name)),
        "config": json.dumps(card.config, indent=1),
        "is_smaller": card.size == "quick" and figure.config("quick") != figure.config("default"),
        "tests": list(_tests(figure.module.rpartition(".")[2])),
    }


@cache
def _thumbnail(picture: bytes) -> bytes:
    """A small picture."""
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        small = image.convert("RGB")
        small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
        small.quantize(64).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def table_of(path: Path) -> Mapping[str, object]:
    """A table of at most ``MAX_ROWS`` rows, evenly spaced, with numbers of four digits."""
    with path.open(newline="") as file:
        head, *rows = csv.reader(file)
    last, count = len(rows) - 1, min(MAX_ROWS, len(rows))
    chosen = sorted({round(i * last / max(count - 1, 1)) for i in range(count)})
    note = "" if count == len(rows) else f"{count} of {len(rows)} rows:"
    shown = [[_four_digits(cell) for cell in rows[i]] for i in chosen]
    return {"head": head, "rows": shown, "note": note}


def _four_digits(cell: str) -> str:
    """A number with a point, shortened; anything else as it is."""
    return f"{float(cell):.4g}" if re.fullmatch(r"-?\d+\.\d*(e[-+]\d+)?|-?\d+e[-+]\d+", cell) else cell


def _tests(stem: str) -> Iterator[str]:
    """The tests that hold the claim of a figure, where the tests are at hand."""
    for path in sorted((ROOT / "tests" / "paper_figs").glob("test_*.py")):
        for test in re.findall(rf"^def (test_claim_of_{stem}(?:_\w+)?)\(", path.read_text(), flags=re.MULTILINE):
            yield f"tests/paper_figs/{path.name}::{test}"
