"""From the columns of a table, whatever their names, to a row per attempt."""

from abs_theory.traces.headers.attempts import attempts_of
from abs_theory.traces.headers.wishes import Wishes

__all__ = ["Wishes", "attempts_of"]
