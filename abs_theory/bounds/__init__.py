"""Bounds on the error of SGD with stale gradients, and on its seconds; each states the steps it holds for.

Bounds that hold for every run are functions of this room.  Its modules: ``expected`` (an estimate of the error in
place of a bound), ``recorded`` (bounds for the staleness of a recorded run), ``fixed_times`` (bounds on seconds when
each worker's time has a known limit), ``quadratic`` (the exact error on a quadratic).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
