from .training import run
from .worker import is_dropped

__all__ = ["is_dropped", "run"]
