from . import command
from .comparison import Comparison, Tolerance, compare
from .lengths import Lengths, read_lengths, slowest_of_prompt
from .mode import Mode, Setup, modes

__all__ = [
    "Comparison",
    "Lengths",
    "Mode",
    "Setup",
    "Tolerance",
    "command",
    "compare",
    "modes",
    "read_lengths",
    "slowest_of_prompt",
]
