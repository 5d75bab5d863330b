"""Many runs: the cells of a sweep, their execution, and the folder that keeps what is finished."""

from simulations.sweeps import execution, folder
from simulations.sweeps.provenance import versions
from simulations.sweeps.storage import Store
from simulations.sweeps.sweep import Sweep, label

__all__ = [
    "Store",
    "Sweep",
    "execution",
    "folder",
    "label",
    "versions",
]
