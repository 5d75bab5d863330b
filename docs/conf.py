"""Build the documentation: ``make docs``, strict and without a network; the pages load nothing from elsewhere.

``QUICK=1 make docs`` does not run the notebooks.
"""

import os
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
import made
import rooms

from simulations.experiment import Experiment
from simulations.fleets import Fleet
from simulations.problems import Problem

project, author, copyright = "abs-toolkit", "the authors of abs-toolkit", "2026, the authors of abs-toolkit"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
exclude_patterns = ["site", "generated", "examples", "jupyter_execute"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
templates_path = ["_templates"]
autodoc_member_order = "bysource"
autodoc_mock_imports = ["ray", "torch"]
autosummary_context = {"contents": rooms.contents}
suppress_warnings = ["config.cache"]  # that context is a function: all pages are made anew
myst_enable_extensions = ["attrs_inline", "colon_fence", "dollarmath"]
myst_heading_anchors = 2
nb_execution_mode = "off" if os.environ.get("QUICK") else "cache"
nb_execution_cache_path = str(made.ROOT / ".cache" / "notebooks")
nb_execution_raise_on_error = True
nb_execution_timeout = 900
nb_merge_streams = True
nb_ipywidgets_js = {}  # which would be fetched
html_theme = "furo"
html_title = "abs-toolkit"
html_math_renderer = "mathml"

os.environ["PYTHONPATH"] = str(made.ROOT)  # for the notebooks and the commands
made.everything()

for owner in (Experiment, Experiment.__init__):  # whose annotations are notes for the reader of files
    owner.__annotations__ = get_type_hints(owner)
LONG_TYPES = {
    "<factory>": "...",  # with it a signature would not be Python
    r"[~\w.]*Buffer \| .*?\[complex \| bytes \| str\]": "ArrayLike",
    r"[~\w.]*ndarray\[.*?float64\]\]": "Array",
    r"[~\w.]*Annotated\[(.*?), <typer\.models\.OptionInfo object at 0x[0-9a-f]+>\]": r"\1",
}
GLOSSARY = Path(__file__).with_name("glossary.md").read_text().split(":sorted:")[1]
ALSO_PLAIN_WORDS = {
    "ABS",
    "L",
    "bound",
    "error",
    "expected",
    "k",
    "lost",
    "problem",
}  # not linked: too common, or used in two senses
WORDS = {
    word.lower(): word for word in re.findall(r"^(\w.*)$", GLOSSARY, flags=re.MULTILINE) if word not in ALSO_PLAIN_WORDS
}
CODE_OR_WORD = re.compile(
    rf"(``.*?``|:[\w:]+:`[^`]*`|`[^`]*`)|(?<![\w-])({'|'.join(sorted(WORDS, key=len, reverse=True))})(s?)(?![\w-])",
    flags=re.IGNORECASE,
)
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
    """Take bars as they are in formulas, |x|, and link the first use of each word of the glossary."""
    linked = set()

    def link(match: re.Match) -> str:
        if match[1] or (word := WORDS[match[2].lower()]) in linked:
            return match[0]
        linked.add(word)
        return f":term:`{match[0]} <{word}>`"

    member = name.split(".")[-1]
    if not any(lines) and member in vars(Problem) | vars(Fleet):  # said there for all that are of their kind
        lines[:] = (getattr(Problem, member, None) or getattr(Fleet, member)).__doc__.splitlines()
    as_it_is = False  # in a formula or an example, which end with an empty line
    for i, line in enumerate(lines):
        as_it_is = (as_it_is and bool(line.strip())) or line.lstrip().startswith((".. ", ">>> "))
        if not as_it_is:
            lines[i] = CODE_OR_BAR.sub(lambda match: match[1] or r"\|", line)
            if what not in ("attribute", "property", "data") and not line.startswith("    "):
                lines[i] = CODE_OR_WORD.sub(link, lines[i])


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


def _check_that_pages_stand_alone(app, exception) -> None:
    """Refuse a site that shows an address in memory or a folder of the builder, or that loads from elsewhere."""
    leak = re.compile(rf"\b0x[0-9a-f]{{6,}}\b|({re.escape(str(app.srcdir.parent))}|{re.escape(sys.prefix)})/")
    fetched = re.compile(r"<(script|img|iframe)[^>]* src=.https?:|<link[^>]* href=.https?:")
    pages = [page for page in Path(app.outdir).rglob("*") if page.suffix in (".html", ".js", ".txt")]
    for page in sorted(pages) if exception is None else ():
        text = page.read_text(encoding="utf-8")
        if "_static" not in page.parts and (match := leak.search(text) or fetched.search(text)):
            raise ExtensionError(f"{page}: {match[0]!r} is of the machine that built the page, or is fetched")


def setup(app: Sphinx) -> None:
    """Formulas become MathML, which browsers draw by themselves."""
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))
    app.connect("autodoc-process-docstring", _read)
    app.connect("autodoc-process-signature", _short)
    app.connect("doctree-read", _check_that_all_is_explained)
    app.connect("build-finished", _check_that_pages_stand_alone)
