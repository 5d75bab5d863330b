from .columns import UNITS, counted, listed, shortened
from .files import read_table
from .formats import FORMATS, format_names
from .names import base_of
from .staleness import staleness_check
from .trace import Trace, from_frame, read

__all__ = [
    "FORMATS",
    "UNITS",
    "Trace",
    "base_of",
    "counted",
    "format_names",
    "from_frame",
    "listed",
    "read",
    "read_table",
    "shortened",
    "staleness_check",
]
