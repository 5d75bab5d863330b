from . import execution, folder, report
from .choices import BACKENDS, FORMATS
from .execution import run_sweep
from .provenance import versions
from .storage import Store, pack, unpack
from .sweep import Sweep, label

__all__ = [
    "BACKENDS",
    "FORMATS",
    "Store",
    "Sweep",
    "execution",
    "folder",
    "label",
    "pack",
    "report",
    "run_sweep",
    "unpack",
    "versions",
]
