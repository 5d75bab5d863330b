"""Data sets, and how they are split among workers."""

from functools import cache
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class Data(NamedTuple):
    """Features in [0, 1] and integer labels, for training and for testing."""

    x: np.ndarray
    y: np.ndarray
    one_hot: np.ndarray  # of y
    x_test: np.ndarray
    y_test: np.ndarray


@cache
def digits(dtype: str = "float64") -> Data:
    """The 1797 8 x 8 images of handwritten digits that scikit-learn ships; a fifth, stratified, for testing.

    Source: Alpaydin & Kaynak (1998), UCI optical recognition of handwritten digits.
    """
    images, labels = map(np.asarray, load_digits(return_X_y=True))
    images = (images / 16).astype(dtype)
    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, random_state=0, stratify=labels)
    y = labels[train]
    return Data(images[train], y, np.eye(10, dtype=dtype)[y], images[test], labels[test])


def split_evenly(size: int, n: int, seed: int = 0) -> list[np.ndarray]:
    """Shuffle 0..size-1 and deal it to ``n`` workers; shares differ by at most one.

    Raises ValueError if there are more workers than samples.
    """
    if n > size:
        raise ValueError(f"each worker needs at least one sample, got n={n} workers for {size} samples")
    return np.array_split(np.random.default_rng(seed).permutation(size), n)
