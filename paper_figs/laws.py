"""The delay laws that are drawn, one of each ageing, all of mean 1 s, and how each looks."""

import math
from collections.abc import Hashable
from typing import Any

from abs_theory.delays import Delay, Exponential, HyperExponential, LogNormal, ShiftedExponential

# all of mean 1 s
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
_LOOKS: dict[str, dict[str, Any]] = {
    "increasing hazard": {"color": "#0072B2", "linestyle": "-", "marker": "v"},
    "constant hazard": {"color": "#000000", "linestyle": ":", "marker": "s"},
    "decreasing hazard": {"color": "#D55E00", "linestyle": (0, (5, 1.5, 1, 1.5)), "marker": "^"},
    "neither": {"color": "#009E73", "linestyle": (0, (4, 2)), "marker": "o"},
}


def title(law: Hashable, between: str = " ") -> str:
    """A law as a panel is headed or a line is labelled."""
    return f"{NAMES[str(law)]}{between}({law})"


def look(law: Hashable) -> dict[str, Any]:
    """Line properties of a law: colour, dash and marker all tell it apart."""
    return dict(_LOOKS[str(law)])
