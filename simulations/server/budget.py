"""When a run ends, and how often its model is evaluated on the way."""

import math
from dataclasses import dataclass

from abs_theory.checks import check_count, check_nonnegative, check_positive, explains_types, is_finite
from simulations.record import rises


@explains_types
@dataclass(frozen=True, kw_only=True)
class RunBudget:
    """A run ends after ``num_updates``, after ``time_budget`` seconds, or at an evaluation that reaches ``target``.

    Raises ValueError for numbers that make no sense, and if neither of the first two is given.

    >>> RunBudget(num_updates=100, eval_every=5.0, target=("loss", 0.1)).time_limit
    inf
    """

    num_updates: int | None = None  #: None: no limit
    time_budget: float | None = None  #: seconds; None: no limit
    eval_every: float = math.inf  #: seconds between evaluations; inf: only the last model is evaluated
    target: tuple[str, float] | None = None  #: column and value to reach; None: none
    final_loss_only: bool = False  #: whether only the last model's loss is evaluated; metrics are those of all models
    goes_on_until: float = 0.0  #: seconds before which no run ends because it has reached the target

    def __post_init__(self) -> None:
        if self.num_updates is None and self.time_budget is None:
            raise ValueError("give num_updates or time_budget (seconds), or both: a run needs an end")
        if self.num_updates is not None:
            check_count("num_updates", self.num_updates)
        if self.time_budget is not None:
            check_positive("time_budget", self.time_budget)
        if self.eval_every != math.inf:
            check_positive("eval_every", self.eval_every)
        if self.target is not None and not _is_target(self.target):
            raise ValueError(
                f"target must be a column and a finite number to reach, such as {('loss', 0.1)}, got {self.target!r}"
            )
        if self.target is not None and self.eval_every == math.inf:
            raise ValueError("a target is looked for at evaluations: give eval_every (seconds)")
        check_nonnegative("goes_on_until", self.goes_on_until)
        if self.final_loss_only and self.target is not None and self.target[0] == "loss":
            raise ValueError("a target for the loss needs the loss of all models: leave out final_loss_only")

    @property
    def update_limit(self) -> float:
        """The largest number of updates, inf if there is no limit."""
        return math.inf if self.num_updates is None else self.num_updates

    @property
    def time_limit(self) -> float:
        """The largest time of an update, in seconds; inf if there is no limit."""
        return math.inf if self.time_budget is None else self.time_budget

    def check_target(self, columns: list[str]) -> None:
        """Raise ValueError unless the target is a finite value of one of these ``columns``, or None."""
        target = self.target
        if target is None:
            return
        if target[0] not in columns:
            raise ValueError(
                f"target must be a column and a finite number to reach, such as {('loss', 0.1)}, got {target!r}; "
                f"the columns of this problem are {', '.join(columns)}"
            )
        rises(target[0])  # or its name does not tell whether it does


def _is_target(target: object) -> bool:
    return isinstance(target, tuple) and len(target) == 2 and isinstance(target[0], str) and is_finite(target[1])
