"""What happens when a model is really trained: an event simulator of straggler-aware SGD."""

from abs_theory import __version__ as __version__
