from .base import Fleet, Independent, Scaled, Times, Where, as_fleet, one_slow
from .links import Absences, Links
from .replay import Replay, from_trace
from .stragglers import CommonFactor, Spells, Stalls

__all__ = [
    "Absences",
    "CommonFactor",
    "Fleet",
    "Independent",
    "Links",
    "Replay",
    "Scaled",
    "Spells",
    "Stalls",
    "Times",
    "Where",
    "as_fleet",
    "from_trace",
    "one_slow",
]
