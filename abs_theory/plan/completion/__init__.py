"""Tasks whose end nobody saw, completed by a model of their delays: calls that were lost, and tasks restarted."""

from abs_theory.plan.completion.completed import MOST_MOVED, Completed
from abs_theory.plan.completion.lost import complete
from abs_theory.plan.completion.restarted import Restarted, complete_restarted

__all__ = ["MOST_MOVED", "Completed", "Restarted", "complete", "complete_restarted"]
