"""Objectives: a loss, and the gradients of many workers in one batched call.

Problems are values: everything they draw comes from the generators they are handed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from abs_theory.bounds import Constants
from abs_theory.checks import check_count, check_positive
from simulations.data import Data, digits, split_evenly

_CACHE_BYTES = 1 << 20  # gradients are computed in chunks of jobs that stay in the processor's cache


@runtime_checkable
class Problem(Protocol):
    """What a server trains on."""

    @property
    def initial(self) -> np.ndarray:
        """w_0, shape (d,)."""
        ...

    def loss(self, params: np.ndarray) -> float:
        """F(w); infinite or NaN once training has diverged."""
        ...

    def gradients(
        self, params: np.ndarray, workers: Sequence[int], rngs: Sequence[np.random.Generator]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mini-batch losses, shape (k,), and gradients, (k, d): job j at ``params[j]`` on its worker's data."""
        ...

    def metrics(self, params: np.ndarray) -> dict[str, float]:
        """What else to record whenever the loss is evaluated, always the same keys."""
        ...


class TimingOnly:
    """A problem with nothing to learn, for studying time, staleness and traffic alone."""

    initial = np.zeros(0)

    def loss(self, params: np.ndarray) -> float:
        return 0.0

    def gradients(self, params, workers, rngs):
        return np.zeros(len(params)), params

    def metrics(self, params: np.ndarray) -> dict[str, float]:
        return {}


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


@dataclass(frozen=True)
class DigitsClassifier:
    """Cross-entropy on scikit-learn's digits, split evenly among ``n`` workers, plus ``l2`` / 2 |w|^2.

    ``hidden = 0`` is softmax regression (convex; strongly convex with ``l2`` > 0); ``hidden`` > 0 a two-layer
    perceptron with tanh units (not convex).  Each gradient uses ``batch_size`` samples drawn with
    replacement from its worker's share.  Metrics: test accuracy.  Single precision, as usual in training;
    ``dtype="float64"`` for checks.
    """

    n: int
    hidden: int = 0
    batch_size: int = 16
    l2: float = 0.0
    dtype: str = "float32"
    _shares: list[np.ndarray] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_count("hidden", self.hidden, minimum=0)
        check_count("batch_size", self.batch_size)
        if not 0 <= self.l2 < np.inf:
            raise ValueError(f"l2 must be finite and >= 0, got {self.l2}")
        check_count("n", self.n)
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be float32 or float64, got {self.dtype!r}")
        object.__setattr__(self, "_shares", split_evenly(len(digits().y), self.n))

    @cached_property
    def _data(self) -> Data:
        return digits(self.dtype)

    @cached_property
    def _widths(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each layer."""
        return [(64, self.hidden), (self.hidden, 10)] if self.hidden else [(64, 10)]

    @property
    def initial(self) -> np.ndarray:
        return self._initial

    @cached_property
    def _initial(self) -> np.ndarray:
        """Weights with variance 1 / inputs (from a fixed stream), biases 0."""
        rng = np.random.default_rng(0)
        parts = [(rng.standard_normal((a, b)) / a**0.5, np.zeros(b)) for a, b in self._widths]
        return np.concatenate([part.ravel() for layer in parts for part in layer]).astype(self.dtype)

    def loss(self, params: np.ndarray) -> float:
        data = self._data
        _, scores = self._forward(self._layers(params[None]), data.x[None])
        log_likelihood = np.einsum("ksc,sc->", _log_softmax(scores), data.one_hot)
        return float(-log_likelihood / len(data.y) + 0.5 * self.l2 * params @ params)

    def gradient(self, params: np.ndarray) -> np.ndarray:
        """grad F(w), shape (d,), over all training data."""
        slope = np.empty_like(params[None])
        self._backpropagate(params[None], self._data.x[None], self._data.one_hot[None], slope)
        return slope[0]

    def metrics(self, params: np.ndarray) -> dict[str, float]:
        data = self._data
        _, scores = self._forward(self._layers(params[None]), data.x_test[None])
        return {"test_accuracy": float((scores[0].argmax(axis=1) == data.y_test).mean())}

    def gradients(self, params, workers, rngs):
        data, size, m = self._data, self.batch_size, len(params)
        shares = [self._shares[worker] for worker in workers]
        rows = np.array([share[rng.integers(len(share), size=size)] for share, rng in zip(shares, rngs, strict=True)])
        chunk = max(1, _CACHE_BYTES // (params.itemsize * (2 * params.shape[1] + size * 64)))
        losses, gradients = np.empty(m, self.dtype), np.empty_like(params)
        for start in range(0, m, chunk):
            jobs = slice(start, start + chunk)
            x, one_hot = data.x[rows[jobs]], data.one_hot[rows[jobs]]
            losses[jobs] = self._backpropagate(params[jobs], x, one_hot, gradients[jobs])
        return losses, gradients

    def _layers(self, params: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Views of a (k, d) stack as the (weights, biases) of each layer, (k, a, b) and (k, 1, b)."""
        layers, start = [], 0
        for a, b in self._widths:
            weights = params[:, start : start + a * b].reshape(-1, a, b)
            start += a * b
            layers.append((weights, params[:, None, start : start + b]))
            start += b
        return layers

    def _forward(self, layers, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The input of the last layer and its scores, for a stack of models and batches."""
        for weights, biases in layers[:-1]:
            x = np.tanh(x @ weights + biases)
        weights, biases = layers[-1]
        return x, x @ weights + biases

    def _backpropagate(self, params: np.ndarray, x: np.ndarray, one_hot: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write the gradients of a chunk of jobs to ``out``; return their losses."""
        layers, slopes = self._layers(params), self._layers(out)
        last, scores = self._forward(layers, x)
        log_probability = _log_softmax(scores)
        samples = x.shape[1]
        losses = np.einsum("ksc,ksc->k", log_probability, one_hot) / -samples
        error = (np.exp(log_probability) - one_hot) / samples
        np.matmul(last.mT, error, out=slopes[-1][0])
        error.sum(axis=1, keepdims=True, out=slopes[-1][1])
        if self.hidden:
            error = error @ layers[1][0].mT * (1 - last * last)
            np.matmul(x.mT, error, out=slopes[0][0])
            error.sum(axis=1, keepdims=True, out=slopes[0][1])
        if self.l2:
            out += self.l2 * params
            losses += 0.5 * self.l2 * np.einsum("kd,kd->k", params, params)
        return losses


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    """Log-probabilities of the classes along the last axis (scipy's costs more than the rest of a small batch)."""
    scores = scores - scores.max(axis=-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))


def softmax_digits(n: int, batch_size: int = 16, l2: float = 0.0) -> DigitsClassifier:
    """Softmax regression on digits, convex."""
    return DigitsClassifier(n, 0, batch_size, l2)


def perceptron_digits(n: int, hidden: int = 32, batch_size: int = 16, l2: float = 0.0) -> DigitsClassifier:
    """A two-layer perceptron on digits, not convex.  Raises ValueError unless ``hidden`` >= 1."""
    check_count("hidden", hidden)
    return DigitsClassifier(n, hidden, batch_size, l2)
