"""Measured worker delays: read, checked, and told what was done to them.

``read`` takes a file or a folder, ``from_frame`` a pandas DataFrame.  Either one row per attempt, with the columns

    round, worker, and seconds or start and end                            needed
    status       ok, failed, cancelled or censored                         optional: ok
    unit         s, ms, us or ns, of seconds, start and end                optional: s, or the argument ``unit``
    k_waited, version_read, version_applied, compute_s, comm_s, dataset    optional

or a table of rounds x workers, or a profiler's timeline (see ``formats`` and ``timelines``).
What is wrong with single rows is mended or left out and written to ``Trace.report``; what makes the whole unusable is a
ValueError.  Nothing is rescaled, dropped or guessed in silence.
"""

from abs_theory.traces.columns import counted
from abs_theory.traces.staleness import staleness_check
from abs_theory.traces.trace import Trace, from_frame, read

__all__ = [
    "Trace",
    "counted",
    "from_frame",
    "read",
    "staleness_check",
]
