"""Quadratic objectives, whose constants are all known exactly."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from abs_theory.bounds import Constants
from abs_theory.checks import check_positive, is_finite


@dataclass(frozen=True)
class NoisyQuadratic:
    r"""F(w) = 1/2 sum_i lambda_i w_i^2, with Gaussian gradient noise of total variance ``sigma2``.

    ``curvatures`` are the lambda_i > 0.  Training starts at ``start`` in every coordinate.  L = max lambda,
    c = min lambda, F* = 0 and the noise variance are exact.  The losses that come with gradients have no noise.
    See also ``ShiftedQuadratic``, in which every worker has its own optimum.
    """

    exact_rows: ClassVar[bool] = True  #: see ``rows_are_exact``

    curvatures: tuple[float, ...]  #: lambda_i
    sigma2: float  #: variance of the noise, summed over coordinates
    start: float = 1.0  #: first value of every coordinate

    def __post_init__(self) -> None:
        if not (isinstance(self.curvatures, tuple) and self.curvatures):
            raise ValueError(f"curvatures must be a tuple of at least one number > 0, got {self.curvatures!r}")
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
        """L, sigma2, the gap and c; exact."""
        curvature = self._curvature
        return Constants(
            max(self.curvatures),
            self.sigma2,
            self.loss(self.initial),
            min(self.curvatures),
            noise_curvature=float(np.mean(curvature)),
            noise_curvature2=float(np.mean(curvature**2)),
        )

    @property
    def strong_convexity(self) -> float:
        """A c with 2c (F - F*) <= |grad F|^2."""
        return min(self.curvatures)

    def loss(self, params: np.ndarray) -> float:
        return 0.5 * float(self._curvature @ (params * params))

    def gradients(
        self, params: np.ndarray, workers: Sequence[int], rngs: Sequence[np.random.Generator]
    ) -> tuple[np.ndarray, np.ndarray]:
        noise = np.empty((len(rngs), params.shape[1] if self.sigma2 else 0))
        if self.sigma2:
            for row, rng in zip(noise, rngs, strict=True):
                rng.standard_normal(out=row)
            noise *= self._noise_scale
        return self.gradients_from(params, workers, noise)

    def draws(self, worker: int, rng: np.random.Generator, count: int) -> np.ndarray:
        """The noise of the next ``count`` gradients, shape (count, d); (count, 0) if there is none."""
        return rng.standard_normal((count, len(self._curvature) if self.sigma2 else 0)) * self._noise_scale

    def gradients_from(
        self, params: np.ndarray, workers: Sequence[int], draws: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """``gradients`` with the noise ``draws``."""
        slopes = params * self._curvature
        losses = 0.5 * np.vecdot(params, slopes)
        if self.sigma2:
            slopes += draws
        return losses, slopes

    @property
    def _noise_scale(self) -> float:
        """Standard deviation of the noise in each coordinate."""
        return (self.sigma2 / len(self.curvatures)) ** 0.5

    def gradient(self, params: np.ndarray) -> np.ndarray:
        """grad F(w), shape (d,), without noise."""
        return self._curvature * params

    def metrics(self, params: np.ndarray) -> dict[str, float]:
        slope = self.gradient(params)
        return {"gradient_norm2": float(slope @ slope)}


@dataclass(frozen=True)
class ShiftedQuadratic(NoisyQuadratic):
    r"""Worker i has the noisy quadratic F_i(w) = 1/2 sum_j lambda_j (w_j - o_i)^2; F is the mean of the F_i.

    ``optima`` are the o_i, one per worker, the same in every coordinate. F is least at their mean. A server that
    takes a share p_i of its gradients from worker i settles around sum_i p_i o_i instead. The ``sigma2`` of
    ``constants`` is that of a worker drawn at random; it includes the spread between workers: sigma2 + sum_j
    lambda_j^2 Var(o).
    """

    exact_rows: ClassVar[bool] = True  #: see ``rows_are_exact``

    optima: tuple[float, ...] = (0.0,)  #: o_i, one per worker

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.optima, tuple) and self.optima and all(map(is_finite, self.optima))):
            raise ValueError(f"optima must be a tuple of one finite number per worker, got {self.optima!r}")

    @property
    def n(self) -> int:
        """Number of workers, one for each optimum."""
        return len(self.optima)

    @cached_property
    def _optima(self) -> np.ndarray:
        return np.array(self.optima, dtype=float)

    @property
    def optimum(self) -> float:
        """The value of every coordinate at which F is least."""
        return float(self._optima.mean())

    @property
    def constants(self) -> Constants:
        """L, sigma2 with the spread between workers, the gap and c; exact."""
        spread = self._curvature**2 * self._optima.var()  # of the gradients, between workers
        noise = self.sigma2 / len(self._curvature) + spread
        sigma2 = float(noise.sum())
        return Constants(
            max(self.curvatures),
            sigma2,
            super().loss(self.initial - self.optimum),
            min(self.curvatures),
            noise_curvature=float(noise @ self._curvature) / sigma2 if sigma2 else None,
            noise_curvature2=float(noise @ self._curvature**2) / sigma2 if sigma2 else None,
        )

    def loss(self, params: np.ndarray) -> float:
        least = 0.5 * float(self._curvature.sum() * self._optima.var())
        return least + super().loss(params - self.optimum)

    def gradient(self, params: np.ndarray) -> np.ndarray:
        return super().gradient(params - self.optimum)

    def gradients_from(
        self, params: np.ndarray, workers: Sequence[int], draws: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return super().gradients_from(params - self._optima[list(workers), None], workers, draws)
