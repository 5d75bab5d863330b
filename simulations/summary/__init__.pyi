from .notices import notices
from .report import page, write
from .results import CONFIGURED, results, results_text, target_of

__all__ = ["CONFIGURED", "notices", "page", "results", "results_text", "target_of", "write"]
