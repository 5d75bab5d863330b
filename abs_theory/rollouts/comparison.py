"""All modes in one table, and the recommended one."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from abs_theory.checks import check_nonnegative, explains_types
from abs_theory.delays import Delay, Slowest, as_delay
from abs_theory.results import TrainerState, percent
from abs_theory.rollouts.mode import USUAL_THRESHOLDS, Mode, Setup, modes
from abs_theory.rollouts.names import HEADINGS
from abs_theory.rollouts.progress import Objective, to_target
from abs_theory.traces import counted
from abs_theory.typing import Array

__all__ = ["Comparison", "Tolerance", "compare", "fastest"]

TYPED_IN = {"max_concurrent_rollouts": "prompts", "max_inflight_tasks": "completions", "-batch-size": "prompts"}
SAME_SPEED = 1e-3  # relative difference of two speeds that nobody would notice
EQUALLY_STALE, EQUALLY_FAIR = 0.05, 0.02  # updates and shares that count as equal
LENGTH_NODES = 512  # of an average over the lengths
COMMON = 1e-9  # probability of a single length from which on several answers of a group may have it


@explains_types
@dataclass(frozen=True)
class Tolerance:
    """How stale trained rollouts may be: ``quantity`` is "mean", "max" or a quantile such as "p99"."""

    quantity: str = "p99"  #: what is bounded
    most: float = 8.0  #: updates
    fair: float = 0.9  #: least share of the longest tenth that is trained, over its fair share

    def __post_init__(self) -> None:
        check_nonnegative("tolerance", self.most)
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
    why: str  #: which mode, with how many slots, and why: one to five sentences
    setup: Setup  #: what was compared
    tolerance: Tolerance  #: what is tolerated
    settings: tuple[str, ...] = ()  #: what to type for the recommended mode, in the trainers that are known to have it
    others: str = ""  #: if there are none: a system that has the mode, and the best mode that can be typed
    group: int = 1  #: answers of a task
    notes: tuple[str, ...] = ()  #: what the lengths assume or leave out

    @property
    def what_to_type(self) -> str:
        """The settings in one sentence."""
        if not self.settings:
            return f"No setting of a trainer is known for the mode {self.recommended}. {self.others}".rstrip()
        return f"What to type, depending on your trainer: {_typed(self.settings, self.group)}"

    def readable(self) -> pd.DataFrame:
        """The columns to show to a reader, in their order; shares have four decimals."""
        shares = dict.fromkeys(("slots_busy", "lost_share", "longest_10", "longest_1"), 4)
        return self.table[[name for name in HEADINGS if name in self.table]].round(shares)

    def conditions(self, lengths: str) -> str:
        """What was compared, in one line; ``lengths`` says where the lengths come from."""
        setup = self.setup
        words = lengths if self.group == 1 else f"{lengths}, groups of {self.group}"
        words += f"; batch {setup.batch}, {counted(setup.slots, 'slot')}, trainer {setup.trainer_seconds:g} s"
        words += f", {setup.seconds_per_token:.3g} s per token"
        if setup.slowdown:
            words += f" and {setup.slowdown:.3g} s more for each further task on the same GPU"
        if self.group > 1:
            words += "; batch and slots count prompts"
        return words if setup.gpus is None else f"{words}, {setup.gpus:g} GPU{'s' * (setup.gpus != 1)}"

    def to_json(self, lengths: str | None = None) -> str:
        """Table, advice and settings; numbers that are infinite or unknown are null.

        ``lengths`` says where the lengths come from.
        """
        names = ("batch", "slots", "trainer_seconds", "seconds_per_token", "slowdown", "gpus")
        settings = {"lengths": lengths, "group": self.group, **{name: getattr(self.setup, name) for name in names}}
        rows = [
            {
                name: None if isinstance(value, float) and not math.isfinite(value) else value
                for name, value in row.items()
            }
            for row in self.table.to_dict("records")
        ]
        tolerance = {name: getattr(self.tolerance, name) for name in ("quantity", "most", "fair")}
        content = {
            "notes": list(self.notes), "recommended": self.recommended, "why": self.why,
            "what_to_type": list(self.settings), "setup": settings, "tolerance": tolerance, "modes": rows,
        }  # fmt: skip
        return json.dumps(content, indent=1, allow_nan=False) + "\n"


@explains_types
def compare(
    setup: Setup, tolerance: Tolerance | None = None, group: int = 1, answer: Delay | None = None,
    in_order: bool = True, ahead: Sequence[float] = (), thresholds: Sequence[int] = USUAL_THRESHOLDS,
    objective: Objective | None = None,
) -> Comparison:  # fmt: skip
    """Evaluate all modes of a ``setup``; a task is a group of ``group`` answers, each of the law ``answer``.

    The recommended mode trains most rollouts per second among those within the ``tolerance``.  Modes whose speeds
    differ by no more than their errors and a thousandth are equal: then the less stale one is recommended, then the one
    that is fairer to long rollouts, then one that can be typed, then the one with fewer slots.  With an ``objective``
    it is the one that reaches the target soonest, each mode at its best step, as in ``choose.best``; the start of a run
    is left out.  Without ``in_order`` the modes that train in order, or in a window, are left out; they are simulated.
    ``ahead`` and ``thresholds`` are those of ``modes``.

    >>> from abs_theory.bounds import Constants
    >>> from abs_theory.choose import Target
    >>> from abs_theory.delays import LogNormal
    >>> setup = Setup(LogNormal(median=1.0, sigma=1.0), batch=16, slots=64)
    >>> compare(setup).recommended
    'ahead 0.5'
    >>> objective = Objective(Constants(L=1.0, sigma2=5.0, gap=10.0), Target(0.3))
    >>> compare(setup, Tolerance("max", 8, fair=0.0), in_order=False, objective=objective).recommended
    'abort 1'
    """
    tolerance, setup = tolerance or Tolerance(), replace(setup, group=group)
    law = as_delay(setup.task)
    compared = modes(setup, ahead, thresholds, in_order)
    rows = [_row(mode, setup, law, tolerance, group, answer, objective) for mode in compared]
    table = pd.DataFrame(rows)
    good = table[(table["tolerated"] <= tolerance.most) & (table["longest_10"] >= tolerance.fair)]
    if good.empty:
        good = table[table["mode"] == "synchronous"]
    best = good.iloc[fastest(good)]
    table["recommended"] = table["mode"] == best["mode"]
    chosen = next(mode for mode in compared if mode.name == best["mode"])
    others = "" if chosen.settings else _others(chosen, good, best)
    return Comparison(
        table.drop(columns="tolerated"), chosen.name, _why(table, best, tolerance, setup, group), setup, tolerance,
        chosen.settings, others, group,
    )  # fmt: skip


def fastest(rows: pd.DataFrame) -> int:
    """The place of the row that is best, as ``compare`` says.

    >>> columns = ["rollouts_per_second", "error", "staleness_mean", "longest_10", "what_to_type", "slots"]
    >>> rows = [[1.0, 0.01, 1.0, 1.0, "knob=1", 8], [1.005, 0, 2.0, 1.0, "knob=2", 16], [0.9, 0, 0.0, 1.0, "", 4]]
    >>> fastest(pd.DataFrame(rows, columns=columns))  # the second is not faster by more than the error
    0
    """
    speed, error = _speed(rows).to_numpy(float), rows["error"].to_numpy(float)
    first = int(speed.argmax())
    kept = np.flatnonzero(speed >= speed[first] * (1 - error[first] - error - SAME_SPEED))
    stale = [rows[column] for column in ("tolerated", "staleness_mean") if column in rows]
    for worse, slack in (*((column, EQUALLY_STALE) for column in stale), (-rows["longest_10"], EQUALLY_FAIR)):
        values = worse.to_numpy(float)[kept]
        kept = kept[values <= values.min() + slack]
    typed = kept[rows["what_to_type"].astype(bool).to_numpy()[kept]]
    kept = typed if typed.size else kept
    return int(kept[rows["slots"].to_numpy(float)[kept].argmin()])


def _speed(rows: pd.DataFrame) -> pd.Series:
    """What is maximised: rollouts per second, or targets."""
    return 1 / rows["seconds_to_target"] if "seconds_to_target" in rows else rows["rollouts_per_second"]


def _typed(settings: tuple[str, ...], group: int) -> str:
    """The settings, and what their numbers count if prompts and completions are not the same."""
    text = "; ".join(settings)
    counts = [f"{knob.lstrip('-')} counts {what}" for knob, what in TYPED_IN.items() if knob in text]
    return f"{text}. Here {', '.join(counts)}." if group > 1 and counts else f"{text}."


def _others(chosen: Mode, good: pd.DataFrame, best: pd.Series) -> str:
    """A system that has the mode ``chosen``, and the best other mode that can be typed."""
    words = f"{chosen.system} has it. " if chosen.system else ""
    typed = good[good["what_to_type"] != ""]
    if typed.empty:
        return words
    place = fastest(typed)
    other, own = typed.iloc[place], _speed(good[good["mode"] == best["mode"]])
    share = float(_speed(typed).iloc[place]) / float(own.iloc[0])
    settings = _typed((str(other["what_to_type"]),), 1)
    return f"{words}The best mode that can be typed is {other['mode']}, {share:.2f} times as fast: {settings}"


def _row(
    mode: Mode, setup: Setup, law: Delay, tolerance: Tolerance, group: int, answer: Delay | None,
    objective: Objective | None,
) -> dict[str, float | str]:  # fmt: skip
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
        "trainer_busy": float(state.trainer_busy),
        "staleness_mean": float(state.mean_staleness),
        "staleness_p90": float(state.staleness_quantile(0.9)),
        "staleness_p99": float(state.staleness_quantile(0.99)),
        "staleness_largest": mode.largest,
        "lost_share": float(state.lost_share),
        "longest_10": float(state.long_share(law, 0.1)),
        "longest_1": float(state.long_share(law, 0.01)),
        "method": str(state.method),
        "error": float(state.error.round_time) / float(state.round_time),
        "tolerated": tolerance.staleness(state, mode.largest),
    }
    if setup.gpus is not None:
        row["tokens_per_second_per_gpu"] = tokens / seconds / setup.gpus
    if objective is not None:
        row |= to_target(objective, setup.batch, mode.slots, state, seconds, mode.largest)
    return row | {"what_to_type": "; ".join(mode.settings)}


def _tokens(state: TrainerState, law: Delay, group: int, answer: Delay | None) -> float:
    """Mean tokens of a trained task: of all its answers; their plain mean if no task is lost."""
    q = (np.arange(LENGTH_NODES) + 0.5) / LENGTH_NODES
    longest = law.ppf(q)
    share = state.trained_share(longest)
    if not share.any():  # only tasks that are shorter than all nodes are trained
        share[0] = 1.0
    answer = answer or (as_delay(law.delay) if isinstance(law, Slowest) else law)
    tokens = longest if group == 1 else _tokens_of_group(longest, answer, group)
    return float(share @ tokens / share.sum() / tokens.mean()) * group * answer.mean


def _tokens_of_group(longest: Array, answer: Delay, group: int) -> Array:
    """Mean tokens of all answers of a group, if its longest answer has this length; for independent answers."""
    done, before = answer.cdf(longest), answer.cdf(np.nextafter(longest, 0.0))
    tokens = answer.mean - answer.integrated_tail(longest) - longest * answer.sf(longest)  # of those up to this length
    size = done**group - before**group
    common = size > COMMON
    shorter = tokens - longest * (done - before)
    tied = group * (tokens * done ** (group - 1) - shorter * before ** (group - 1)) / np.where(common, size, 1.0)
    return np.where(common, tied, longest + (group - 1) * tokens / np.maximum(done, 1e-12))


def _why(table: pd.DataFrame, best: pd.Series, tolerance: Tolerance, setup: Setup, group: int) -> str:
    batch = counted(setup.batch, "rollout")
    if group > 1:
        batch = f"{counted(setup.batch, 'group')} of {group} rollouts"
    speed, aim = table["rollouts_per_second"], "trains {:.2f} times as many rollouts per second as"
    if "seconds_to_target" in table:
        speed, aim = 1 / table["seconds_to_target"], "reaches the target {:.2f} times as fast as"
    own, base = (float(speed[table["mode"] == mode].iloc[0]) for mode in (best["mode"], "synchronous"))
    gain = f" It {aim.format(own / base)} the synchronous mode" if best["mode"] != "synchronous" else " Nothing is lost"
    words = (
        f"{best['mode']}, with {counted(int(best['slots']), 'slot')} and batches of {batch}.{gain}, with "
        f"{tolerance.quantity} staleness {best['tolerated']:.3g} (tolerated: {tolerance.most:g}) and "
        f"{percent(best['longest_10'])} of the fair share for the longest tenth."
    )
    if "seconds_to_target" in table:
        updates = counted(math.ceil(best["updates_to_target"]), "update")
        words += f" That takes {updates} and {best['seconds_to_target']:.3g} s, at a step of {best['step_size']:.3g}."
    faster = table[speed * (1 - table["error"] - best["error"] - SAME_SPEED) > own]
    if faster.empty:
        return words
    stale = faster[faster["tolerated"] > tolerance.most]["mode"].tolist()
    unfair = faster[(faster["tolerated"] <= tolerance.most) & (faster["longest_10"] < tolerance.fair)]["mode"].tolist()
    for names, reason in ((stale, "too stale"), (unfair, "too few long rollouts")):
        words += f" Faster, but {reason}: {'; '.join(names)}." if names else ""
    return words
