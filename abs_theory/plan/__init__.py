"""From measured delays to a plan: how many workers to wait for, when one should restart, and what it saves."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
