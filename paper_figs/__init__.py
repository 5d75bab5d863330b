"""Every figure: compute a tidy table (cached), then draw it."""

from abs_theory import __version__ as __version__
