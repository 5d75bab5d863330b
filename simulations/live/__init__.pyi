from .training import LiveSettings, LiveTables, Real, run, train
from .worker import is_dropped

__all__ = ["LiveSettings", "LiveTables", "Real", "is_dropped", "run", "train"]
