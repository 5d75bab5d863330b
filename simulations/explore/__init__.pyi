from .answers import Answer, answer, timeline_of
from .page import Explorer
from .serving import serve
from .setting import LAWS, THRESHOLDS, Setting

__all__ = ["LAWS", "THRESHOLDS", "Answer", "Explorer", "Setting", "answer", "serve", "timeline_of"]
