"""What a sweep has found, in a table and on a page, with notices where a run is likely to disappoint."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
