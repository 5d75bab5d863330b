"""What is known of an objective: smoothness, noise, the way to go, convexity."""

from dataclasses import dataclass

from abs_theory.checks import check_nonnegative, check_positive

__all__ = ["Constants"]


@dataclass(frozen=True)
class Constants:
    """Of an objective F with stochastic gradients g: E g = grad F, E|g - grad F|^2 <= sigma2.

    Raises ValueError unless L > 0, sigma2 >= 0, gap >= 0 and 0 <= c <= L, all finite.
    """

    L: float  #: smoothness: |grad F(v) - grad F(w)| <= L |v - w|
    sigma2: float  #: variance of one worker's gradient, summed over coordinates
    gap: float  #: F(w_0) - inf F
    c: float = 0.0  #: strong convexity, 2c (F - F*) <= |grad F|^2; 0 if not strongly convex
    noise_curvature: float | None = None  #: E[x'Hx] / E|x|^2 of noise x and Hessian H, at most L; None: unknown
    noise_curvature2: float | None = None  #: E|Hx|^2 / E|x|^2, at most L^2; None: unknown

    def __post_init__(self) -> None:
        check_positive("L", self.L)
        for name in ("noise_curvature", "noise_curvature2"):
            if getattr(self, name) is not None:
                check_nonnegative(name, getattr(self, name))
        for name in ("sigma2", "gap", "c"):
            check_nonnegative(name, getattr(self, name))
        if self.c > self.L:
            raise ValueError(f"strong convexity c cannot exceed smoothness L, got c={self.c} > L={self.L}")
