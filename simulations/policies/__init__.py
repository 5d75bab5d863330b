"""How k, the threshold, the step size and the local steps change during a run: pure functions of ``Progress``.

A number is a constant policy, so constants need no factory; ``math.inf`` as a threshold means none.  The policies in
``plain`` use ``Progress`` alone.  Those in ``adasync`` (a growing k)
and ``thresholds`` ask the delay law or the constants of the problem first, and are loaded when they are used.  Those in
``self_tuned`` ask for what the server measures.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
