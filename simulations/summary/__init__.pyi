from .cell_results import CONFIGURED, results, results_text, target_of
from .noticed import notices
from .report import page, write

__all__ = ["CONFIGURED", "notices", "page", "results", "results_text", "target_of", "write"]
