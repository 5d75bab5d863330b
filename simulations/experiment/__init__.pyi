from .configuration import Experiment, files_named, made_from, read_toml
from .simulator import checked_replicates, simulate
from .toml import TomlTable, merged, to_toml

__all__ = [
    "Experiment",
    "TomlTable",
    "checked_replicates",
    "files_named",
    "made_from",
    "merged",
    "read_toml",
    "simulate",
    "to_toml",
]
