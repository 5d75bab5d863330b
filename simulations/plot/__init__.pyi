from .comparison import compare
from .curves import band, quartiles
from .looks import Look, in_small_print, new_axes
from .runs import NamedRuns, Results, Runs, named_runs, with_start
from .stale import staleness, staleness_shares
from .timelines import OUTCOMES, bars, outcome_legend, spans, timeline
from .tradeoffs import interval, to_targets, tradeoff

__all__ = [
    "OUTCOMES",
    "Look",
    "NamedRuns",
    "Results",
    "Runs",
    "band",
    "bars",
    "compare",
    "in_small_print",
    "interval",
    "named_runs",
    "new_axes",
    "outcome_legend",
    "quartiles",
    "spans",
    "staleness",
    "staleness_shares",
    "timeline",
    "to_targets",
    "tradeoff",
    "with_start",
]
