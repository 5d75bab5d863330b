"""The explorer: sliders, pictures and numbers in Panel, the same object in the browser and in a notebook."""

import contextlib
import html
import math
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from abs_theory.checks import explains_types
from simulations.explore.answers import Answer, answer
from simulations.explore.pictures import Pictures
from simulations.explore.setting import LAWS, THRESHOLDS, Setting

if TYPE_CHECKING:  # panel is loaded when a page is made
    from panel.viewable import Viewable

__all__ = ["Explorer", "panel"]

MOST_WORKERS = 100  # of the slider
CSS = """
body { margin: 0 auto; max-width: 100rem; font-family: system-ui, sans-serif }
:host, .bk-root { --design-primary-color: #1b4965 }
"""
TABLE_CSS = """
table { border-collapse: collapse; font: 14px system-ui, sans-serif; font-variant-numeric: tabular-nums; width: 100% }
th, td { padding: 3px 8px; text-align: right; border-bottom: 1px solid #ccc }
th:first-child, td:first-child { text-align: left }
.error { color: #b00020; font: 14px system-ui, sans-serif }
p { font: 14px system-ui, sans-serif; margin: 4px 0 }
"""


CODE_CSS = "pre { overflow-x: auto; background: #f4f4f4; padding: 8px }"


@explains_types
class Explorer:
    """A page of sliders that shows what the theory says of the setting, and the first seconds of its workers.

    Needs the extra "explore".  In a notebook the object shows itself; ``view`` is the object of Panel.  While a slider
    moves, the numbers come by the method "fast" of ``steady_state.abs_sgd``; when it is let go, by the method "auto",
    with small errors.
    """

    def __init__(self, setting: Setting | None = None) -> None:
        setting = setting or Setting()
        pn = panel()
        self._kept: Answer | None = None
        self._quiet = False  # while several sliders are set together
        self.pictures = Pictures()
        names = {text: name for name, text in LAWS.items()}
        self.law = pn.widgets.Select(
            label="delay law", options=[*LAWS, "as text"], value=names.get(setting.delay, "as text")
        )
        self.text = pn.widgets.TextInput(label="law as text, in seconds", value=setting.delay)
        self.n = pn.widgets.IntSlider(label="n, workers", start=2, end=max(MOST_WORKERS, setting.n), value=setting.n)
        self.k = pn.widgets.IntSlider(label="k, workers waited for", start=1, end=setting.n, value=setting.k)
        thresholds = {("none" if math.isinf(value) else f"{value:g}"): float(value) for value in THRESHOLDS}
        thresholds |= {setting.threshold: setting.max_staleness}
        thresholds = dict(sorted(thresholds.items(), key=lambda pair: pair[1]))
        self.threshold = pn.widgets.DiscreteSlider(
            label="threshold (max. staleness, updates)", options=thresholds, value=setting.max_staleness
        )  # fmt: skip
        self.update = pn.widgets.FloatSlider(
            label="update time (s)", start=0.0, end=max(2.0, setting.update_seconds), step=0.05,
            value=setting.update_seconds,
        )  # fmt: skip
        self.keep = pn.widgets.Button(label="Keep this setting to compare", color="primary")
        self.numbers = pn.pane.HTML("", stylesheets=[TABLE_CSS], sizing_mode="stretch_width")
        self.code = pn.pane.HTML("", stylesheets=[CODE_CSS], sizing_mode="stretch_width")
        self._copied = [pn.widgets.TextAreaInput(visible=False, max_length=10_000) for _ in range(2)]
        self._copies = [pn.widgets.Button(label=f"Copy the {kind}") for kind in ("command", "Python")]
        for button, words in zip(self._copies, self._copied, strict=True):
            button.js_on_click(args={"words": words}, code="navigator.clipboard.writeText(words.value)")
        self.answer: Answer = answer(setting)
        self._show(self.answer)
        for widget in (self.n, self.k, self.threshold, self.update, self.text):
            widget.param.watch(self._changed, "value")
        for slider in (self.n, self.k, self.threshold, self.update):
            slider.param.watch(self._accurate, "value_throttled")  # when it is let go
        self.text.param.watch(self._accurate, "value")
        self.law.param.watch(self._law_chosen, "value")
        self.keep.on_click(lambda event: self._keep())
        self.view: Viewable = self._layout()
        self._accurate()

    @property
    def setting(self) -> Setting:
        """What the sliders say."""
        return Setting(
            self.text.value.strip(),
            self.n.value,
            min(self.k.value, self.n.value),
            self.threshold.value,
            self.update.value,
        )

    def __panel__(self) -> "Viewable":
        return self.view

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> object:
        return self.view._repr_mimebundle_(include, exclude)

    # ------------------------------------------------------------------ what happens
    def _law_chosen(self, event: object) -> None:
        if self.law.value in LAWS:
            self.text.value = LAWS[self.law.value]

    def _changed(self, event: object) -> None:
        if self._quiet:
            return
        self._quiet = True
        self.k.end = self.n.value
        self.k.value = min(self.k.value, self.n.value)
        if self.text.value.strip() not in LAWS.values():
            self.law.value = "as text"
        self._quiet = False
        try:
            found = answer(self.setting)
        except (ValueError, OSError) as problem:
            self.numbers.object = f'<p class="error" id="problem">{html.escape(str(problem))}</p>'
            return
        self._show(found)

    def _accurate(self, event: object = None) -> None:
        with contextlib.suppress(ValueError, OSError):  # which the page shows already
            self._show(answer(self.setting, "auto"))

    def _keep(self) -> None:
        self._kept = self.answer
        self._draw(partial(self.pictures.keep, self.answer))
        self._show(self.answer)

    def _draw(self, draw: Callable[[], None]) -> None:
        """Change pictures: at once, or on a page that is served, when its document is locked for that."""
        document = panel().state.curdoc
        if document is None or document.session_context is None or self.pictures.timeline.document is None:
            draw()
        else:
            document.add_next_tick_callback(draw)

    def _show(self, found: Answer) -> None:
        self.answer = found
        self._draw(partial(self.pictures.show, found))
        self.numbers.object = _table(found, self._kept)
        command, python = found.setting.command, found.setting.python
        self.code.object = f"<pre>{html.escape(command)}</pre><pre>{html.escape(python)}</pre>"
        self._copied[0].value, self._copied[1].value = command, python

    # ------------------------------------------------------------------ how it looks
    def _layout(self) -> "Viewable":
        pn = panel()
        wide = {"flex": "1 1 300px", "min-width": "min(300px, 100%)"}
        controls = pn.Column(
            self.law, self.text, self.n, self.k, self.threshold, self.update, self.keep, self.numbers, styles=wide,
            sizing_mode="stretch_width",
        )  # fmt: skip
        for widget in (self.law, self.text, self.n, self.k, self.threshold, self.update, self.keep):
            widget.sizing_mode = "stretch_width"
        pictures = self.pictures
        timeline = pn.Column(
            pictures.play, pictures.timeline, styles={**wide, "flex": "2 1 300px"}, sizing_mode="stretch_width"
        )
        figures = [
            pn.Column(pn.pane.Bokeh(panel), styles=wide, sizing_mode="stretch_width") for panel in pictures.panels
        ]
        copies = pn.Column(pn.Row(*self._copies), *self._copied, self.code, sizing_mode="stretch_width")
        head = pn.pane.HTML(
            "<h1 style='font: 600 22px system-ui'>Straggler explorer</h1>"
            "<p>A server waits for k of n workers. A worker whose model is older than the threshold restarts. "
            "Times are in seconds; &plusmn; is the half-width of the error, 0 where the number is exact.</p>",
            stylesheets=[TABLE_CSS], sizing_mode="stretch_width",
        )  # fmt: skip
        return pn.Column(
            head,
            pn.FlexBox(controls, timeline, sizing_mode="stretch_width"),
            pn.FlexBox(*figures, sizing_mode="stretch_width"),
            copies, sizing_mode="stretch_width",
        )  # fmt: skip


