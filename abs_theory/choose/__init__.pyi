from . import candidates, schedules, ties
from .by_the_clock import Timetable
from .candidates import Candidates
from .goal import MODELS, OBJECTIVES, SEARCH, Budget, Goal, Search, Target
from .result import Choice
from .search import best, best_k, timetable
from .thresholds import time_optimal_threshold

__all__ = [
    "MODELS",
    "OBJECTIVES",
    "SEARCH",
    "Budget",
    "Candidates",
    "Choice",
    "Goal",
    "Search",
    "Target",
    "Timetable",
    "best",
    "best_k",
    "candidates",
    "schedules",
    "ties",
    "time_optimal_threshold",
    "timetable",
]
