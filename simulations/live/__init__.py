"""Train with real workers under the same protocols: processes of this machine, whose delays are real or emulated."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
