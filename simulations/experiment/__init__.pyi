from .configuration import Experiment, made_from, read_toml
from .simulator import simulate
from .toml import TomlTable, merged, to_toml

__all__ = [
    "Experiment",
    "TomlTable",
    "made_from",
    "merged",
    "read_toml",
    "simulate",
    "to_toml",
]
