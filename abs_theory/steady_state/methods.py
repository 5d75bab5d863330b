"""The names of the ways to compute a steady state; apart, so that a command can list them without loading them."""

__all__ = ["METHODS"]

METHODS = ("auto", "fast", "exact", "mean-field", "monte-carlo")
