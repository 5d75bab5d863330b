"""Quadratic objectives, on which everything is known."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from abs_theory.bounds import Constants
from abs_theory.checks import check_positive


@dataclass(frozen=True)
class NoisyQuadratic:
    r"""F(w) = 1/2 sum_i lambda_i w_i^2, with Gaussian gradient noise of total variance ``sigma2``.

    ``curvatures`` are the lambda_i > 0, all workers start at ``start`` in every coordinate.  L = max lambda,
    c = min lambda, F* = 0 and the noise variance are exact.  The losses that come with gradients are noiseless.
    """

    curvatures: tuple[float, ...]
    sigma2: float
    start: float = 1.0

    def __post_init__(self) -> None:
        if not (isinstance(self.curvatures, tuple) and self.curvatures):
            raise ValueError(f"curvatures must be a tuple of at least one number, got {self.curvatures!r}")
        for curvature in self.curvatures:
            check_positive("curvatures", curvature)
        if not (0 <= self.sigma2 < np.inf and np.isfinite(self.start)):
            raise ValueError(f"sigma2 must be finite and >= 0, start finite, got {self}")

    @cached_property
    def _curvature(self) -> np.ndarray:
        return np.array(self.curvatures, dtype=float)

    @property
    def initial(self) -> np.ndarray:
        return np.full(len(self.curvatures), float(self.start))

    @property
    def constants(self) -> Constants:
        curvature = self._curvature
        return Constants(
            max(self.curvatures),
            self.sigma2,
            self.loss(self.initial),
            min(self.curvatures),
            noise_curvature=float(np.mean(curvature)),
            noise_curvature2=float(np.mean(curvature**2)),
        )

    def loss(self, params: np.ndarray) -> float:
        return 0.5 * float(self._curvature @ (params * params))

    def gradients(self, params, workers, rngs):
        slopes = params * self._curvature
        losses = 0.5 * np.einsum("kd,kd->k", params, slopes)
        if self.sigma2:
            d = params.shape[1]
            noise = np.array([rng.standard_normal(d) for rng in rngs])
            slopes += (self.sigma2 / d) ** 0.5 * noise
        return losses, slopes

    def gradient(self, params: np.ndarray) -> np.ndarray:
        """grad F(w), shape (d,), without noise."""
        return self._curvature * params

    def metrics(self, params: np.ndarray) -> dict[str, float]:
        slope = self.gradient(params)
        return {"gradient_norm2": float(slope @ slope)}
