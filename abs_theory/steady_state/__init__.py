"""Round time, staleness, restarts, messages and shares of time of the ABS family in the long run."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
