from .columns import counted, listed
from .files import read_table
from .formats import FORMATS, format_names
from .staleness import staleness_check
from .trace import Trace, from_frame, read

__all__ = [
    "FORMATS",
    "Trace",
    "counted",
    "format_names",
    "from_frame",
    "listed",
    "read",
    "read_table",
    "staleness_check",
]
