"""A plan as words, as a page and as data; what to type, what it costs; and two traces compared."""

from abs_theory.plan.telling.comparison import Comparison, Difference, compare
from abs_theory.plan.telling.costs import Cost, Price, Run, cost, price
from abs_theory.plan.telling.page import Origin, write, write_comparison
from abs_theory.plan.telling.recipes import RECIPES, Recipe, recipe
from abs_theory.plan.telling.words import sentences

__all__ = [
    "RECIPES", "Comparison", "Cost", "Difference", "Origin", "Price", "Recipe", "Run", "compare", "cost", "price",
    "recipe", "sentences", "write", "write_comparison",
]  # fmt: skip
