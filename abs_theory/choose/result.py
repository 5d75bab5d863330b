"""A choice, and its explanation in words."""

import math
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Choice"]

UNCOUNTED = 1e7  # updates, from which on they are not shown one by one
AS_GOOD = 0.05  # share of the best objective: candidates within it count as equally good
MOST_GIVEN_UP = 0.01  # share of the best objective, for a candidate whose steady state is known better

LATE = {
    "increasing": "a late worker is nearly done (increasing hazard): restarts cost time, and only freshen gradients",
    "decreasing": "a late worker stays late (decreasing hazard): restarts save time, and freshen gradients",
    "constant": "a late worker needs as long as a fresh one (constant hazard): restarts cost only messages",
    "neither": "whether a late worker is nearly done depends on how late it is: some threshold may save time",
}
MODEL_WORDS = {"expected": "expected near a quadratic", "bound": "guaranteed"}
MEANING = {
    "seconds": "time to the target (s)",
    "messages": "messages to the target",
    "gradient_norm2": "mean squared gradient norm in the budget",
}
WORSE = {
    "seconds": "takes {:.3g} times as long",
    "messages": "sends {:.3g} times as much",
    "gradient_norm2": "ends with an error {:.3g} times as large",
}


@dataclass(frozen=True, eq=False)
class Choice:
    """What to run, what it is predicted to reach, and how it compares with all other candidates.

    To run it: ``simulate(protocols.abs_sgd(choice.k, choice.max_staleness), ..., step_size=choice.step_size)``.
    """

    k: int  #: gradients to wait for
    max_staleness: float  #: inf: no threshold
    step_size: float  #: of the updates
    seconds: float  #: until the error is at the target, or the time budget
    updates: float  #: until then, not rounded
    messages: float  #: uplinks and downlinks until then
    gradient_norm2: float  #: error, the mean of E|grad F|^2 over the run: the target, or what the budget buys
    flat: tuple[int, ...]  #: all k tried that come within 5 % of the best, each at its best threshold and step
    reason: str  #: why, in plain words
    n: int  #: workers
    model: str  #: "expected" or "bound"
    minimised: str  #: the column of ``curve`` that was minimised: "seconds", "messages" or "gradient_norm2"
    curve: pd.DataFrame = field(repr=False)  #: one row per candidate; "objective" is inf where it does not get there

    @classmethod
    def of(cls, curve: pd.DataFrame, n: int, model: str, minimised: str, ageing: str) -> Self:
        """The settled row of ``curve`` with the least objective, explained by the ``ageing`` of the delays.

        Of rows that the errors of the round times do not tell from it, and that are at most 1 % worse, the one with the
        least error is taken.
        """
        objective = curve["objective"].to_numpy()
        row = curve.iloc[_choice(curve)]
        flat = np.unique(curve["k"][objective <= (1 + AS_GOOD) * objective.min()])
        return cls(
            k=int(row["k"]),
            max_staleness=float(row["max_staleness"]),
            step_size=float(row["step_size"]),
            **{name: float(row[name]) for name in ("seconds", "updates", "messages", "gradient_norm2")},
            flat=tuple(flat.tolist()),
            reason=_reason(curve, row, n, minimised, ageing),
            n=n,
            model=model,
            minimised=minimised,
            curve=curve,
        )

    def over_k(self) -> pd.DataFrame:
        """The best candidate for each k, indexed by k."""
        return self.curve.loc[self.curve.groupby("k")["objective"].idxmin()].set_index("k")

    def alternatives(self) -> pd.DataFrame:
        """The best of each familiar kind among the candidates; ``ratio`` is its objective over that of the choice."""
        curve, none = self.curve, np.isinf(self.curve["max_staleness"])
        kinds = {
            "this choice": curve.index == _choice(curve),
            "K-sync: all restart": (curve["max_staleness"] == 0) & (curve["k"] < self.n),
            "K-async: nobody restarts": none & (curve["k"] < self.n),
            "k = 1": curve["k"] == 1,
            "asynchronous: k = 1, nobody restarts": none & (curve["k"] == 1),
            "synchronous": curve["k"] == self.n,
        }
        rows = {name: curve[which].nsmallest(1, "objective") for name, which in kinds.items() if which.any()}
        table = pd.concat(rows).droplevel(1)
        table.insert(0, "ratio", table["objective"] / table.loc["this choice", "objective"])
        return table

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw what is minimised against k, by kind of threshold, and return the matplotlib axes."""
        if ax is None:
            from matplotlib import pyplot  # here, because the theory itself draws nothing

            ax = pyplot.subplots(figsize=(5, 3), layout="constrained")[1]
        thresholds = self.curve["max_staleness"]
        for style, name, which in [
            ("o-", "best threshold", thresholds >= 0),
            ("v--", "K-sync: all late workers restart", thresholds == 0),
            ("s:", "K-async: nobody restarts", np.isinf(thresholds)),
        ]:
            best = self.curve[which & np.isfinite(self.curve["objective"])].groupby("k")["objective"].min()
            if len(best):
                ax.plot(best.index, best, style, label=name, markersize=4, linewidth=1)
        ax.plot(
            self.k,
            self.curve["objective"].iloc[_choice(self.curve)],
            "*",
            color="black",
            markersize=12,
            label="the choice",
        )
        ax.xaxis.get_major_locator().set_params(integer=True)  # pyright: ignore[reportCallIssue]
        ax.set(xlabel=f"gradients waited for, $k$ (of n = {self.n})", ylabel=MEANING[self.minimised], yscale="log")
        ax.legend()
        return ax

    def _repr_html_(self) -> str:
        """For Jupyter: the words and the alternatives."""
        columns = ["ratio", "k", "max_staleness", "step_size", "seconds", "messages", "gradient_norm2"]
        table = self.alternatives()[columns].to_html(float_format="{:.4g}".format)
        return "".join(f"<p>{escape(line)}</p>" for line in str(self).splitlines()) + table

    def __str__(self) -> str:
        return "\n".join(
            [
                f"k = {self.k}, max_staleness = {_explained(self.max_staleness)}, step_size = {self.step_size:.4g}",
                f"{_rounded_up(self.updates)} update{'s' * (self.updates > 1)}, {self.seconds:.4g} s, "
                f"{self.messages:.4g} messages; "
                f"mean squared gradient norm {self.gradient_norm2:.4g} ({MODEL_WORDS[self.model]})",
                f"as good within 5 %: k = {_ranges(self.flat, np.unique(self.curve['k']).tolist())}",
                self.reason,
            ]
        )


def _choice(curve: pd.DataFrame) -> int:
    """The row with the least objective; of rows hardly worse that the error does not tell from it, the surest."""
    objective = curve["objective"].to_numpy()
    with np.errstate(invalid="ignore"):
        error = np.where(np.isfinite(objective), objective * curve["round_time_error"] / curve["round_time"], math.inf)
    settled = curve["settled"].to_numpy()
    least = int(np.where(settled, objective, math.inf).argmin())
    within = np.minimum(np.hypot(error, error[least]), MOST_GIVEN_UP * objective[least])
    alike = settled & (objective - objective[least] <= within) & (error < error[least])
    return int(np.where(alike, error, math.inf).argmin()) if alike.any() else least


def _reason(curve: pd.DataFrame, row: pd.Series, n: int, minimised: str, ageing: str) -> str:
    """Why this threshold: round time and updates at this k.  Then why this k: the results at k = 1 and k = n."""
    k, theta = int(row["k"]), row["max_staleness"]
    here = curve[(curve["k"] == k) & np.isfinite(curve["updates"])]
    here = here.sort_values("objective", kind="stable").drop_duplicates("max_staleness")
    others = {0.0: "if every late worker restarts", math.inf: "if nobody restarts"}
    rounds, updates = _seconds(row), _rounded_up(row["updates"])
    for other, condition in others.items():
        for _, row_ in here[(here["max_staleness"] == other) & (other != theta)].iterrows():
            rounds += f", {_seconds(row_)} {condition}"
            updates += f", {_rounded_up(row_['updates'])} {condition}"
    why = LATE[ageing] if k < n else "no worker is ever late"
    if row["updates"] <= 1:
        why = "the first update needs no threshold, since all workers begin with the same model"
    rule = "Without a threshold" if math.isinf(theta) else "With this threshold"
    sentences = [f"{rule} a round lasts {rounds}; {why}."]
    if minimised != "gradient_norm2":
        sentences.append(f"Updates needed: {updates}.")
    best = curve.groupby("k")["objective"].min() / row["objective"]
    for end, name in {1: "One gradient per update", n: "Waiting for everybody"}.items():
        if end in best.index and end != k:
            worse = WORSE[minimised].format(best[end]) if math.isfinite(best[end]) else "never gets there"
            sentences.append(f"{name} {worse}.")
    return " ".join(sentences)


def _seconds(row: pd.Series) -> str:
    """A round time, with its half-width unless it is exact."""
    error = f" ± {row['round_time_error']:.2g}" if row["round_time_error"] > 0 else ""
    return f"{row['round_time']:.3g}{error} s"


def _rounded_up(updates: float) -> str:
    """A number of updates as a whole one, if anybody will ever count them."""
    return str(math.ceil(updates)) if updates < UNCOUNTED else f"{updates:.4g}"


def _explained(max_staleness: float) -> str:
    """A threshold, and who restarts under it."""
    if math.isinf(max_staleness):
        return "none (nobody restarts)"
    return f"{max_staleness:.0f}{' (every late worker restarts)' if max_staleness == 0 else ''}"


def _ranges(chosen: tuple[int, ...], tried: list[int]) -> str:
    """The ``chosen`` values as text, as in 1, 3-5, 8; a dash stands for all values that were tried in between."""
    runs: list[list[int]] = []
    for before, k in zip([None, *tried], tried, strict=False):
        if k in chosen:
            if runs and runs[-1][1] == before:
                runs[-1][1] = k
            else:
                runs.append([k, k])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)
