from .trace import as_trace
from .training import run
from .worker import is_dropped

__all__ = ["as_trace", "is_dropped", "run"]
