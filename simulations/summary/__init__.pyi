from .cell_results import CONFIGURED, about_results, results, results_text, shown_results, target_of
from .noticed import notices
from .report import page, write

__all__ = [
    "CONFIGURED",
    "about_results",
    "notices",
    "page",
    "results",
    "results_text",
    "shown_results",
    "target_of",
    "write",
]