def panel() -> ModuleType:
    """The module panel, ready for notebooks and servers.  Raises ValueError if it is not installed."""
    try:
        import panel as pn
    except ImportError:
        raise ValueError('the explorer needs panel: install the extra "explore" of this package') from None
    if CSS not in pn.config.raw_css:
        pn.config.raw_css.append(CSS)
    if not pn.state.served:
        pn.extension()
    return pn


def _table(found: Answer, kept: Answer | None) -> str:
    """The numbers of the setting, and of the one that is kept, as HTML."""
    columns = [("this setting", found)] + ([("kept", kept)] if kept else [])
    head = "".join(f"<th>{name}</th>" for name, _ in columns)
    rows = [
        ("k of n, threshold", [f"{a.setting.k} of {a.setting.n}, {a.setting.threshold}" for _, a in columns]),
        ("update time (s)", [f"{a.setting.update_seconds:g}" for _, a in columns]),
        *((name, [_with_error(*a.numbers[name]) for _, a in columns]) for name in found.numbers),
        ("computed by", [html.escape(str(a.state.method)) for _, a in columns]),
    ]
    body = "".join(
        f"<tr><td>{name}</td>{''.join(f'<td>{value}</td>' for value in values)}</tr>" for name, values in rows
    )
    best = f"<p>Most gradients per second with this law and threshold: k = {found.best}.</p>"
    return f"<table><tr><th></th>{head}</tr>{body}</table>{best}"


def _with_error(value: float, error: float) -> str:
    return f"{value:.4g} &plusmn; {error:.2g}"
