"""Build the reference: ``make docs``, strict and without a network; the pages load nothing from elsewhere."""

import re
import sys
from pathlib import Path

from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

sys.path.insert(0, str(Path(__file__).parents[1]))  # this source, whatever is installed
from simulations.fleets import Fleet
from simulations.problems import Problem

project, author, copyright = "abs-toolkit", "the authors of abs-toolkit", "2026, the authors of abs-toolkit"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
exclude_patterns = ["site"]
templates_path = ["_templates"]
autodoc_member_order = "bysource"
autodoc_mock_imports = ["ray", "torch"]
autosummary_ignore_module_all = False  # what a module lists is its own, wherever it is written
myst_enable_extensions = ["dollarmath"]
html_theme = "furo"
html_title = "abs-toolkit"
html_math_renderer = "mathml"

LONG_TYPES = {
    r"[~\w.]*Buffer \| .*?\[complex \| bytes \| str\]": "ArrayLike",
    r"[~\w.]*ndarray\[.*?float64\]\]": "Array",
}
OURS = ("abs_theory", "simulations", "paper_figs")
CODE_OR_BAR = re.compile(r"(``.*?``|:math:`.*?`)|\|")


def _inline_math(translator, node) -> None:
    translator.body.append(convert(node.astext()))
    raise SkipNode


def _block_math(translator, node) -> None:
    translator.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise SkipNode


def _read(app, what, name, thing, options, lines) -> None:
    """Take bars as they are in formulas, |x|, and warn, which fails the build, of what has no docstring."""
    member = name.split(".")[-1]
    ours = getattr(thing, "__module__", name).split(".")[0] in OURS
    if not any(lines) and member in vars(Problem) | vars(Fleet):  # said there for all that are of their kind
        lines[:] = (getattr(Problem, member, None) or getattr(Fleet, member)).__doc__.splitlines()
    if not any(lines) and ours:
        logging.getLogger(__name__).warning("%s %s is public and has no docstring", what, name)
    in_formula = False
    for i, line in enumerate(lines):
        in_formula = (in_formula and bool(line.strip())) or ".. math::" in line
        if not in_formula:
            lines[i] = CODE_OR_BAR.sub(lambda found: found[1] or r"\|", line)


def _said_elsewhere(app, what, name, thing, skip, options) -> bool | None:
    return True if name == "Protocol" and app.env.docname == "reference/simulations.protocols" else None


def _short(app, what, name, thing, options, signature, returns) -> tuple[str | None, ...]:
    """The types of arrays by their names, not by what numpy makes of them."""
    for long, short in LONG_TYPES.items():
        signature, returns = (text and re.sub(long, short, text) for text in (signature, returns))
    return signature, returns


def setup(app: Sphinx) -> None:
    """Formulas become MathML, which browsers draw by themselves."""
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))
    app.connect("autodoc-process-docstring", _read)
    app.connect("autodoc-process-signature", _short)
    app.connect("autodoc-skip-member", _said_elsewhere)
