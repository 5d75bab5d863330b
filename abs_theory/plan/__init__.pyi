from . import decide, fit
from .page import write
from .planner import plan
from .replayed import TraceReplay
from .result import Plan
from .words import sentences

__all__ = ["Plan", "TraceReplay", "decide", "fit", "plan", "sentences", "write"]
