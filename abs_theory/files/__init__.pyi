from .ends import last_line
from .lock import locked
from .reading import check_not_archive, check_unpacked, open_input
from .sealed import UNFINISHED, DamagedFileError, read_sealed, replacing, write_sealed

__all__ = [
    "UNFINISHED",
    "DamagedFileError",
    "check_not_archive",
    "check_unpacked",
    "last_line",
    "locked",
    "open_input",
    "read_sealed",
    "replacing",
    "write_sealed",
]
