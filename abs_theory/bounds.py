"""What the error bounds of SGD need to know about a problem."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Constants:
    """Of an objective F with stochastic gradients g: E g = grad F, E |g - grad F|^2 <= sigma2."""

    L: float  # smoothness: |grad F(v) - grad F(w)| <= L |v - w|
    sigma2: float  # variance of one worker's gradient, summed over coordinates
    gap: float  # F(w_0) - inf F
    c: float = 0.0  # strong convexity, 2c (F - F*) <= |grad F|^2; 0 if not strongly convex
