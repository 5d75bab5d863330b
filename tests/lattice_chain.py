"""Exact rounds of few workers whose delays are whole seconds: all states that follow from fresh workers are listed.

A state holds the seconds left, the age in rounds and the seconds worked of each worker.  Of workers that finish
together the one of lower index delivers first, as everywhere.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
from scipy import sparse

SCALARS = ["round_time", "idle_fraction", "wasted_fraction", "restarts", "mean_staleness"]


class Chain(NamedTuple):
    """Probabilities of the next state, of the first one, and what happens in the round that begins in each state."""

    step: sparse.csr_matrix
    first: np.ndarray
    seconds: np.ndarray  # idle, wasted seconds and restarts follow, then the mean staleness
    delivered: np.ndarray  # states x workers
    staleness: np.ndarray  # states x staleness, shares of the round's gradients


def chain(laws, k, bound):
    """Chain of workers whose ``laws`` are dictionaries of probabilities by whole seconds; ``bound`` None is none."""
    theta, index, todo = math.inf if bound is None else bound, {}, []

    def place(state):
        if state not in index:
            index[state] = len(index)
            todo.append(state)
        return index[state]

    def draws(workers):
        for times in itertools.product(*(laws[i].items() for i in workers)):
            yield [seconds for seconds, _ in times], math.prod(p for _, p in times)

    everybody = range(len(laws))
    first = [(place(tuple((seconds, 0, 0) for seconds in times)), p) for times, p in draws(everybody)]
    rewards, entries = [], []
    for here, state in enumerate(todo):  # which grows
        order = sorted(everybody, key=lambda i: (state[i][0], i))
        now, done = state[order[k - 1]][0], order[:k]
        late = [i for i in order[k:] if state[i][1] + 1 > theta]
        idle = sum(now - state[i][0] for i in done)
        rewards.append((now, idle, sum(state[i][2] + now for i in late), len(late), done, [state[i][1] for i in done]))
        begins = [i for i in everybody if i in done or i in late]
        going_on = [(left - now, age + 1, worked + now) for left, age, worked in state]
        for times, p in draws(begins):
            for i, seconds in zip(begins, times, strict=True):
                going_on[i] = (seconds, 0, 0)
            entries.append((here, place(tuple(going_on)), p))
    size, (rows, columns, chances) = len(todo), zip(*entries, strict=True)
    oldest = max(max(ages) for *_, ages in rewards)
    delivered, staleness = np.zeros((size, len(laws))), np.zeros((size, oldest + 1))
    for here, (*_, done, ages) in enumerate(rewards):
        delivered[here, done] = 1.0
        np.add.at(staleness[here], ages, 1 / k)
    start = np.zeros(size)
    for here, p in first:
        start[here] += p
    step = sparse.csr_matrix((chances, (rows, columns)), shape=(size, size))
    return Chain(step, start, np.array([row[:4] for row in rewards], float), delivered, staleness)


def steady_state(chain, begin, rounds):
    """Means over ``rounds`` rounds after ``begin`` rounds, by the names of the fields of a SteadyState."""
    backwards, law, weight = chain.step.T.tocsr(), chain.first, np.zeros_like(chain.first)
    for j in range(begin + rounds):
        weight += law / rounds if j >= begin else 0.0
        law = backwards @ law
    seconds, idle, wasted, restarts = weight @ chain.seconds
    workers = chain.delivered.shape[1]
    pmf = weight @ chain.staleness
    values = [seconds, idle / (workers * seconds), wasted / (workers * seconds), restarts, pmf @ np.arange(pmf.size)]
    return dict(zip(SCALARS, values, strict=True)) | {
        "participation": weight @ chain.delivered,
        "staleness_pmf": pmf,
    }
