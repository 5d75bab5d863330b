"""What a result depends on besides its configuration: the source of the toolkit and the versions of its libraries."""

import hashlib
import platform
import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

import abs_theory
import simulations

__all__ = ["content_hash", "source_hash", "versions"]

_LIBRARIES = ("numpy", "scipy", "scikit-learn")


@cache
def source_hash() -> str:
    """Hash of all source code that a simulated number can depend on."""
    digest = hashlib.sha256()
    for package in (abs_theory, simulations):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            if path.name != "__main__.py":
                digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """The versions of Python, numpy, scipy and scikit-learn, the processor, and a hash of the toolkit's source.

    >>> list(versions())
    ['python', 'numpy', 'scipy', 'scikit-learn', 'machine', 'toolkit']
    """
    python = ".".join(map(str, sys.version_info[:3]))
    libraries = {name: metadata.version(name) for name in _LIBRARIES}
    return {"python": python, **libraries, "machine": platform.machine(), "toolkit": source_hash()}


def content_hash(names: Iterable[str]) -> str:
    """Hash of these files, and of all files in these folders."""
    digest = hashlib.sha256()
    for name in names:
        root = Path(name)
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file():
                digest.update(path.relative_to(root).as_posix().encode() + b"\n" + path.read_bytes())
    return digest.hexdigest()
