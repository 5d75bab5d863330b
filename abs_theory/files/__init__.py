"""Files that survive whatever happens: written as a whole, read only if unchanged, by one writer at a time."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
