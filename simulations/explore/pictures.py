"""The pictures of the page, in bokeh: made once for a page, then only their data change."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from simulations.explore.answers import Answer, timeline_of
from simulations.plot import OUTCOMES

if TYPE_CHECKING:  # bokeh comes with the extra "explore"
    from bokeh.models import ColumnDataSource, LegendItem, Toggle, Whisker
    from bokeh.plotting import figure

__all__ = ["Pictures"]

Values = np.ndarray | pd.Series | Sequence[float]

OWN, OTHER, PALE = "#D55E00", "#0072B2", "#9AA5AE"
HATCHES = {"////": "right_diagonal_line", "xxxx": "diagonal_cross", "....": "dot"}
SHOWN = ("applied", "unfinished", "restarted", "idle")  # what ABS does with tasks
SECONDS_PLAYED = 8  # that the animation takes
LAW_POINTS = 200
_CURVE = (
    "k", "round_time", "round_time_error", "round_time_low", "round_time_high", "rate", "rate_error", "rate_low",
    "rate_high",
)  # fmt: skip
_STALE = ("staleness", "x", "share", "error", "low", "high")
SOURCES: dict[str, tuple[str, ...]] = {  # what is drawn, with its columns
    "law": ("t", "longer"), "kept_law": ("t", "longer"),
    "bars": ("worker", "start", "end", "outcome", "staleness", "middle", "label", "stale"),
    "updates": ("time", "low", "high"),
    "curve": _CURVE, "kept_curve": _CURVE, "own": _CURVE, "best": _CURVE, "kept_own": _CURVE,
    "stale": _STALE, "kept_stale": _STALE,
}  # fmt: skip
MOST_STALE_SHARE = 1e-2  # of gradients that are staler than shown
HEIGHT = 260  # pixels


class Pictures:
    """Law, timeline, round time, gradients per second and staleness of a setting, and of one that is kept beside it."""

    def __init__(self) -> None:
        from bokeh.models import ColumnDataSource, Range1d, Title

        self._data = {name: ColumnDataSource({column: [] for column in columns}) for name, columns in SOURCES.items()}
        self._seconds, self._workers, self._title = Range1d(start=0, end=1), Range1d(start=0, end=-0.6), Title()
        self.law = self._law()
        self.timeline, self.play = self._timeline()
        self.round_time = self._over_k("round_time", "round time (s)", "Round time against k")
        self.rate = self._over_k("rate", "gradients per second", "Gradients per second against k")
        self.staleness = self._staleness()
        for item in self._kept_items():
            item.visible = False

    @property
    def panels(self) -> "list[figure]":
        """All pictures but the timeline."""
        return [self.rate, self.round_time, self.staleness, self.law]

    def show(self, answer: Answer) -> None:
        """Draw a setting."""
        setting, curve = answer.setting, answer.curve
        self._set("law", _law_points(answer))
        spans, updates, seconds = timeline_of(setting)
        spans = spans.assign(
            end=spans["end"].clip(upper=seconds), middle=spans["worker"], label=spans["outcome"].map(_label),
            stale=[str(value) if value >= 0 else "" for value in spans["staleness"]],
        )  # fmt: skip
        self._set("bars", {str(name): values for name, values in spans.items()})
        ends = {"low": [-0.6] * len(updates), "high": [setting.n - 0.4] * len(updates)}
        self._set("updates", {"time": updates, **ends})
        self._set("curve", _with_ends(curve))
        self._set("own", _with_ends(curve[curve["k"] == setting.k]))
        self._set("best", _with_ends(curve[curve["k"] == answer.best]))
        self._set("stale", _stale(answer, -0.2))
        self._seconds.end, self._workers.start = seconds, setting.n - 0.4
        self._title.text = f"The first seconds: k = {setting.k} of {setting.n}, threshold {setting.threshold}"

    def keep(self, answer: Answer) -> None:
        """Draw a setting in grey, to compare others with it."""
        self._set("kept_law", _law_points(answer))
        self._set("kept_curve", _with_ends(answer.curve))
        self._set("kept_own", _with_ends(answer.curve[answer.curve["k"] == answer.setting.k]))
        self._set("kept_stale", _stale(answer, 0.2))
        for item in self._kept_items():
            item.visible = True

    def _kept_items(self) -> "Iterator[LegendItem]":
        """What the legends say of the setting that is kept."""
        for drawn in self.panels:
            yield from (item for item in drawn.legend[0].items if item.label.value == "kept")  # pyright: ignore

    def _set(self, name: str, columns: Mapping[str, Values]) -> None:
        self._data[name].update(data=dict(columns))

    # ------------------------------------------------------------------ making them
    def _figure(self, title: str, x: str, y: str, tooltips: list[tuple[str, str]]) -> "figure":
        from bokeh import plotting
        from bokeh.models import BasicTicker

        drawn = plotting.figure(
            title=title, x_axis_label=x, y_axis_label=y, height=HEIGHT, sizing_mode="stretch_width",
            tools="hover,reset", toolbar_location=None, tooltips=tooltips,
        )  # fmt: skip
        drawn.xgrid.grid_line_color = None
        drawn.axis.minor_tick_line_color = None
        if "(s)" not in x:
            drawn.xaxis.ticker = BasicTicker(min_interval=1)  # whole numbers
        return drawn

    def _over_k(self, column: str, label: str, title: str) -> "figure":
        drawn = self._figure(
            title, "k, workers waited for", label, tooltips=[("k", "@k"), (label, f"@{column} ± @{column}_error")]
        )
        for name, color in (("kept_curve", PALE), ("curve", OTHER)):
            source = self._data[name]
            drawn.line("k", column, source=source, color=color, line_width=1.5)
            drawn.scatter("k", column, source=source, color=color, size=4)
            drawn.add_layout(_whisker("k", f"{column}_low", f"{column}_high", source, color))
        drawn.scatter("k", column, source=self._data["kept_own"], color=PALE, size=12, legend_label="kept")
        drawn.scatter("k", column, source=self._data["own"], color=OWN, size=12, legend_label="this setting")
        if column == "rate":
            drawn.scatter(
                "k", column, source=self._data["best"], marker="star", size=16, fill_color="white", line_color="black",
                legend_label="most per second",
            )  # fmt: skip
        drawn.y_range.start = 0  # pyright: ignore[reportAttributeAccessIssue]
        _small_legend(drawn)
        drawn.legend[0].location = "top_right" if column == "rate" else "top_left"  # where the curve is not
        return drawn

    def _law(self) -> "figure":
        drawn = self._figure(
            "The delay law",
            "t (s)",
            "share longer than t",
            tooltips=[("t", "@t s"), ("longer", "@longer{0 %}")],
        )
        drawn.line("t", "longer", source=self._data["kept_law"], color=PALE, line_width=2, legend_label="kept")
        drawn.line("t", "longer", source=self._data["law"], color=OWN, line_width=2, legend_label="this setting")
        _small_legend(drawn)
        return drawn

    def _staleness(self) -> "figure":
        drawn = self._figure(
            "Staleness of gradients", "staleness (updates)", "share of gradients",
            tooltips=[("staleness", "@staleness"), ("share", "@share ± @error")],
        )  # fmt: skip
        for name, color, words in (("kept_stale", PALE, "kept"), ("stale", OWN, "this setting")):
            source = self._data[name]
            drawn.vbar("x", top="share", width=0.4, source=source, color=color, legend_label=words)
            drawn.add_layout(_whisker("x", "low", "high", source, "black"))
        drawn.y_range.start = 0  # pyright: ignore[reportAttributeAccessIssue]
        _small_legend(drawn)
        return drawn

    def _timeline(self) -> "tuple[figure, Toggle]":
        from bokeh.models import BoxAnnotation, CustomJS, Toggle
        from bokeh.models.filters import GroupFilter
        from bokeh.models.sources import CDSView

        drawn = self._figure(
            "The first seconds", "time (s)", "worker",
            [("worker", "@middle"), ("", "@label"), ("from", "@start s"), ("to", "@end s"),
             ("staleness", "@stale")],
        )  # fmt: skip
        drawn.height = 480
        drawn.x_range, drawn.y_range, drawn.title = self._seconds, self._workers, self._title
        for outcome in SHOWN:
            bar = OUTCOMES[outcome]
            view = CDSView(filter=GroupFilter(column_name="outcome", group=outcome))
            drawn.hbar(
                y="middle", left="start", right="end", height=0.8, source=self._data["bars"], view=view,
                color=bar.color, fill_alpha=bar.opacity, line_color="white", legend_label=bar.label,
                hatch_pattern=HATCHES.get(bar.hatch, "blank"), hatch_color=bar.color,
            )  # fmt: skip
        drawn.segment("time", "low", "time", "high", source=self._data["updates"], color="black", legend_label="update")
        _small_legend(drawn)
        drawn.add_layout(drawn.legend[0], "above")
        drawn.legend[0].update(orientation="horizontal", ncols=2, spacing=16)
        future = BoxAnnotation(left=0, visible=False, fill_color="white", fill_alpha=0.8, line_color=OWN)
        drawn.add_layout(future)
        play = Toggle(label="Play", button_type="primary", width=90)
        play.js_on_change(
            "active",
            CustomJS(
                args={"future": future, "x": self._seconds, "play": play, "seconds": SECONDS_PLAYED},
                code="""
                play.label = play.active ? "Stop" : "Play"
                future.visible = play.active
                const begin = performance.now()
                const step = () => {
                    if (!play.active) return
                    const share = (performance.now() - begin) / 1000 / seconds
                    future.left = Math.min(share, 1) * x.end
                    if (share < 1) requestAnimationFrame(step)
                    else play.active = false
                }
                step()
                """,
            ),
        )
        return drawn, play


def _label(outcome: str) -> str:
    return OUTCOMES[outcome].label


def _whisker(base: str, low: str, high: str, source: "ColumnDataSource", color: str) -> "Whisker":
    """Bars of an error, without much of a head."""
    from bokeh.models import TeeHead, Whisker

    heads = [TeeHead(size=4, line_color=color) for _ in range(2)]
    return Whisker(
        base=base, lower=low, upper=high, source=source, line_color=color, upper_head=heads[0], lower_head=heads[1]
    )


def _small_legend(drawn: "figure") -> None:
    legend = drawn.legend[0]
    legend.label_text_font_size = "8pt"
    legend.update(padding=3, spacing=0, glyph_height=14)
    legend.background_fill_alpha = 0.6
    legend.border_line_color = None


def _with_ends(curve: pd.DataFrame) -> dict[str, np.ndarray]:
    """The columns of a curve, with the ends of their error bars."""
    columns = {str(name): values.to_numpy() for name, values in curve.items()}
    for name in ("round_time", "rate"):
        error = columns[f"{name}_error"]
        columns |= {f"{name}_low": columns[name] - error, f"{name}_high": columns[name] + error}
    return columns


def _law_points(answer: Answer) -> dict[str, np.ndarray]:
    law = answer.setting.law
    t = np.linspace(0.0, 1.02 * float(law.isf(0.01)), LAW_POINTS)
    return {"t": t, "longer": np.asarray(law.sf(t))}


def _stale(answer: Answer, offset: float) -> dict[str, np.ndarray]:
    share = np.asarray(answer.state.staleness_pmf)
    error = np.asarray(answer.state.error.staleness_pmf)
    last = min(int(np.searchsorted(np.cumsum(share), 1 - MOST_STALE_SHARE)) + 1, len(share))
    share, error, x = share[:last], np.broadcast_to(error, share.shape)[:last], np.arange(last)
    low = np.maximum(share - error, 0.0)
    return {"staleness": x, "x": x + offset, "share": share, "error": error, "low": low, "high": share + error}
