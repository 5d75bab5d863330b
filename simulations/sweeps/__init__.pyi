from . import execution, folder, report
from .choices import BACKENDS, FORMATS
from .execution import run_sweep
from .lock import locked
from .provenance import versions
from .sealed import DamagedFileError, read_sealed, replacing, write_sealed
from .storage import Store, pack, unpack
from .sweep import Sweep, label

__all__ = [
    "BACKENDS",
    "FORMATS",
    "DamagedFileError",
    "Store",
    "Sweep",
    "execution",
    "folder",
    "label",
    "locked",
    "pack",
    "read_sealed",
    "replacing",
    "report",
    "run_sweep",
    "unpack",
    "versions",
    "write_sealed",
]
