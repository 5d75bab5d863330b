"""One factory for each published method; its answer to an arrival reads like the published algorithm.

The files: ``waiting`` (for k gradients), ``moving_k``, ``stale`` (asynchronous, with staleness
bounded, weighed or dropped), ``optimal`` (of optimal time complexity), ``local`` (several local steps).
A file is loaded when one of its methods is asked for.  The methods whose k moves load the theory, the others do not.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
