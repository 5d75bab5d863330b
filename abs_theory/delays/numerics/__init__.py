"""Numerical methods for delay laws, from their cdf, sf, ppf and isf alone.

``bisection`` inverts any increasing function; ``binomial`` counts finished workers; ``panels`` places quadrature nodes
in time; ``moments`` integrates order statistics over them; ``convolution`` tabulates sums; ``density_tail`` has upper
tails from the density, and ``upper_tail`` finds where they are needed; ``scipy_tables`` tabulates laws of scipy with
slow quantiles; ``ageing`` finds whether a hazard rate rises or falls.
"""
