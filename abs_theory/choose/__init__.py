"""Which k, threshold and step size reach a goal soonest."""

from abs_theory.choose import candidates, schedules
from abs_theory.choose.by_the_clock import Timetable
from abs_theory.choose.candidates import Goal, Rounds
from abs_theory.choose.result import Choice
from abs_theory.choose.search import MODELS, SEARCH, best, best_k, timetable
from abs_theory.choose.thresholds import time_optimal_threshold

__all__ = [
    "MODELS",
    "SEARCH",
    "Choice",
    "Goal",
    "Rounds",
    "Timetable",
    "best",
    "best_k",
    "candidates",
    "schedules",
    "time_optimal_threshold",
    "timetable",
]
