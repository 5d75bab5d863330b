"""Warnings about a trace that its reader should know; nothing is changed here."""

import numpy as np
import pandas as pd

from abs_theory.traces.cleaning.lost import is_stale, lacking_last, membership
from abs_theory.traces.cleaning.units import units
from abs_theory.traces.columns import Names, counted, listed, numbered

__all__ = ["notices"]


def notices(table: pd.DataFrame, workers: Names, tried: pd.DataFrame) -> list[str]:
    """Sentences on gaps, units, workers that join or leave, and traces that are too small or too uniform.

    ``tried`` has the round and worker of all rows, also of those that are not usable and not in ``table``.
    """
    arrived = table[table["observed"]]
    return [
        *_gaps(table),
        *_members(table, workers, tried),
        *_waiting(table),
        *units(arrived, workers),
        *_size(arrived, workers),
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
