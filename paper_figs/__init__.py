"""Every figure: compute a tidy table (cached), then draw it."""

import runpy

from abs_theory import __version__ as __version__


def run() -> None:
    """The console script: the same as ``python -m paper_figs``."""
    runpy.run_module("paper_figs", run_name="__main__")
