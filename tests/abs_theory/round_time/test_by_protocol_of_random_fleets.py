"""Round times of every protocol of random laws and fleets against brute force."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import norm

from abs_theory import round_time
from abs_theory.delays import Gamma
from abs_theory.results import Estimate
from benchmarks.random_cells import random_law

FALSE_FAIL_RATE = 1e-7  # of one cell, if the mean of its samples is normal
RESOLUTION = 0.05  # least relative difference that must be seen in the median cell
PROTOCOLS = ("synchronous", "k_sync", "k_batch_sync", "k_batch_async", "asynchronous", "local_sgd", "stsyn", "ssp")
OF_SUMS = ("k_batch_sync", "local_sgd", "stsyn")
FORGETFUL = ("k_batch_async", "asynchronous", "ssp")  # their brute force begins afresh, and must forget it
MOST_WORKERS = 6
PERIODS = 4


def gamma_law(rng):
    """A law whose sums need no convolution."""
    return Gamma(shape=float(np.exp(rng.uniform(-1.5, 4))), scale=float(np.exp(rng.uniform(-1, 1))))


def random_fleet(rng, random_law, broadest):
    """Up to six workers of one to three laws, with Var[X] up to ``broadest`` E[X]^2, so that they can be sampled."""
    laws, kinds = [], rng.integers(1, 4)
    while len(laws) < kinds:
        law = random_law(rng)
        if law.var < broadest * law.mean**2:
            laws.append(law)
    n = int(rng.integers(2, MOST_WORKERS + 1))
    return [laws[i] for i in rng.integers(len(laws), size=n)]


def steps_of(fleet, rng, samples, steps):
    """When each worker finishes its 1st, 2nd, ... step if never stopped: samples x workers x steps."""
    return np.stack([law.sample(rng, (samples, steps)) for law in fleet], axis=1).cumsum(axis=2)


def ticks(fleet, lead, rng, samples, number):
    """Seconds per step of all under SSP: the times by which all have made a step, worker by worker, step by step."""
    ends = [[np.zeros(samples)] for _ in fleet]
    all_done = [np.zeros(samples)]
    for step in range(1, number + 1):
        may_start = all_done[max(step - 1 - lead, 0)]
        for law, end in zip(fleet, ends, strict=True):
            end.append(np.maximum(end[-1], may_start) + law.sample(rng, samples))
        all_done.append(np.max([end[-1] for end in ends], axis=0))
    return Estimate.of((all_done[-1] - all_done[number // 2]) / (number - number // 2))


def arrivals_per_second(fleet, rng, samples):
    """Gradients per second where nobody waits, from workers that have long been at work.

    Steady workers keep in step for very long, so each is watched from a random time within ``PERIODS`` of its tasks on.
    """
    begin = max(12 * (law.var / law.mean + law.mean) for law in fleet)  # 24 mean residual times
    end = begin + max(40 * law.mean for law in fleet)
    total = np.zeros(samples)
    for law in fleet:
        later = PERIODS * law.mean
        steps = math.ceil((end + later) / law.mean + 12 * math.sqrt((end + later) * law.var / law.mean**3)) + 20
        times = law.sample(rng, (samples, steps)).cumsum(axis=1)
        assert times[:, -1].min() > end + later
        times -= later * rng.random((samples, 1))
        total += ((times > begin) & (times <= end)).sum(axis=1) / (end - begin)
    return total


def cell(seed, samples, quick):
    """Protocol, fleet, the round time of the theory, and its brute force; if ``quick``, sums are of gammas only."""
    rng = np.random.default_rng([seed, 13])
    name = PROTOCOLS[seed % len(PROTOCOLS)]
    broadest = 5 if name in FORGETFUL else 30
    fleet = random_fleet(rng, gamma_law if quick and name in OF_SUMS else random_law, broadest)
    n, k, steps = len(fleet), int(rng.integers(1, len(fleet) + 1)), int(rng.integers(2, 5))
    if name in ("synchronous", "k_sync"):
        k = n if name == "synchronous" else k
        theory = round_time.k_sync(fleet, k, n) if name == "k_sync" else round_time.synchronous(fleet, n)
        times = np.sort(steps_of(fleet, rng, samples, 1)[:, :, 0], axis=1)[:, k - 1]
    elif name in ("local_sgd", "stsyn"):
        k = n if name == "local_sgd" else k
        theory = round_time.stsyn(fleet, k, n, steps) if name == "stsyn" else round_time.local_sgd(fleet, n, steps)
        times = np.sort(steps_of(fleet, rng, samples, steps)[:, :, -1], axis=1)[:, k - 1]
    elif name == "k_batch_sync":
        k = int(rng.integers(1, 2 * n))
        theory = round_time.k_batch_sync(fleet, k, n)
        times = np.sort(steps_of(fleet, rng, samples, k).reshape(samples, -1), axis=1)[:, k - 1]
    elif name == "ssp":
        lead = (0, 1, 3, math.inf)[rng.integers(4)]
        theory = round_time.ssp(fleet, n, lead, rng, 60, 256)
        if math.isinf(lead):
            rates = Estimate.of(arrivals_per_second(fleet, rng, samples // 16) / n)
            brute = Estimate(1 / rates.mean, rates.stderr / rates.mean**2, rates.num_samples)
        else:
            brute = ticks(fleet, lead, rng, samples // 16, 120)
        return name, (fleet, n, lead), theory.mean, Estimate(brute.mean, math.hypot(brute.stderr, theory.stderr), 256)
    else:
        k = 1 if name == "asynchronous" else k
        theory = round_time.k_batch_async(fleet, k, n) if k > 1 else round_time.asynchronous(fleet, n)
        rates = Estimate.of(arrivals_per_second(fleet, rng, samples // 16) / k)
        return name, (fleet, k, n), theory, Estimate(1 / rates.mean, rates.stderr / rates.mean**2, rates.num_samples)
    return name, (fleet, k, n, steps), theory, Estimate.of(times)


def check(seeds, samples, quick):
    outside, seen, protocols = [], [], Counter()
    z = norm.isf(FALSE_FAIL_RATE / 2)
    for seed in seeds:
        name, arguments, theory, brute = cell(seed, samples, quick)
        protocols[name] += 1
        if not abs(theory - brute.mean) <= z * brute.stderr + 1e-9 * theory:
            outside.append(f"{seed}: {name}{arguments}: {theory:.5g}, simulated {brute.mean:.5g} +- {brute.stderr:.2g}")
        seen.append(z * brute.stderr / theory)
    assert not outside, "\n".join(outside)
    assert np.median(seen) < RESOLUTION
    assert set(protocols) == set(PROTOCOLS)


def test_round_times_of_a_hundred_random_fleets():
    check(range(104), 8_000, quick=True)


@pytest.mark.slow
@pytest.mark.parametrize("block", list(pairwise(range(104, 1145, 104))), ids=str)
def test_round_times_of_a_thousand_random_fleets(block):
    check(range(*block), 100_000, quick=False)
