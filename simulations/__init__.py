"""What happens when a model is really trained: an event simulator of straggler-aware SGD."""

import runpy

import lazy_loader

from abs_theory import __version__ as __version__

__getattr__, __dir__, _ = lazy_loader.attach(__name__, submod_attrs={"tuning": ["tune"]})


def run() -> None:
    """The console script: the same as ``python -m simulations``."""
    runpy.run_module("simulations", run_name="__main__")
