"""Which k, threshold and step size reach a goal soonest.

``best`` compares constant settings, ``timetable`` lets k and the threshold move by the clock.  Both take a goal
(``Target`` or ``Budget``) and a ``Search``, the candidates.  ``time_optimal_threshold`` asks the delay law alone.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
