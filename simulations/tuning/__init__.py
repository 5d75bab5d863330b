"""Find the step size and the other knobs of a method that reach a target soonest."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
