"""The delay laws of the figures, one of each kind of ageing, all of mean 1 s, and how each is drawn."""

import math
from collections.abc import Hashable
from typing import TYPE_CHECKING

from abs_theory.delays import Delay, Exponential, HyperExponential, LogNormal, ShiftedExponential

if TYPE_CHECKING:  # computing needs no matplotlib
    from paper_figs.style import Look

LAWS: dict[str, Delay] = {
    "increasing hazard": ShiftedExponential(shift=0.5, scale=0.5),
    "constant hazard": Exponential(mean=1.0),
    "decreasing hazard": HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0)),
    "neither": LogNormal(median=math.exp(-0.5), sigma=1.0),
}
NAMES = {
    "increasing hazard": "shifted exponential",
    "constant hazard": "exponential",
    "decreasing hazard": "hyper-exponential",
    "neither": "lognormal",
}
_LOOKS: "dict[str, Look]" = {
    "increasing hazard": {"color": "#0072B2", "linestyle": "-", "marker": "v"},
    "constant hazard": {"color": "#000000", "linestyle": ":", "marker": "s"},
    "decreasing hazard": {"color": "#D55E00", "linestyle": (0, (5, 1.5, 1, 1.5)), "marker": "^"},
    "neither": {"color": "#009E73", "linestyle": (0, (4, 2)), "marker": "o"},
}


def title(law: Hashable, between: str = " ") -> str:
    """The name of a law with its ageing, for the title of a panel or the label of a line."""
    return f"{NAMES[str(law)]}{between}({law})"


def look(law: Hashable) -> "Look":
    """Line properties of a law: colour, dash and marker each identify it."""
    return _LOOKS[str(law)].copy()
