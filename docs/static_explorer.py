"""The page of the explorer with settings that are computed when the site is built; radio buttons choose among them."""

import io
import sys
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from matplotlib.figure import Figure  # noqa: E402
from PIL import Image  # noqa: E402

from abs_theory.pages import data_uri  # noqa: E402
from simulations import plot  # noqa: E402
from simulations.explore import LAWS, Setting, answer, timeline_of  # noqa: E402

N = 12
SHOWN = [name for name in LAWS if name.startswith(("shifted", "hyper", "lognormal"))]
KS, THRESHOLDS = (2, 6, 10), (0.0, 2.0, float("inf"))


def page() -> str:
    """The choices, and a picture with its numbers for each combination of them."""
    groups = {"law": SHOWN, "k": [f"k = {k}" for k in KS], "bound": ["threshold 0", "threshold 2", "no threshold"]}
    parts, rules = [], []
    for group, words in groups.items():
        inputs = [
            f'<label><input type="radio" name="{group}" id="{group}{i}"{" checked" if i == 1 else ""}> {word}</label>'
            for i, word in enumerate(words)
        ]
        parts.append(f"<p>{' '.join(inputs)}</p>")
    for (i, law), (j, k), (m, bound) in product(enumerate(SHOWN), enumerate(KS), enumerate(THRESHOLDS)):
        setting = Setting(LAWS[law], N, k, bound)
        parts.append(f'<div class="setting s{i}{j}{m}">{shown(setting)}</div>')
        rules.append(
            f".explorer:has(#law{i}:checked):has(#k{j}:checked):has(#bound{m}:checked) .s{i}{j}{m} {{ display: block }}"
        )
    style = (
        ".setting { display: none } .setting img { width: 100%; background: #fff } .setting pre { overflow-x: auto } "
        + " ".join(rules)
    )
    return f'<style>{style}</style>\n<div class="explorer">{"".join(parts)}</div>\n'


def shown(setting: Setting) -> str:
    """The picture of a setting, and its numbers."""
    found = answer(setting, "auto")
    drawn, picture = io.BytesIO(), io.BytesIO()
    draw(found).savefig(drawn, format="png", dpi=90)
    Image.open(drawn).convert("RGB").quantize(256).save(picture, "png", optimize=True)  # half the bytes
    rows = "".join(f"<tr><td>{name}</td><td>{value:.4g} &plusmn; {error:.2g}</td></tr>"
                   for name, (value, error) in found.numbers.items())  # fmt: skip
    words = f"The first seconds of {setting.n} workers, gradients per second against k, and the staleness"
    return (
        f'<img alt="{words}" loading="lazy" src="{data_uri(picture.getvalue(), "image/png")}"><table>{rows}</table>'
        f"<pre>{setting.command}</pre>"
    )


@plot.in_small_print
def draw(found) -> Figure:
    """Timeline above, gradients per second and staleness below."""
    setting, curve = found.setting, found.curve
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplot_mosaic([["timeline", "timeline"], ["rate", "stale"]], height_ratios=[1.2, 1])
    spans, updates, seconds = timeline_of(setting)
    plot.bars(axes["timeline"], spans, updates, seconds)
    plot.outcome_legend(figure, list(spans["outcome"].unique()), numbered=True)
    axes["timeline"].set(xlabel="time (s)")
    axes["rate"].errorbar(curve["k"], curve["rate"], curve["rate_error"], color="#0072B2", marker=".")
    axes["rate"].plot(setting.k, curve.set_index("k")["rate"][setting.k], "o", color="#D55E00", markersize=8)
    axes["rate"].set(xlabel="k, workers waited for", ylabel="gradients per second", ylim=(0, None))
    plot.staleness(found.state, axes["stale"])
    return figure


if __name__ == "__main__":
    print(len(page()))
