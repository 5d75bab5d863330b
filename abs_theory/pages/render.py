"""Templates filled with values, and what stands in them: pictures and files."""

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # loaded when a page is made
    from markupsafe import Markup
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
    import jinja2

    if not isinstance(template, Path):
        raise ValueError(f"template must be a pathlib.Path, got {template!r}")
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
    if not isinstance(content, bytes):
        raise ValueError(f"content must be bytes, got {content!r}")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def inline_svg(figure: "Figure") -> "Markup":
    """A matplotlib figure as an ``<svg>`` element, the same for the same figure.

    >>> from matplotlib.figure import Figure
    >>> str(inline_svg(Figure(figsize=(1, 1))))[:4]
    '<svg'
    """
    from markupsafe import Markup
    from matplotlib import rc_context

    if not hasattr(figure, "savefig"):
        raise ValueError(f"figure must be a matplotlib Figure, got {figure!r}")
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": "abs"}):  # without it matplotlib makes up new names of markers every time
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return Markup(text[text.index("<svg") :])
