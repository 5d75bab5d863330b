"""Order statistics: the seconds until the k-th of n workers is done, for equal and unequal workers.

The functions of the door are in ``ranks``, except ``from_near_end``.  The other modules compute: ``over_time`` has the
integrals over time for unequal workers, ``counts`` the number of workers done by a time, ``renewal`` the time of the
k-th of many short tasks, ``covariance`` the covariance of two ranks, and ``by_quantile`` a second way to the moments,
over the quantile function, with which tests compare.
"""

from abs_theory.order_stats import counts, over_time, renewal
from abs_theory.order_stats.by_quantile import from_near_end
from abs_theory.order_stats.ranks import cdf, cov, first_infinite, first_k_probabilities, isf, mean, means, ppf, sf, var

__all__ = [
    "cdf",
    "counts",
    "cov",
    "first_infinite",
    "first_k_probabilities",
    "from_near_end",
    "isf",
    "mean",
    "means",
    "over_time",
    "ppf",
    "renewal",
    "sf",
    "var",
]
