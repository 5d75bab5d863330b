"""What is known of an objective: its smoothness, its noise, and how far training has to go."""

from dataclasses import dataclass, field

from abs_theory.checks import check_nonnegative, check_positive, store_floats

__all__ = ["Constants"]


def _number(help: str) -> dict[str, str]:
    """The metadata of a field that is an option of a command."""
    return {"metavar": "NUMBER", "help": help}


@dataclass(frozen=True)
class Constants:
    """Constants of an objective F with stochastic gradients g: E g = grad F, E|g - grad F|^2 <= sigma2.

    Raises ValueError unless L > 0, sigma2 >= 0, gap >= 0 and 0 <= c <= L, all finite.

    >>> Constants(L=1.0, sigma2=5.0, gap=10.0).c
    0.0
    """

    #: smoothness: |grad F(v) - grad F(w)| <= L |v - w|
    L: float = field(metadata=_number("smoothness: Lipschitz constant of the gradient"))
    #: variance of one worker's gradient, summed over coordinates
    sigma2: float = field(metadata=_number("variance of one worker's gradient"))
    #: F(w_0) - inf F
    gap: float = field(metadata=_number("loss at the start minus the least possible"))
    c: float = 0.0  #: strong convexity: 2c (F - F*) <= |grad F|^2; 0 if not strongly convex
    #: E[x'Hx] / E|x|^2 of noise x and Hessian H, at most L; None: unknown
    noise_curvature: float | None = field(default=None, metadata=_number("E[x'Hx] / E|x|^2, noise x, Hessian H"))
    #: E|Hx|^2 / E|x|^2, at most L^2; None: unknown
    noise_curvature2: float | None = field(default=None, metadata=_number("E|Hx|^2 / E|x|^2"))

    def __post_init__(self) -> None:
        store_floats(self, "L", "sigma2", "gap", "c", "noise_curvature", "noise_curvature2")
        check_positive("L", self.L)
        for name in ("noise_curvature", "noise_curvature2"):
            if getattr(self, name) is not None:
                check_nonnegative(name, getattr(self, name))
        for name in ("sigma2", "gap", "c"):
            check_nonnegative(name, getattr(self, name))
        if self.c > self.L:
            raise ValueError(f"strong convexity c cannot exceed smoothness L, got c={self.c} > L={self.L}")
