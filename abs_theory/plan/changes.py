"""Change points: rounds from which on the fleet or a worker takes longer, or less long."""

from dataclasses import dataclass

__all__ = ["Change"]


@dataclass(frozen=True)
class Change:
    """A lasting change of the typical delay, of all workers or of one."""

    worker: int | str | None  #: name of the worker; None: the whole fleet
    round: int  #: number in the trace of the first round of the new level
    row: int  #: place of this round in the table of the trace
    before: float  #: typical seconds before it
    after: float  #: typical seconds from it on
