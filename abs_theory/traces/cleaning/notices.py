"""Warnings about a trace that its reader should know; nothing is changed here."""

import numpy as np
import pandas as pd
from scipy import stats

from abs_theory.traces.cleaning.lost import is_stale, lacking_last, membership
from abs_theory.traces.columns import Names, counted, listed, numbered

__all__ = ["at_deadline", "notices", "silent"]

FEWEST_SILENT = 5  # rounds without a delivery at the end, from which a worker may have stopped
BY_CHANCE = 1e-3  # probability of such a silence in some worker, below which it is told
MOST_TOLD = 3  # workers
# Delays of at least this many times the median of their worker pile up just below the longest one if they were cut
# there: in its last 1 % there are more than a quarter of those in its last 4 %, beyond chance.
LATE, PILE, REACH = 1.5, 0.99, 0.96
FEWEST_PILED = 5
PILE_BY_CHANCE = 1e-6


def notices(table: pd.DataFrame, workers: Names, tried: pd.DataFrame) -> list[str]:
    """Sentences on gaps, workers that join or leave, and traces that are too small or too uniform.

    ``tried`` has the round and worker of all rows, also of those that are not usable and not in ``table``.
    """
    arrived = table[table["observed"]]
    return [
        *_gaps(table),
        *_members(table, workers, tried),
        *_waiting(table),
        *_size(arrived, workers),
    ]


def silent(table: pd.DataFrame, workers: Names) -> list[str]:
    """Sentences on workers that were asked until the end and delivered nothing any more, which chance does not explain.

    ``table`` has the columns round, worker and observed of the attempts.

    >>> rows = [(t, w, w == 0 or t < 9) for t in range(30) for w in range(2)]
    >>> silent(pd.DataFrame(rows, columns=["round", "worker", "observed"]), ("a", "b"))
    ['worker b has delivered nothing after round 8, in 21 of its 30 rounds']
    """
    rounds, place = numbered(table["round"].to_numpy())
    n, observed = len(workers), table["observed"].to_numpy()
    worker = table["worker"].to_numpy()
    last = np.full(n, -1)
    np.maximum.at(last, worker[observed], place[observed])
    if (last >= len(rounds) - FEWEST_SILENT).all():
        return []
    tried, came = (numbered(pairs)[0] for pairs in (place * n + worker, (place * n + worker)[observed]))
    asked, delivered = (np.bincount(pairs % n, minlength=n) for pairs in (tried, came))
    after = np.bincount((tried % n)[tried // n > last[tried % n]], minlength=n)
    chance = (1 - delivered / (asked - after + 1)) ** after  # of so long a silence, at the share delivered before
    stopped = np.flatnonzero((after >= FEWEST_SILENT) & (chance < BY_CHANCE / n))
    sentences = [
        f"worker {workers[i]} has delivered nothing after round {rounds[last[i]]}, in {after[i]} of its {asked[i]} "
        "rounds"
        for i in stopped[:MOST_TOLD]
    ]
    more = len(stopped) - len(sentences)
    return [*sentences, f"{counted(more, 'more worker')} stopped delivering"] if more else sentences


def at_deadline(arrived: pd.DataFrame) -> list[str]:
    """A sentence if delays seem to be cut at the longest one, as by a timeout that the log does not name.

    ``arrived`` has the columns worker and seconds of the deliveries.

    >>> seconds = [*range(1, 40), *[60.0] * 24]
    >>> at_deadline(pd.DataFrame({"worker": [0, 1] * 31 + [0], "seconds": seconds}))[0][:49]
    '24 deliveries took 60 s, as long as the longest o'
    """
    seconds = arrived["seconds"].to_numpy()
    late = seconds >= LATE * arrived.groupby("worker")["seconds"].transform("median").to_numpy()
    if not late.any() or late.sum() > seconds.size / 2:
        return []
    longest = float(seconds[late].max())
    piled = late & (seconds >= PILE * longest)
    near = int(np.count_nonzero(late & (seconds >= REACH * longest)))
    several = arrived["worker"].nunique() > 1
    if piled.sum() < FEWEST_PILED or (several and arrived["worker"][piled].nunique() == 1):
        return []
    if not stats.binom.sf(piled.sum() - 1, near, (1 - PILE) / (1 - REACH)) < PILE_BY_CHANCE:
        return []
    return [
        f"{piled.sum()} deliveries took {longest:.4g} s, as long as the longest one up to "
        "1 %, and few nearly as long: if calls were given up then, say so in a column status (failed), else they count "
        "as delivered"
    ]


def _gaps(table: pd.DataFrame) -> list[str]:
    rounds, _ = numbered(table["round"].to_numpy())
    span = int(rounds[-1] - rounds[0]) + 1
    if span == len(rounds):
        return []
    number = int(table["window"].max()) + 1
    return [f"round numbers have gaps: {len(rounds)} of {span} rounds are there, in {counted(number, 'window')}"]


def _members(table: pd.DataFrame, workers: Names, tried: pd.DataFrame) -> list[str]:
    tried = tried[tried["round"].isin(table["round"])]
    rounds, place = numbered(tried["round"].to_numpy())
    first, last = membership(place, tried["worker"].to_numpy(), len(workers))
    there = np.bincount(table["worker"], minlength=len(workers)) > 0
    sentences = []
    left = there & (last < len(rounds) - 1)
    lacking = lacking_last(tried, len(workers))
    if lacking:
        left &= last < len(rounds) - 2
        present = f"{len(workers) - lacking} of {len(workers)} workers"
        sentences.append(f"the last round, {rounds[-1]}, has {present}, all others have all: it is unfinished")
    for who, event in (
        (there & (first > 0), "joining after the first round"),
        (left, "leaving before the last round"),
        (~there, "without a usable attempt"),
    ):
        if who.any():
            names = listed([str(workers[code]) for code in np.flatnonzero(who)], 5)
            sentences.append(f"{counted(int(who.sum()), 'worker')} {event}: {names}")
    return sentences


def _waiting(table: pd.DataFrame) -> list[str]:
    if "k_waited" not in table or is_stale(table):  # then a round has what began in it, not what arrived
        return []
    by_round = table.groupby("round").agg({"observed": "sum", "k_waited": "max"})
    fewer = int((by_round["observed"] < by_round["k_waited"]).sum())
    return [f"fewer arrived than k_waited says in {counted(fewer, 'round')}"] if fewer else []


def _size(arrived: pd.DataFrame, workers: Names) -> list[str]:
    sentences = []
    if len(workers) == 1:
        sentences.append("there is one worker: no number to wait for can be chosen")
    if arrived["round"].nunique() == 1:
        sentences.append("there is one round: nothing tells workers and rounds apart")
    if len(arrived) > 1 and arrived["seconds"].min() == arrived["seconds"].max():
        sentences.append(f"all delays are equal ({arrived['seconds'].iloc[0]:.6g} s): a coarse clock, or averages")
    return sentences
