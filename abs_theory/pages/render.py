"""Templates filled with values, and what stands in them: pictures, files and tables."""

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

HERE = Path(__file__).parent


def render(template: Path, **values: object) -> str:
    """The page that a jinja2 ``template`` makes of these values.

    A template extends ``base.html`` of this folder and fills its block ``content``; it needs a ``title``.  Values are
    escaped, unless they are Markup.  Raises jinja2.UndefinedError if a value is missing.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "greeting.html"
    ...     _ = path.write_text('{% extends "base.html" %}{% block content %}<p>{{ words }}</p>{% endblock %}')
    ...     page = render(path, title="Greeting", words="1 < 2")
    >>> "<p>1 &lt; 2</p>" in page
    True
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, HERE]), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template(template.name).render(values)


def data_uri(content: bytes, kind: str) -> str:
    """A file as an address that holds it; ``kind`` is its media type.

    >>> data_uri(b"a,b", "text/csv")
    'data:text/csv;base64,YSxi'
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def inline_svg(figure: "Figure") -> Markup:
    """A matplotlib figure as an ``<svg>`` element, the same for the same figure.

    >>> from matplotlib.figure import Figure
    >>> str(inline_svg(Figure(figsize=(1, 1))))[:4]
    '<svg'
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return Markup(text[text.index("<svg") :])


def table_html(table: "pd.DataFrame", max_rows: int = 250) -> Markup:
    """A table of at most ``max_rows`` rows, evenly spaced, of numbers with four digits.

    >>> import pandas as pd
    >>> "<td>0.3333</td>" in table_html(pd.DataFrame({"x": [1 / 3]}))
    True
    """
    import numpy as np

    rows = np.unique(np.linspace(0, len(table) - 1, min(max_rows, len(table))).round().astype(int))
    note = "" if len(rows) == len(table) else f"<p>{len(rows)} of {len(table)} rows:</p>"
    shown = table.iloc[rows].to_html(index=False, border=0, na_rep="", float_format=lambda x: f"{x:.4g}")
    return Markup(note + shown)
