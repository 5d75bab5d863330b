"""The parameter server: a clock, the tasks in progress, and the verbs that protocols use.

A worker process loads only what a task is, and how its gradient is computed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
