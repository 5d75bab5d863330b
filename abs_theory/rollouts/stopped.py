"""Lengths that are not those of whole answers: answers that were stopped, and means in place of lengths."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abs_theory.results import percent
from abs_theory.traces import counted
from abs_theory.typing import Array

__all__ = ["not_whole_numbers", "of_whole_answers", "told_of_stopped", "were_stopped"]

# Words of slime, vLLM, SGLang, verl and of serving logs for an answer that had not ended; stop, length, eos and
# truncated are those of answers that did, the last ones at the limit of tokens.
_WORDS = (
    "abort aborted aborting cancel canceled cancelled error errored fail failed failure incomplete interrupted "
    "partial pending preempted timeout timedout"
)
STOPPED = frozenset(_WORDS.split())
MOST_FRACTIONS = 0.5  # of the lengths that are no whole numbers, above which they may be no lengths


def were_stopped(status: pd.Series) -> NDArray[np.bool_]:
    """Which answers were stopped before their end, by the words of their ``status``.

    >>> were_stopped(pd.Series(["completed", "Status.ABORTED", None, "timed out"])).tolist()
    [False, True, False, True]
    """
    words = status.astype(str).str.lower().str.rpartition(".")[2].str.replace(r"[\s_-]", "", regex=True)
    return words.isin(STOPPED).to_numpy(bool)


def of_whole_answers(tokens: Array, weights: Array, stopped: NDArray[np.bool_]) -> Array:
    """Weights of the lengths of whole answers, where ``stopped`` ones would have been longer than their ``tokens``.

    Source: Kaplan & Meier (1958): the weight of a stopped answer goes to the longer ones.  What nobody outlived stays
    with the longest.  It is right if answers were not stopped for their length beyond what they had.

    >>> of_whole_answers(np.array([1.0, 2.0, 3.0]), np.ones(3), np.array([False, True, False])).tolist()
    [1.0, 0.0, 2.0]
    """
    order = np.lexsort((stopped, tokens))  # of equal ones, those that ended come first
    weight, gone = weights[order], stopped[order]
    at_risk = np.cumsum(weight[::-1])[::-1]
    ends = np.where(gone, 0.0, weight / at_risk)
    ends[-1] = 1.0
    left = np.append(1.0, np.cumprod(1 - ends))[:-1]
    answer = np.empty_like(weight)
    answer[order] = left * ends * weight.sum()
    return answer


def told_of_stopped(stopped: NDArray[np.bool_], column: str, *, groups: bool) -> str:
    """What was done about the answers that were ``stopped``, by this column."""
    share = percent(stopped.mean(), 1)
    then = "they count in the groups as if they had ended" if groups else "they would have been longer (Kaplan & Meier)"
    return f"By the column {column}, {counted(int(stopped.sum()), 'answer')} ({share}) had not ended: {then}."


def not_whole_numbers(tokens: Array) -> tuple[str, ...]:
    """A note if most ``tokens`` are no whole numbers, as means of steps, or thousands."""
    fractions = int(np.count_nonzero(tokens % 1))
    if fractions <= MOST_FRACTIONS * tokens.size:
        return ()
    return (
        f"{fractions} of {counted(tokens.size, 'length')} are no whole numbers. Are they means of many answers? These "
        "differ less than answers do, so that rounds look too short here. Or thousands of tokens?",
    )
