"""A plan as words, as a page and as data."""

from abs_theory.plan.telling.page import write
from abs_theory.plan.telling.words import sentences

__all__ = ["sentences", "write"]
