"""Build the reference: ``make docs``, strict and without a network; the pages load nothing from elsewhere."""

import re
import sys
from pathlib import Path
from typing import get_type_hints

from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from sphinx.addnodes import desc
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))  # this source, whatever is installed
import rooms

from simulations.experiment import Experiment
from simulations.fleets import Fleet
from simulations.problems import Problem

project, author, copyright = "abs-toolkit", "the authors of abs-toolkit", "2026, the authors of abs-toolkit"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
exclude_patterns = ["site"]
templates_path = ["_templates"]
autodoc_member_order = "bysource"
autodoc_mock_imports = ["ray", "torch"]
autosummary_context = {"contents": rooms.contents}
suppress_warnings = ["config.cache"]  # that context is a function: all pages are made anew
myst_enable_extensions = ["colon_fence", "dollarmath"]
html_theme = "furo"
html_title = "abs-toolkit"
html_math_renderer = "mathml"

for owner in (Experiment, Experiment.__init__):  # whose annotations are notes for the reader of files
    owner.__annotations__ = get_type_hints(owner)
LONG_TYPES = {
    "<factory>": "...",  # with it a signature would not be Python
    r"[~\w.]*Buffer \| .*?\[complex \| bytes \| str\]": "ArrayLike",
    r"[~\w.]*ndarray\[.*?float64\]\]": "Array",
}
NO_WORDS = re.compile(r"(Alias for field number \d+)?")  # what Python says of the field of a NamedTuple
CODE_OR_BAR = re.compile(r"(``.*?``|:math:`.*?`)|\|")


def _inline_math(translator, node) -> None:
    translator.body.append(convert(node.astext()))
    raise SkipNode


def _block_math(translator, node) -> None:
    translator.body.append(
        f'<div class="math" style="overflow-y: hidden">{convert(node.astext(), display="block")}</div>'
    )
    raise SkipNode


def _read(app, what, name, thing, options, lines) -> None:
    """Take bars as they are in formulas, |x|."""
    member = name.split(".")[-1]
    if not any(lines) and member in vars(Problem) | vars(Fleet):  # said there for all that are of their kind
        lines[:] = (getattr(Problem, member, None) or getattr(Fleet, member)).__doc__.splitlines()
    in_formula = False
    for i, line in enumerate(lines):
        in_formula = (in_formula and bool(line.strip())) or ".. math::" in line
        if not in_formula:
            lines[i] = CODE_OR_BAR.sub(lambda found: found[1] or r"\|", line)


def _check_that_all_is_explained(app, doctree) -> None:
    """Warn, which fails the build, of a public name with nothing to read below it."""
    for entry in doctree.findall(desc):
        if entry["objtype"] != "data" and NO_WORDS.fullmatch(entry[-1].astext()):
            logging.getLogger(__name__).warning("%s is public and has no docstring", entry[0]["ids"][0], location=entry)


def _short(app, what, name, thing, options, signature, returns) -> tuple[str | None, ...]:
    """The types of arrays by their names, not by what numpy makes of them."""
    for long, short in LONG_TYPES.items():
        signature, returns = (text and re.sub(long, short, text) for text in (signature, returns))
    return signature, returns


def _check_no_trace_of_this_machine(app, exception) -> None:
    """Refuse a site that shows an address in memory or a folder of who built it: a repr that leaked."""
    leak = re.compile(rf"\b0x[0-9a-f]{{6,}}\b|({re.escape(str(app.srcdir.parent))}|{re.escape(sys.prefix)})/")
    pages = [page for page in Path(app.outdir).rglob("*") if page.suffix in (".html", ".js", ".txt")]
    for page in sorted(pages) if exception is None else ():
        if "_static" not in page.parts and (found := leak.search(page.read_text(encoding="utf-8"))):
            raise ExtensionError(f"{page}: {found[0]!r} is of the machine that built the page")


def setup(app: Sphinx) -> None:
    """Formulas become MathML, which browsers draw by themselves."""
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))
    app.connect("autodoc-process-docstring", _read)
    app.connect("autodoc-process-signature", _short)
    app.connect("doctree-read", _check_that_all_is_explained)
    app.connect("build-finished", _check_no_trace_of_this_machine)
