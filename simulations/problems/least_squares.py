"""Linear regression: its constants are known exactly, although its data and therefore its noise are real."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from abs_theory.bounds import Constants
from abs_theory.checks import check_count, check_memory, check_nonnegative, explains_types, is_finite
from simulations.problems import batches
from simulations.problems.batches import OnSharedData
from simulations.problems.data import Data, Split


@dataclass(frozen=True)
class LeastSquares(OnSharedData):
    r"""F(w) = 1/2 mean_s (x_s w - y_s)^2 + ``l2`` / 2 |w|^2 over the N training samples, which ``n`` workers share.

    A gradient uses ``batch_size`` samples drawn with replacement from the worker's share; see ``data.shares`` for
    ``split``.  Training starts at w = 0.  Metric: |grad F|^2.  Double precision.
    """

    exact_rows: ClassVar[bool] = True  #: see ``rows_are_exact``

    data: Data  #: to train on
    n: int  #: number of workers
    batch_size: int = 1  #: samples per gradient
    l2: float = 0.0  #: weight of the penalty on |w|^2 / 2
    split: Split = "even"  #: of the data among the workers
    split_seed: int = 0  #: of the random numbers of this split

    def __post_init__(self) -> None:
        self.check_shares()
        check_nonnegative("l2", self.l2)

    @cached_property
    def _x(self) -> np.ndarray:
        return self.data.features(self.data.x, "float64")

    @property
    def initial(self) -> np.ndarray:
        return np.zeros(self._x.shape[1])

    def loss(self, params: np.ndarray) -> float:
        residual = self._x @ params - self.data.y
        return 0.5 * float(residual @ residual / len(residual) + self.l2 * params @ params)

    def gradient(self, params: np.ndarray) -> np.ndarray:
        """grad F(w), shape (d,), over all training data."""
        return self._x.T @ (self._x @ params - self.data.y) / len(self._x) + self.l2 * params

    def metrics(self, params: np.ndarray) -> dict[str, float]:
        slope = self.gradient(params)
        return {"gradient_norm2": float(slope @ slope)}

    def gradients(
        self, params: np.ndarray, workers: Sequence[int], rngs: Sequence[np.random.Generator]
    ) -> tuple[np.ndarray, np.ndarray]:
        return self.gradients_from(params, workers, self.draw(workers, rngs))

    def gradients_from(
        self, params: np.ndarray, workers: Sequence[int], draws: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """``gradients`` on the samples ``draws``, shape (k, batch_size)."""
        losses, gradients = np.empty(len(params)), np.empty_like(params)
        bytes_each = 8 * params.shape[1] * (2 + self.batch_size)
        for jobs in batches.chunks(len(params), bytes_each, batches.CACHE_BYTES):
            models, x = params[jobs], self._x[draws[jobs]]
            residual = (x @ models[:, :, None])[:, :, 0] - self.data.y[draws[jobs]]
            losses[jobs] = 0.5 * np.square(residual).mean(axis=1) + 0.5 * self.l2 * np.square(models).sum(axis=1)
            gradients[jobs] = (residual[:, None] @ x)[:, 0] / self.batch_size + self.l2 * models
        return losses, gradients

    # ------------------------------------------------------------------ what is known
    @cached_property
    def hessian(self) -> np.ndarray:
        """X'X / N + l2, shape (d, d), the same for all w."""
        return self._x.T @ self._x / len(self._x) + self.l2 * np.eye(self._x.shape[1])

    @cached_property
    def _spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of the Hessian, set to 0 where rounding alone separates them from 0, and its eigenvectors."""
        values, vectors = np.linalg.eigh(self.hessian)
        return np.where(values > len(values) * np.finfo(float).eps * values[-1], values, 0.0), vectors

    @cached_property
    def optimum(self) -> np.ndarray:
        """The w of smallest norm at which F is least, shape (d,)."""
        values, vectors = self._spectrum
        inverse = np.divide(1, values, out=np.zeros_like(values), where=values > 0)
        return vectors @ (inverse * (vectors.T @ (self._x.T @ self.data.y))) / len(self._x)

    def noise_covariance(self, params: np.ndarray) -> np.ndarray:
        """E[x x'], shape (d, d), of x = g - grad F, where g is the gradient of a worker drawn at random.

        It is the spread of the samples within a share over the batch size, plus the spread between the shares.  Cost
        O(N d^2).
        """
        slopes = self._x * (self._x @ params - self.data.y)[:, None]
        parts = self.shares[:1] if self.split == "all" else self.shares
        means = np.array([slopes[rows].mean(axis=0) for rows in parts])
        weights = np.zeros(len(slopes))
        for rows in parts:
            weights[rows] = 1 / (len(parts) * len(rows))
        within = slopes.T @ (slopes * weights[:, None]) - means.T @ means / len(parts)
        between = means - slopes.mean(axis=0)
        return within / self.batch_size + between.T @ between / len(parts)

    @cached_property
    def constants(self) -> Constants:
        """L, sigma2, the gap and c, exact; c is the smallest eigenvalue of the Hessian, 0 if it is singular.

        The noise, with the spread between workers, is that at the optimum; for other w see ``noise_covariance``.
        """
        covariance, hessian = self.noise_covariance(self.optimum), self.hessian
        sigma2 = float(np.trace(covariance))
        hessian_noise = hessian @ covariance
        values, _ = self._spectrum
        return Constants(
            float(values[-1]),
            sigma2,
            max(0.0, self.loss(self.initial) - self.loss(self.optimum)),
            float(values[0]),
            noise_curvature=float(np.trace(hessian_noise)) / sigma2 if sigma2 else None,
            noise_curvature2=float((hessian * hessian_noise).sum()) / sigma2 if sigma2 else None,
        )

    @property
    def strong_convexity(self) -> float:
        """A c with 2c (F - F*) <= |grad F|^2."""
        return self.constants.c


@explains_types
def random_least_squares(
    n: int,
    d: int = 10,
    samples: int = 1000,
    condition: float = 10.0,
    noise: float = 0.1,
    batch_size: int = 1,
    split: Split = "even",
    seed: int = 0,
) -> LeastSquares:
    """Least squares on generated data: features and w are normal, y = x w + ``noise`` times a normal variable.

    The variances of the features fall geometrically from 1 to 1 / ``condition``.  With many samples they are close to
    the eigenvalues of the Hessian.  Raises ValueError unless condition >= 1 and noise >= 0.

    >>> problem = random_least_squares(4, d=3, noise=0.0)
    >>> round(problem.constants.L, 2), round(problem.loss(problem.optimum), 6)
    (0.99, 0.0)
    """
    check_count("d", d)
    check_count("samples", samples)
    check_memory(f"{samples} samples of {d} features", 8.0 * d * (samples + d))
    check_count("seed", seed, minimum=0)
    check_nonnegative("noise", noise)
    if not (is_finite(condition) and condition >= 1):
        raise ValueError(f"condition must be a finite number >= 1, got {condition!r}")
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, d)) * condition ** -np.linspace(0, 0.5, d)
    y = x @ rng.standard_normal(d) + noise * rng.standard_normal(samples)
    name = f"linear, condition {condition:g}, noise {noise:g}, seed {seed}"
    return LeastSquares(Data(x, y, x[:0], y[:0], name=name), n, batch_size, split=split)
