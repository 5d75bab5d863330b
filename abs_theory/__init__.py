"""What can be computed about straggler-aware SGD without training anything."""

__version__ = "0.2.0"  # of the whole toolkit
