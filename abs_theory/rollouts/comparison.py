"""All modes in one table, and the recommended one."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from abs_theory.checks import check_nonnegative, explains_types
from abs_theory.delays import Delay, Slowest, as_delay
from abs_theory.results import TrainerState
from abs_theory.rollouts.mode import USUAL_THRESHOLDS, Mode, Setup, modes

__all__ = ["Comparison", "Tolerance", "compare"]

LENGTH_NODES = 512  # of an average over the lengths


@explains_types
@dataclass(frozen=True)
class Tolerance:
    """How stale trained rollouts may be: ``quantity`` is "mean", "max" or a quantile such as "p99"."""

    quantity: str = "p99"  #: what is bounded
    most: float = 8.0  #: updates
    fair: float = 0.9  #: least share of the longest tenth that is trained, over its fair share

    def __post_init__(self) -> None:
        check_nonnegative("the tolerated staleness", self.most)
        if self.quantity not in ("mean", "max") and self.q is None:
            raise ValueError(f'a tolerance is "mean", "max" or a quantile such as "p99", got {self.quantity!r}')
        if not 0 <= self.fair <= 1:
            raise ValueError(f"fair must be a share in [0, 1], got {self.fair!r}")

    @property
    def q(self) -> float | None:
        """The quantile, if it is one."""
        digits = self.quantity[1:]
        if not (self.quantity.startswith("p") and digits.replace(".", "", 1).isdigit()):
            return None
        q = float(digits) / 100
        return q if 0 < q < 1 else None

    @classmethod
    def of(cls, text: str, fair: float = 0.9) -> "Tolerance":
        """A tolerance as typed: "p99:8", "mean:2", "max:4"."""
        quantity, colon, number = text.partition(":")
        try:
            return cls(quantity.strip(), float(number), fair)
        except ValueError as problem:
            if colon and "could not convert" not in str(problem):
                raise
            raise ValueError(f"a tolerance is written p99:8, mean:2 or max:4, got {text!r}") from None

    def staleness(self, state: TrainerState, largest: float) -> float:
        """The staleness that is compared with ``most``."""
        if self.quantity == "mean":
            return float(state.mean_staleness)
        return largest if self.q is None else float(state.staleness_quantile(self.q))


@explains_types
@dataclass(frozen=True, eq=False)
class Comparison:
    """The table of all modes, and the recommended one."""

    table: pd.DataFrame  #: one row per mode
    recommended: str  #: the name of a mode
    why: str  #: one or two sentences
    setup: Setup  #: what was compared
    tolerance: Tolerance  #: what is tolerated

    def to_json(self) -> str:
        """Table, advice and settings; infinite numbers are null."""
        settings = {
            name: getattr(self.setup, name)
            for name in ("batch", "slots", "trainer_seconds", "seconds_per_token", "slowdown", "gpus")
        }
        rows = self.table.replace({math.inf: None}).to_dict("records")
        tolerance = {name: getattr(self.tolerance, name) for name in ("quantity", "most", "fair")}
        content = {"recommended": self.recommended, "why": self.why, "setup": settings, "tolerance": tolerance}
        return json.dumps(content | {"modes": rows}, indent=1) + "\n"


@explains_types
def compare(
    setup: Setup, tolerance: Tolerance | None = None, group: int = 1, answer: Delay | None = None,
    in_order: bool = True, ahead: Sequence[float] = (), thresholds: Sequence[int] = USUAL_THRESHOLDS,
) -> Comparison:  # fmt: skip
    """Evaluate all modes of a ``setup``; a task is a group of ``group`` answers, each of the law ``answer``.

    The recommended mode trains most rollouts per second among those within the ``tolerance``.  Without ``in_order``
    the modes that train in order, or in a window, are left out; they are simulated.  ``ahead`` and ``thresholds`` are
    those of ``modes``.

    >>> from abs_theory.delays import LogNormal
    >>> compare(Setup(LogNormal(median=1.0, sigma=1.0), batch=16, slots=64)).recommended
    'ahead 0.5'
    """
    tolerance = tolerance or Tolerance()
    law = as_delay(setup.task)
    rows = [_row(mode, setup, law, tolerance, group, answer) for mode in modes(setup, ahead, thresholds, in_order)]
    table = pd.DataFrame(rows)
    good = table[(table["tolerated"] <= tolerance.most) & (table["longest_10"] >= tolerance.fair)]
    if good.empty:
        good = table[table["mode"] == "synchronous"]
    best = good.iloc[int(good["rollouts_per_second"].argmax())]
    return Comparison(
        table.drop(columns="tolerated"), str(best["mode"]), _why(table, best, tolerance), setup, tolerance
    )


def _row(
    mode: Mode, setup: Setup, law: Delay, tolerance: Tolerance, group: int, answer: Delay | None
) -> dict[str, float | str]:
    state, unit = mode.state(setup, law)
    seconds = float(state.round_time) * unit
    tokens = _tokens(state, law, group, answer) * setup.batch
    row: dict[str, float | str] = {
        "mode": mode.name,
        "slots": mode.slots,
        "seconds_per_update": seconds,
        "rollouts_per_second": setup.batch * group / seconds,
        "tokens_per_second": tokens / seconds,
        "slots_busy": 1 - float(state.idle_fraction),
        "trainer_busy": state.trainer_busy,
        "staleness_mean": float(state.mean_staleness),
        "staleness_p90": float(state.staleness_quantile(0.9)),
        "staleness_p99": float(state.staleness_quantile(0.99)),
        "staleness_largest": mode.largest,
        "lost_share": state.lost_share,
        "longest_10": state.long_share(law, 0.1),
        "longest_1": state.long_share(law, 0.01),
        "method": str(state.method),
        "error": float(state.error.round_time) / float(state.round_time),
        "tolerated": tolerance.staleness(state, mode.largest),
    }
    if setup.gpus is not None:
        row["tokens_per_second_per_gpu"] = tokens / seconds / setup.gpus
    return row


def _tokens(state: TrainerState, law: Delay, group: int, answer: Delay | None) -> float:
    """Mean tokens of a trained task: of all its answers."""
    q = (np.arange(LENGTH_NODES) + 0.5) / LENGTH_NODES
    longest = law.ppf(q)
    share = state.trained_share(longest)
    share = share / share.sum()
    if group == 1:
        return float(share @ longest)
    answer = answer or (as_delay(law.delay) if isinstance(law, Slowest) else law)
    # the others are answers that are not longer
    done = answer.cdf(longest)
    shorter = answer.mean - answer.integrated_tail(longest) - longest * answer.sf(longest)
    return float(share @ (longest + (group - 1) * shorter / np.maximum(done, 1e-12)))


def _why(table: pd.DataFrame, best: pd.Series, tolerance: Tolerance) -> str:
    synchronous = table[table["mode"] == "synchronous"].iloc[0]
    gain = best["rollouts_per_second"] / synchronous["rollouts_per_second"]
    words = (
        f"{best['mode']} trains {gain:.2f} times as many rollouts per second as the synchronous mode, with "
        f"{tolerance.quantity} staleness {best['tolerated']:.3g} (tolerated: {tolerance.most:g}) and "
        f"{best['longest_10']:.0%} of the fair share for the longest tenth."
    )
    faster = table[table["rollouts_per_second"] > best["rollouts_per_second"]]
    if faster.empty:
        return words
    stale = faster[faster["tolerated"] > tolerance.most]["mode"].tolist()
    unfair = faster[(faster["tolerated"] <= tolerance.most) & (faster["longest_10"] < tolerance.fair)]["mode"].tolist()
    reasons = [f"too stale: {', '.join(stale)}"] * bool(stale)
    reasons += [f"too few long rollouts: {', '.join(unfair)}"] * bool(unfair)
    return f"{words} Faster, but {'; '.join(reasons)}."
