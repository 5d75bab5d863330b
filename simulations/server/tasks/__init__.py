"""The tasks of workers: what each is, when it will end, the clock that delivers it, and the books that count it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
