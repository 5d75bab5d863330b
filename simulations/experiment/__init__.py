"""Runs: from values in Python (``simulate``), or from what a file says (``Experiment``)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
