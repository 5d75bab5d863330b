from . import decide, fit
from .changes import Change
from .planner import plan
from .replayed import TraceReplay
from .result import Plan
from .telling import (
    RECIPES,
    Comparison,
    Cost,
    Difference,
    Origin,
    Price,
    Recipe,
    Run,
    compare,
    cost,
    price,
    recipe,
    sentences,
    write,
    write_comparison,
)

__all__ = [
    "RECIPES",
    "Change",
    "Comparison",
    "Cost",
    "Difference",
    "Origin",
    "Plan",
    "Price",
    "Recipe",
    "Run",
    "TraceReplay",
    "compare",
    "cost",
    "decide",
    "fit",
    "plan",
    "price",
    "recipe",
    "sentences",
    "write",
    "write_comparison",
]
