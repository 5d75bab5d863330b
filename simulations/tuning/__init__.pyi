from .pattern import GRIDS, Found, Knobs, neighbours, pattern_search
from .tuned import Tuned
from .tuner import tune

__all__ = ["GRIDS", "Found", "Knobs", "Tuned", "neighbours", "pattern_search", "tune"]
