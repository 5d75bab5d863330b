"""How k, the threshold, the step and the local steps move: pure functions of ``Progress``.

A number is a constant policy, so constants need no factory; ``math.inf`` as a threshold means none.  ``plain``
policies ask nothing but ``Progress``; those ``from_theory`` ask the delay law first, and are loaded when asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
