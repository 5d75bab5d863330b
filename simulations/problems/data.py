"""Data sets and their split among workers."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from abs_theory.checks import check_count, check_positive, is_finite

Split = str | float  # see ``shares``
SMALLEST_PARAMETER = 1e-300  # of a Dirichlet law, so that its reciprocal is finite


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """Samples to train on and, optionally, samples to test on; compared by identity.

    The features of a sample are a row of ``x`` times ``scale``.  ``y`` holds labels in 0..classes-1, or with
    ``classes = 0`` the real targets of a regression.  Images stay in memory as bytes, once for all workers.
    Raises ValueError unless x is (N, features) with N > 0, y is (N,), both are finite, and the test set has the same
    form.
    """

    x: np.ndarray  #: features to train on, a row per sample
    y: np.ndarray  #: labels or targets of these
    x_test: np.ndarray  #: features to test on; no rows if there are none
    y_test: np.ndarray  #: labels or targets of these
    scale: float = 1.0  #: factor of all features
    classes: int = 0  #: number of labels; 0 for a regression
    name: str = "data"  #: for messages and the repr

    def __post_init__(self) -> None:
        check_count("classes", self.classes, minimum=0)
        check_positive("scale", self.scale)
        self._check("training", self.x, self.y)
        self._check("test", self.x_test, self.y_test)
        if not self.x.size or self.x.shape[1] != self.x_test.shape[1]:
            raise ValueError(
                f"{self.name}: there must be training samples, with as many features as the test samples have, "
                f"got x of shape {self.x.shape} and x_test of {self.x_test.shape}"
            )

    def _check(self, kind: str, x: np.ndarray, y: np.ndarray) -> None:
        shapes = [getattr(array, "shape", type(array).__name__) for array in (x, y)]
        if not (isinstance(x, np.ndarray) and x.ndim == 2 and isinstance(y, np.ndarray) and y.shape == x.shape[:1]):
            raise ValueError(
                f"{self.name}: {kind} x must be an array (samples, features) and y one (samples,), got {shapes}"
            )
        for array in (x, y):
            if array.dtype.kind not in "iuf" or (array.dtype.kind == "f" and not np.isfinite(array).all()):
                raise ValueError(f"{self.name}: {kind} x and y must be finite numbers, got others among {array.dtype}")
        if self.classes and not (y.dtype.kind in "iu" and ((y >= 0) & (y < self.classes)).all()):
            raise ValueError(
                f"{self.name}: {kind} labels must be integers in 0..{self.classes - 1}, got {y.min()}..{y.max()}"
            )

    def __repr__(self) -> str:
        return f"<{self.name}: {self.x.shape[0]} samples of {self.x.shape[1]} features>"

    def features(self, x: np.ndarray, dtype: str) -> np.ndarray:
        """Rows taken from ``x`` or ``x_test``, any shape, as floating-point features."""
        x = x.astype(dtype, copy=False)
        return x if self.scale == 1 else x * np.asarray(self.scale, dtype)


@cache
def digits() -> Data:
    """The 1797 images of handwritten digits, 8 x 8 pixels, in scikit-learn; a fifth of each digit for testing.

    Source: Alpaydin & Kaynak (1998), UCI optical recognition of handwritten digits.

    >>> digits()
    <digits: 1437 samples of 64 features>
    """
    pixels, labels = map(np.asarray, load_digits(return_X_y=True))
    images = pixels.astype(np.uint8)  # 0..16
    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, random_state=0, stratify=labels)
    return Data(images[train], labels[train], images[test], labels[test], scale=1 / 16, classes=10, name="digits")


# ---------------------------------------------------------------- which worker has which samples


def shares(data: Data, n: int, split: Split, seed: int = 0) -> list[np.ndarray]:
    """The rows of the training data that each of ``n`` workers draws from; no sample is copied.

    ``split`` is "even" (``split_evenly``), "all" (every worker draws from all data; n may be any number), or a number
    > 0, the parameter of a Dirichlet law (``split_by_label``).  Raises ValueError for any other split, for more workers
    than samples, and for a split by label of data without labels.

    >>> [len(rows) for rows in shares(digits(), 4, "even")]
    [360, 359, 359, 359]
    """
    check_count("n", n)
    if isinstance(split, str) and split == "even":
        return split_evenly(len(data.y), n, seed)
    if isinstance(split, str) and split == "all":
        return [np.arange(len(data.y))] * n
    if isinstance(split, str) or not (is_finite(split) or split == np.inf) or not split > 0:
        raise ValueError(f'split must be "even", "all" or the parameter > 0 of a Dirichlet law, got {split!r}')
    if not data.classes:
        raise ValueError(f'a split by label needs labels, {data.name} has real targets: choose "even" or "all"')
    return split_by_label(data.y, n, split, seed)


def split_evenly(size: int, n: int, seed: int = 0) -> list[np.ndarray]:
    """Shuffle 0..size-1 and deal it to ``n`` workers; their numbers of samples differ by at most one.

    Raises ValueError if there are more workers than samples.  See also ``split_by_label``.
    """
    if n > size:
        raise ValueError(
            f"each worker needs at least one sample of its own, got n={n} workers for {size} samples; "
            'with split="all" every worker draws from all of them'
        )
    return np.array_split(np.random.default_rng(seed).permutation(size), n)


def split_by_label(labels: np.ndarray, n: int, alpha: float, seed: int = 0) -> list[np.ndarray]:
    """Split the samples among ``n`` workers that see different labels; shares differ in size by at most one.

    Each worker has its own law of the labels, q ~ Dirichlet(alpha p) with p their frequencies in all data.  It draws
    its share from this law without replacement; a label that has run out is no longer drawn.  A small ``alpha`` gives
    each worker about one label, an infinite one is ``split_evenly``.  Workers draw in random order: the last ones take
    what is left.  Because shares are equal, the mean of the workers' losses is the loss over all data, up to one
    sample.

    Source: Hsu, Qi & Brown (2019), for equal shares.  Cost O(n classes + samples).
    Raises ValueError unless alpha > 0 and n <= samples.
    """
    if not alpha > 0:
        raise ValueError(f"alpha must be > 0 (math.inf: an even split), got alpha={alpha}")
    even = split_evenly(len(labels), n, seed)
    if alpha == np.inf:
        return even
    rng = np.random.default_rng([seed, 1])
    _, kinds, counts = np.unique(labels, return_inverse=True, return_counts=True)
    rows = rng.permutation(len(labels))
    rows = rows[np.argsort(kinds[rows], kind="stable")]  # by label, in random order within each
    taken = np.cumsum(counts) - counts  # where the samples of each label that are left begin
    left = counts.copy()
    split: list[np.ndarray] = [rows[:0]] * n
    for worker in rng.permutation(n).tolist():
        log_law = _log_dirichlet(alpha * counts / len(labels), rng)
        amounts = _draw_labels(log_law, left, len(even[worker]), rng)
        split[worker] = np.concatenate([rows[at : at + m] for at, m in zip(taken, amounts, strict=True)])
        taken, left = taken + amounts, left - amounts
    return split


def _log_dirichlet(parameters: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Logarithms of a Dirichlet draw, up to a constant: with small parameters the weights themselves round to 0."""
    parameters = np.maximum(parameters, SMALLEST_PARAMETER)
    # a gamma variable G(a) is G(a + 1) U^(1/a) in law, with U uniform
    return np.log(rng.standard_gamma(parameters + 1)) - rng.standard_exponential(len(parameters)) / parameters


def _draw_labels(log_law: np.ndarray, left: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """How many samples of each label, as if each were drawn from the law of the labels that are left."""
    amounts = np.zeros_like(left)
    while (missing := size - amounts.sum()) > 0:
        logs = np.where(amounts < left, log_law, -np.inf)
        law = np.exp(logs - logs.max())
        # what a label cannot give is drawn again from the others: the same as not drawing it once it has run out
        amounts = np.minimum(amounts + rng.multinomial(missing, law / law.sum()), left)
    return amounts
