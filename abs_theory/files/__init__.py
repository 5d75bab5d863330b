"""Files that survive whatever happens: written as a whole, read only if unchanged, by one writer at a time."""

from abs_theory.files.ends import last_line
from abs_theory.files.lock import locked
from abs_theory.files.reading import check_unpacked, open_input
from abs_theory.files.sealed import UNFINISHED, DamagedFileError, read_sealed, replacing, write_sealed

__all__ = [
    "UNFINISHED",
    "DamagedFileError",
    "check_unpacked",
    "last_line",
    "locked",
    "open_input",
    "read_sealed",
    "replacing",
    "write_sealed",
]
