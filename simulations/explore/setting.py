"""A setting: delay law, workers, k and threshold; and the command and the Python that give its numbers."""

import math
import shlex
from dataclasses import dataclass

from abs_theory.checks import check_k, check_max_staleness, explains_types, is_finite
from abs_theory.delays import Delay
from abs_theory.delays.text import delay_law

__all__ = ["LAWS", "THRESHOLDS", "Setting"]

LAWS = {  # one of each kind of ageing and tail, all of mean 1 s
    "shifted exponential (a fixed part, then luck)": "shifted-exponential:shift=.5,scale=.5",
    "exponential": "exponential:mean=1",
    "hyper-exponential (rare long stalls)": "hyper-exponential:probs=.9|.1,means=1/3|7",
    "lognormal": "lognormal:median=.6065,sigma=1",
    "gamma (several steps)": "gamma:shape=4,scale=.25",
    "Pareto (heavy tail)": "pareto:minimum=.5,index=2",
    "uniform": "uniform:low=.5,high=1.5",
    "constant": "deterministic:value=1",
}
THRESHOLDS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, math.inf)  # inf: nobody restarts


@explains_types
@dataclass(frozen=True)
class Setting:
    """What the sliders say.  Raises ValueError for a law, a k or a threshold that cannot be.

    >>> setting = Setting("exponential:mean=1", n=8, k=3, max_staleness=1)
    >>> print(setting.command)
    python -m abs_theory round-time --delay exponential:mean=1 -n 8 -k 3 --max-staleness 1
    """

    delay: str = LAWS["hyper-exponential (rare long stalls)"]  #: seconds of a task, as text
    n: int = 20  #: workers
    k: int = 5  #: workers waited for
    max_staleness: float = 2  #: updates; staler workers restart
    update_seconds: float = 0.0  #: seconds that an update of the model takes

    def __post_init__(self) -> None:
        check_k(self.k, self.n)
        check_max_staleness(self.max_staleness)
        if not (is_finite(self.update_seconds) and self.update_seconds >= 0):
            raise ValueError(f"update_seconds must be a number >= 0, got {self.update_seconds}")
        _ = self.law

    @property
    def law(self) -> Delay:
        """The delay law."""
        return delay_law(self.delay)

    @property
    def threshold(self) -> str:
        """The threshold in words: a number or "none"."""
        return "none" if math.isinf(self.max_staleness) else f"{self.max_staleness:g}"

    @property
    def command(self) -> str:
        """The command that prints the numbers of this setting; none if updates take time."""
        if self.update_seconds:
            return "# the command knows no update time: use the Python"
        words = ["--delay", self.delay, "-n", str(self.n), "-k", str(self.k), "--max-staleness", self.threshold]
        return f"python -m abs_theory round-time {shlex.join(words)}"

    @property
    def python(self) -> str:
        """The Python that computes the numbers of this setting."""
        bound = "None" if math.isinf(self.max_staleness) else f"{self.max_staleness:g}"
        update = f", update_seconds={self.update_seconds:g}" if self.update_seconds else ""
        return (
            "from abs_theory import steady_state\nfrom abs_theory.delays.text import delay_law\n\n"
            f"law = delay_law({self.delay!r})\n"
            f"state = steady_state.abs_sgd(law, k={self.k}, n={self.n}, max_staleness={bound}{update})\n"
            "print(state.to_frame().T)\n"
        )
