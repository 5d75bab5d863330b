"""Problems: objectives, the data they are trained on, and the gradients of many workers in one batched call.

Each is loaded when it is used: worker processes start with the one that they train.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
