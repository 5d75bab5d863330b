from . import decide, fit
from .changes import Change
from .planner import plan
from .replayed import TraceReplay
from .result import Plan
from .telling import sentences, write

__all__ = ["Change", "Plan", "TraceReplay", "decide", "fit", "plan", "sentences", "write"]
