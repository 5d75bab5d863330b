"""Write the table of methods into ``docs/methods.md``: ``python docs/methods.py``.

The table is made from the docstrings of the factories in ``simulations.protocols``: their first reference, and a line

    Round: E X(k); staleness: 0; restarts: all late workers.

with the mean seconds of a round, the staleness of applied gradients, and the workers that restart at an update.
``tests/test_readme.py`` compares each of these statements with simulations.
"""

import inspect
import re
from pathlib import Path
from typing import NamedTuple

from marks import command, filled

from simulations import protocols

PAGE = Path(__file__).with_name("methods.md")


class Facts(NamedTuple):
    """What a factory's docstring says of its method in short."""

    round: str
    staleness: str
    restarts: str
    source: str


def facts(name: str) -> Facts:
    """The facts of one protocol.  Raises ValueError if its docstring has no such line."""
    text = " ".join(inspect.getdoc(getattr(protocols, name)).replace("``", "`").split())
    said = re.search(r"Round: (.+?); staleness: (.+?); restarts: (.+?)\.(?: |$)", text)
    if said is None:
        raise ValueError(f'the docstring of {name} needs a line "Round: ...; staleness: ...; restarts: ...."')
    source = re.search(r"Source: ([^(;]*\([^)]*\)|[^.;:]*)", text)  # up to the parenthesis with its year
    return Facts(*said.groups(), source[1] if source else "folklore")


def table() -> str:
    """The table in Markdown: one row per factory, file by file, in the order they have there."""
    factories = [getattr(protocols, name) for name in protocols.__all__ if name != "weights"]
    files = list(dict.fromkeys(re.findall(r"``(\w+)`` \(", inspect.getdoc(protocols))))
    lines = ["| method | mean round time | staleness | who restarts | source |", "|---|---|---|---|---|"]
    for factory in sorted(factories, key=lambda factory: (_place(factory, files), factory.__code__.co_firstlineno)):
        file = f"../{factory.__module__.replace('.', '/')}.py"
        lines.append(f"| [`{factory.__name__}`]({file}) | {' | '.join(facts(factory.__name__))} |")
    return "\n".join(lines) + "\n"


def _place(factory, files: list[str]) -> int:
    module = factory.__module__.split(".")[-1]
    return files.index(module) if module in files else len(files)


def in_page(text: str) -> str:
    """``text`` with the table between the two marks."""
    return filled(text, "methods", "methods.py", table())


if __name__ == "__main__":
    command(__doc__)
    PAGE.write_text(in_page(PAGE.read_text()))
