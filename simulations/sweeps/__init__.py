"""Many runs: the cells of a sweep, how they are computed, and the folder that keeps finished results."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
