from . import command
from .comparison import Comparison, Tolerance, compare
from .lengths import Lengths, read_lengths, slowest_of_prompt
from .mode import Mode, Setup, admission, batches, modes, over_sampling, synchronous, tail_batching
from .page import write_page
from .progress import Objective
from .settings_search import Settings, best_settings

__all__ = [
    "Comparison",
    "Lengths",
    "Mode",
    "Objective",
    "Settings",
    "Setup",
    "Tolerance",
    "admission",
    "batches",
    "best_settings",
    "command",
    "compare",
    "modes",
    "over_sampling",
    "read_lengths",
    "slowest_of_prompt",
    "synchronous",
    "tail_batching",
    "write_page",
]
