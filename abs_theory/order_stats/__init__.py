"""When the k-th of n workers is done: order statistics of equal and unequal workers, in seconds."""

from abs_theory.order_stats import counts, over_time
from abs_theory.order_stats.ranks import cdf, cov, first_k_probabilities, isf, mean, means, ppf, sf, var

__all__ = [
    "cdf",
    "counts",
    "cov",
    "first_k_probabilities",
    "isf",
    "mean",
    "means",
    "over_time",
    "ppf",
    "sf",
    "var",
]
