"""Classifiers trained with cross-entropy: softmax regression and a two-layer perceptron, on any labelled data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from abs_theory.checks import check_count, check_memory, check_nonnegative, explains_types
from simulations.problems import batches
from simulations.problems.batches import OnSharedData
from simulations.problems.data import Data, Split, digits

MOST_KEPT = 1 << 20  # features of samples; more are converted from the data whenever they are used


@dataclass(frozen=True)
class Classifier(OnSharedData):
    """Mean cross-entropy over the training ``data``, which ``n`` workers share, plus ``l2`` / 2 |w|^2.

    With ``hidden = 0`` it is softmax regression: convex, and strongly convex for ``l2`` > 0.  Otherwise it is a
    two-layer perceptron with tanh units, which is not convex.  A gradient uses ``batch_size`` samples drawn with
    replacement from the worker's share: ``split`` is "even", "all" (every worker draws from all data) or a number > 0,
    the Dirichlet parameter of a split by label, see ``data.shares``.  Metric: the test accuracy, if there are test
    samples.  Single precision, as usual in training; ``dtype="float64"`` for checks.

    Raises ValueError for data without labels, or that cannot be shared among ``n`` workers.
    """

    exact_rows: ClassVar[bool] = True  #: see ``rows_are_exact``

    data: Data  #: to train and test on
    n: int  #: number of workers
    hidden: int = 0  #: units of the hidden layer; 0: softmax regression, without one
    batch_size: int = 16  #: samples per gradient
    l2: float = 0.0  #: weight of the penalty on |w|^2 / 2
    split: Split = "even"  #: of the data among the workers
    split_seed: int = 0  #: of the random numbers of this split
    dtype: str = "float32"  #: precision of the model: "float32" or "float64"

    def __post_init__(self) -> None:
        self.check_shares()
        if self.data.classes < 2:
            raise ValueError(f"data must have labels of at least two classes, such as digits(), got {self.data!r}")
        check_count("hidden", self.hidden, minimum=0)
        check_nonnegative("l2", self.l2)
        self._check_memory()
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be float32 or float64, got {self.dtype!r}")

    def _check_memory(self) -> None:
        features, classes = self.data.x.shape[1], self.data.classes
        size = features * classes if not self.hidden else self.hidden * (features + classes)
        check_memory(f"{self.n} gradients of {size} parameters", 8.0 * self.n * size)

    @cached_property
    def _one_hot(self) -> np.ndarray:
        return np.eye(self.data.classes, dtype=self.dtype)[self.data.y]

    @cached_property
    def _widths(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each layer."""
        features, classes = self.data.x.shape[1], self.data.classes
        return [(features, self.hidden), (self.hidden, classes)] if self.hidden else [(features, classes)]

    @property
    def initial(self) -> np.ndarray:
        return self._initial

    @cached_property
    def _initial(self) -> np.ndarray:
        """Weights with variance 1 / inputs (always the same random numbers), biases 0."""
        rng = np.random.default_rng(0)
        parts = [(rng.standard_normal((a, b)) / a**0.5, np.zeros(b)) for a, b in self._widths]
        return np.concatenate([part.ravel() for layer in parts for part in layer]).astype(self.dtype)

    @property
    def strong_convexity(self) -> float:
        """A c with 2c (F - F*) <= |grad F|^2: ``l2`` for softmax regression, 0 (unknown) for the perceptron."""
        return 0.0 if self.hidden else self.l2

    def loss(self, params: np.ndarray) -> float:
        layers, parts = self._layers(params[None]), []
        for rows in self._passes(self.data.y):
            _, scores = self._forward(layers, self._x(rows)[None])
            parts.append(np.einsum("ksc,sc->", _log_softmax(scores), self._one_hot[rows]))
        return float(-np.sum(parts) / len(self.data.y) + 0.5 * self.l2 * params @ params)

    def gradient(self, params: np.ndarray) -> np.ndarray:
        """grad F(w), shape (d,), over all training data."""
        slope, total = np.empty_like(params[None]), np.zeros_like(params)
        for rows in self._passes(self.data.y):
            x = self._x(rows)
            self._backpropagate(params[None], x[None], self._one_hot[rows][None], slope, len(self.data.y))
            total += slope[0]
        return total + self.l2 * params

    def metrics(self, params: np.ndarray) -> dict[str, float]:
        data, layers, right = self.data, self._layers(params[None]), 0
        if not len(data.y_test):
            return {}
        for rows in self._passes(data.y_test):
            _, scores = self._forward(layers, self._x_test(rows)[None])
            right += int((scores[0].argmax(axis=1) == data.y_test[rows]).sum())
        return {"test_accuracy": right / len(data.y_test)}

    def gradients(
        self, params: np.ndarray, workers: Sequence[int], rngs: Sequence[np.random.Generator]
    ) -> tuple[np.ndarray, np.ndarray]:
        return self.gradients_from(params, workers, self.draw(workers, rngs))

    def gradients_from(
        self, params: np.ndarray, workers: Sequence[int], draws: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """``gradients`` on the samples ``draws``, shape (k, batch_size)."""
        size = self.batch_size
        losses, gradients = np.empty(len(params), self.dtype), np.empty_like(params)
        bytes_each = params.itemsize * (2 * params.shape[1] + size * self._widths[0][0])
        for jobs in batches.chunks(len(params), bytes_each, batches.CACHE_BYTES):
            models, out = params[jobs], gradients[jobs]
            x, one_hot = self._x(draws[jobs]), self._one_hot.take(draws[jobs], axis=0)
            losses[jobs] = self._backpropagate(models, x, one_hot, out, size)
            if self.l2:
                out += self.l2 * models
                losses[jobs] += 0.5 * self.l2 * np.einsum("kd,kd->k", models, models)
        return losses, gradients

    # ------------------------------------------------------------------ inside
    def _x(self, rows: slice | np.ndarray) -> np.ndarray:
        """The features of these training samples."""
        if self._kept is None:
            return self._features(self.data.x, rows)
        return self._kept[rows] if isinstance(rows, slice) else self._kept.take(rows, axis=0)  # the same, but faster

    def _x_test(self, rows: slice) -> np.ndarray:
        """The features of these test samples."""
        return self._features(self.data.x_test, rows) if self._kept_test is None else self._kept_test[rows]

    @cached_property
    def _kept(self) -> np.ndarray | None:
        return self._features(self.data.x, slice(None)) if self.data.x.size <= MOST_KEPT else None

    @cached_property
    def _kept_test(self) -> np.ndarray | None:
        return self._features(self.data.x_test, slice(None)) if self.data.x_test.size <= MOST_KEPT else None

    def _features(self, x: np.ndarray, rows: slice | np.ndarray) -> np.ndarray:
        return self.data.features(x[rows], self.dtype)

    def _passes(self, y: np.ndarray) -> Iterator[slice]:
        """Chunks of rows of a pass over the samples with the labels ``y``."""
        bytes_each = np.dtype(self.dtype).itemsize * sum(inputs for inputs, _ in self._widths)
        return batches.chunks(len(y), bytes_each, batches.PASS_BYTES)

    def _layers(self, params: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Views of a (k, d) stack of models: weights (k, a, b) and biases (k, 1, b) of each layer."""
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
            x = x @ weights
            x += biases
            np.tanh(x, out=x)
        weights, biases = layers[-1]
        scores = x @ weights
        scores += biases
        return x, scores

    def _backpropagate(
        self, params: np.ndarray, x: np.ndarray, one_hot: np.ndarray, out: np.ndarray, samples: int
    ) -> np.ndarray:
        """Write the gradients of a chunk of jobs to ``out`` and return their losses, both without ``l2``.

        Both are sums over the batch divided by ``samples``.
        """
        layers, slopes = self._layers(params), self._layers(out)
        last, scores = self._forward(layers, x)
        log_probability = _log_softmax(scores)
        losses = np.einsum("ksc,ksc->k", log_probability, one_hot) / -samples
        error = (np.exp(log_probability) - one_hot) / samples
        np.matmul(last.mT, error, out=slopes[-1][0])
        error.sum(axis=1, keepdims=True, out=slopes[-1][1])
        if self.hidden:
            error = error @ layers[1][0].mT * (1 - last * last)
            np.matmul(x.mT, error, out=slopes[0][0])
            error.sum(axis=1, keepdims=True, out=slopes[0][1])
        return losses


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    """Log-probabilities of the classes along the last axis, written over the ``scores``.

    That of scipy would take most of the time of a small batch.
    """
    by_class = np.ascontiguousarray(scores.transpose(2, 0, 1))  # its maximum takes a tenth of the time
    scores -= by_class.max(axis=0)[..., None]
    scores -= np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    return scores


@explains_types
def softmax(data: Data, n: int, batch_size: int = 16, l2: float = 0.0, split: Split = "even") -> Classifier:
    """Softmax regression: the convex ``Classifier`` without a hidden layer.

    >>> problem = softmax(digits(), 4, l2=0.01)
    >>> len(problem.initial), problem.strong_convexity
    (650, 0.01)

    See also ``perceptron``, which is not convex, and ``softmax_digits``.
    """
    return Classifier(data, n, 0, batch_size, l2, split)


@explains_types
def perceptron(
    data: Data, n: int, hidden: int = 32, batch_size: int = 16, l2: float = 0.0, split: Split = "even"
) -> Classifier:
    """A two-layer perceptron: the ``Classifier`` with a hidden layer, not convex.  Raises ValueError for hidden < 1.

    >>> problem = perceptron(digits(), 4, hidden=8)
    >>> len(problem.initial), problem.strong_convexity
    (610, 0.0)

    See also ``softmax``, which is convex, and ``perceptron_digits``.
    """
    check_count("hidden", hidden)
    return Classifier(data, n, hidden, batch_size, l2, split)


@explains_types
def softmax_digits(n: int, batch_size: int = 16, l2: float = 0.0, split: Split = "even") -> Classifier:
    """Softmax regression on scikit-learn's digits.

    >>> problem = softmax_digits(8)
    >>> round(problem.loss(problem.initial), 3), list(problem.metrics(problem.initial))
    (2.489, ['test_accuracy'])
    """
    return softmax(digits(), n, batch_size, l2, split)


@explains_types
def perceptron_digits(
    n: int, hidden: int = 32, batch_size: int = 16, l2: float = 0.0, split: Split = "even"
) -> Classifier:
    """A two-layer perceptron on scikit-learn's digits.

    >>> problem = perceptron_digits(8, hidden=16)
    >>> losses, gradients = problem.gradients(problem.initial[None], [0], [np.random.default_rng(0)])
    >>> losses.shape, gradients.shape
    ((1,), (1, 1210))
    """
    return perceptron(digits(), n, hidden, batch_size, l2, split)


@explains_types
def DigitsClassifier(  # noqa: N802 - built like the class
    n: int, hidden: int = 0, batch_size: int = 16, l2: float = 0.0, dtype: str = "float32", split: Split = "even"
) -> Classifier:
    """Softmax regression (``hidden = 0``) or a perceptron on scikit-learn's digits, in either precision.

    >>> DigitsClassifier(4, dtype="float64").initial.dtype
    dtype('float64')
    """
    return Classifier(digits(), n, hidden, batch_size, l2, split, dtype=dtype)
