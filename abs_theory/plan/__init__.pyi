from . import decide, fit
from .page import write
from .planner import plan
from .replayed import Replay
from .result import Plan
from .words import sentences

__all__ = ["Plan", "Replay", "decide", "fit", "plan", "sentences", "write"]
