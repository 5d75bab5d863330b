"""A page to try settings on: move n, k, the delay law and the threshold, and see what the toolkit computes for them.

``python -m simulations explore`` opens it in the browser; ``Explorer()`` shows it in a notebook.  Both need the extra
"explore" (Panel), which is loaded when the page is made; ``answer``, which computes the numbers, does not.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
