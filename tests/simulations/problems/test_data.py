"""Data sets, and the ways to split them among workers."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from agreement import assert_agrees
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from abs_theory.monte_carlo import Estimate
from simulations.problems.data import Data, _draw_labels, _log_dirichlet, digits, shares, split_by_label, split_evenly


def test_digits_are_split_into_training_and_test_images_with_features_in_0_1():
    data = digits()
    assert (len(data.y), len(data.y_test)) == (1437, 360)
    features = data.features(data.x, "float64")
    assert features.min() == 0
    assert features.max() == 1
    assert set(data.y) == set(data.y_test) == set(range(10))


def test_workers_hold_disjoint_equal_shares_of_all_training_data():
    split = split_evenly(len(digits().y), 20)
    assert sorted(np.concatenate(split)) == list(range(len(digits().y)))
    assert {len(share) for share in split} <= {71, 72}


@given(
    labels=st.lists(st.integers(0, 6), min_size=1, max_size=60),
    workers=st.integers(1, 60),
    log_alpha=st.floats(-330, 300),
    seed=st.integers(0, 99),
)
def test_a_split_by_label_deals_every_sample_once_in_equal_shares(labels, workers, log_alpha, seed):
    n, alpha = min(workers, len(labels)), max(10.0**log_alpha, 5e-324)
    split = split_by_label(np.array(labels), n, alpha, seed)
    assert sorted(np.concatenate(split)) == list(range(len(labels)))
    assert [len(share) for share in split] == [len(share) for share in split_evenly(len(labels), n)]
    again = split_by_label(np.array(labels), n, alpha, seed)
    assert all(np.array_equal(one, other) for one, other in zip(split, again, strict=True))


def largest_label(alpha, seeds=20, n=10):
    """The part of a share that has its most frequent label, on average, of 10 labels with 100 samples each."""
    labels = np.repeat(np.arange(10), 100)
    splits = [split_by_label(labels, n, alpha, seed) for seed in range(seeds)]
    return np.mean([np.bincount(labels[share]).max() / len(share) for split in splits for share in split])


def test_alpha_goes_from_one_label_each_to_an_even_split():
    assert largest_label(1e-9) == 1
    assert 1 > largest_label(0.1) > largest_label(1.0) > largest_label(10.0) > largest_label(1e6) + 0.05
    assert abs(largest_label(1e6) - largest_label(math.inf)) < 0.02
    even, infinite = split_evenly(1437, 7, 3), split_by_label(digits().y, 7, math.inf, 3)
    assert all(np.array_equal(one, other) for one, other in zip(even, infinite, strict=True))


def test_no_worker_is_worse_off_for_its_number():
    """Those that draw last take what is left; who that is, is drawn too."""
    labels = np.repeat(np.arange(5), 40)
    splits = [split_by_label(labels, 5, 1.0, seed) for seed in range(300)]
    for worker in (0, 4):
        mixed = Estimate.of(np.array([len(set(labels[split[worker]])) for split in splits], dtype=float))
        others = np.mean([len(set(labels[split[other]])) for split in splits for other in range(5)])
        assert abs(mixed.mean - others) < 5 * mixed.stderr


@pytest.mark.parametrize("alpha", [0.3, 5.0])
def test_laws_of_labels_have_the_moments_of_a_dirichlet(alpha):
    """E q = p and E q^2 = p (alpha p + 1) / (alpha + 1)."""
    p, rng = np.array([0.5, 0.3, 0.2]), np.random.default_rng(0)
    logs = np.array([_log_dirichlet(alpha * p, rng) for _ in range(10_000)])
    laws = np.exp(logs - logs.max(axis=1, keepdims=True))
    laws /= laws.sum(axis=1, keepdims=True)
    for j in range(3):
        assert_agrees(Estimate.of(laws[:, j]), p[j], resolution=0.2)
        assert_agrees(Estimate.of(laws[:, j] ** 2), p[j] * (alpha * p[j] + 1) / (alpha + 1), resolution=0.2)


def test_labels_that_run_out_are_no_longer_drawn():
    """All at once, against the exact probabilities of drawing one by one."""
    law, left, size, draws = np.array([0.5, 0.3, 0.2]), np.array([2, 3, 3]), 6, 5000
    states = {(0, 0, 0): 1.0}
    for _ in range(size):
        following = defaultdict(float)
        for amounts, probability in states.items():
            weights = np.where(amounts < left, law, 0)
            for label in np.flatnonzero(weights):
                following[tuple(amounts + np.eye(3, dtype=int)[label])] += probability * weights[label] / weights.sum()
        states = following
    rng = np.random.default_rng(1)
    found = Counter(tuple(_draw_labels(np.log(law), left, size, rng)) for _ in range(draws))
    assert set(found) <= set(states)
    expected = draws * np.array(list(states.values()))
    assert chisquare([found[state] for state in states], expected).pvalue > 1e-6
    assert expected.min() > 5


def test_everybody_may_draw_from_all_data():
    split = shares(digits(), 10_000, "all")
    assert len(split) == 10_000
    assert np.array_equal(split[9999], np.arange(1437))
    with pytest.raises(ValueError, match='10000 workers for 1437 samples; with split="all"'):
        shares(digits(), 10_000, "even")


def test_features_are_scaled_in_the_precision_asked_for():
    data = Data(np.array([[0, 3]], np.uint8), np.zeros(1), np.zeros((0, 2)), np.zeros(0), scale=0.1)
    features = data.features(data.x, "float32")
    assert features.dtype == np.float32
    assert features.tolist() == [[0, np.float32(3) * np.float32(0.1)]]
    plain = np.ones((1, 2))
    assert Data(plain, data.y, data.x_test, data.y_test).features(plain, "float64") is plain


X, Y, NONE = np.ones((3, 2)), np.array([0, 1, 1]), np.zeros(0, int)


@pytest.mark.parametrize(
    "arguments",
    [
        {"x": [[1, 2]]},
        {"x": np.ones(3)},
        {"x": np.ones((4, 2))},
        {"x": np.ones((3, 0))},
        {"x": np.ones((3, 3))},
        {"x": np.full((3, 2), np.nan)},
        {"x": np.full((3, 2), "a")},
        {"x": X[:0], "y": Y[:0]},
        {"y": Y + 0.5, "classes": 2},
        {"y": Y + 1, "classes": 2},
        {"y": Y - 1, "classes": 2},
        {"y": np.array([0, 1, np.inf])},
        {"y": None},
        {"x_test": X},
        {"x_test": X, "y_test": Y + 1, "classes": 2},
        {"classes": -1},
        {"scale": 0.0},
        {"scale": math.inf},
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_bad_data_are_refused(arguments):
    with pytest.raises(ValueError, match="must"):
        Data(**{"x": X, "y": Y, "x_test": np.ones((0, 2)), "y_test": NONE, **arguments})


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.nan])
def test_bad_splits_are_refused(alpha):
    with pytest.raises(ValueError, match="alpha must be > 0"):
        split_by_label(Y, 2, alpha)
    with pytest.raises(ValueError, match="at least one sample"):
        split_by_label(Y, 4, 1.0)
