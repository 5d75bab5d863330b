"""Pictures of one's own runs: timelines, comparisons, staleness, and what speed costs in messages.

Each function takes what ``simulate`` and the sweeps return, under any names, and returns matplotlib axes.  The figures
of the paper are drawn by the same functions.  matplotlib is loaded when something is drawn.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
