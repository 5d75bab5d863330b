from . import command
from .comparison import Comparison, Tolerance, compare
from .lengths import Lengths, read_lengths, slowest_of_prompt
from .mode import Mode, Setup, admission, batches, modes, over_sampling, synchronous

__all__ = [
    "Comparison",
    "Lengths",
    "Mode",
    "Setup",
    "Tolerance",
    "admission",
    "batches",
    "command",
    "compare",
    "modes",
    "over_sampling",
    "read_lengths",
    "slowest_of_prompt",
    "synchronous",
]
