"""A trace: the attempts of n workers to deliver in numbered rounds, and how it is read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from abs_theory.checks import check_count, explains_types, is_integer
from abs_theory.traces.cleaning import clean, lacking_last, may_differ_in_unit
from abs_theory.traces.columns import counted, listed, numbered, one_line
from abs_theory.traces.files import load
from abs_theory.traces.headers import Wishes, attempts_of

__all__ = ["Trace", "from_frame", "read"]


@dataclass(frozen=True, eq=False)
class Trace:
    """The attempts of n workers to deliver in numbered rounds.

    ``attempts`` has one row per usable attempt, sorted by round and worker, with the columns

    - ``round`` (int64) and ``worker`` (int64, 0..n-1; the names stand in ``workers``),
    - ``seconds`` (float64): time until the delivery, or until it was given up,
    - ``observed`` (bool): False if right-censored, that is failed, cancelled, lost, or censored by the server,
    - ``window`` (int64): number of the stretch of rounds without a long gap,

    - ``lost`` (bool), if any is: when it was given up is unknown, ``seconds`` is the last arrival of its round,

    and of k_waited, version_read, version_applied, compute_s, comm_s and status those that were given.
    ``report`` says in short sentences what was done and noticed; ``doubts`` are those of its sentences that may change
    every answer: another unit, and workers that stopped delivering.
    """

    attempts: pd.DataFrame  #: one row per usable attempt, with the columns above
    workers: tuple[int | str, ...]  #: names, in the order of their numbers
    report: tuple[str, ...] = ()  #: what was done and noticed, in short sentences
    columns: tuple[str, ...] = ()  #: names of the columns that were read; none of a timeline
    empty_rounds: tuple[int, ...] = ()  #: numbers of rounds that are left out, because nothing arrived in them
    doubts: tuple[str, ...] = ()  #: sentences of the report that may change every answer

    @property
    def n(self) -> int:
        """Number of workers."""
        return len(self.workers)

    @property
    def summary(self) -> str:
        """What was read, in one sentence.

        >>> rows = [(0, "a", 1.0), (0, "b", 2.0)]
        >>> from_frame(pd.DataFrame(rows, columns=["round", "worker", "seconds"])).summary
        'Read: 2 workers (a, b), 1 round, 2 delays, from the columns round, worker, seconds.'
        """
        counts = (
            f"{counted(self.n, 'worker')} ({listed([str(name) for name in self.workers])})",
            counted(self.rounds, "round"),
            counted(int(self.attempts["observed"].sum()), "delay"),
        )
        late = int((~self.attempts["observed"]).sum())
        more = f" and {counted(late, 'attempt')} not delivered" if late else ""
        source = f", from the columns {listed(list(self.columns), 12)}" if self.columns else ""
        return one_line(f"Read: {', '.join(counts)}{more}{source}.")

    @cached_property
    def rounds(self) -> int:
        """Number of rounds."""
        return len(numbered(self.attempts["round"].to_numpy())[0])

    @cached_property
    def unfinished(self) -> bool:
        """Whether the last round, and no other, lacks workers, as in a file that is cut short."""
        return lacking_last(self.attempts, self.n) > 0

    @property
    def finished(self) -> "Trace":
        """The trace without its last round, if that is unfinished; the report says so."""
        if not self.unfinished:
            return self
        rounds = numbered(self.attempts["round"].to_numpy())[0]
        return replace(self.subset(rounds[:-1]), report=(*self.report, "the unfinished last round is left out"))

    @cached_property
    def once_each(self) -> bool:
        """Whether the rows are in order, and no worker has two in a round."""
        round_, worker = self.attempts["round"].to_numpy(), self.attempts["worker"].to_numpy()
        return bool(np.all((round_[1:] > round_[:-1]) | ((round_[1:] == round_[:-1]) & (worker[1:] > worker[:-1]))))

    @cached_property
    def deliveries(self) -> pd.DataFrame:
        """Columns round, worker, seconds and window of the deliveries; a failed attempt adds its time to the retry."""
        frame = self.attempts[["round", "worker", "seconds", "observed", "window"]]
        if not self.once_each:
            again = frame.duplicated(["round", "worker"], keep=False)
            keys = [frame["round"], frame["worker"]]
            once = frame["observed"].groupby(keys).transform("sum") == 1
            total = frame["seconds"].groupby(keys).transform("sum")
            frame = frame.assign(seconds=np.where(again & once, total, frame["seconds"]))
        return frame.loc[frame["observed"], ["round", "worker", "seconds", "window"]].reset_index(drop=True)

    @cached_property
    def complete(self) -> pd.DataFrame:
        """Seconds of the rounds in which every worker delivered exactly once: index round, columns worker."""
        arrived = self.deliveries
        sizes = arrived["round"].value_counts()
        full = arrived[arrived["round"].isin(sizes.index[sizes == self.n])]
        repeated = full.loc[full.duplicated(["round", "worker"]), "round"]
        full = full[~full["round"].isin(repeated)]
        index = pd.Index(full["round"].unique(), name="round")
        table = full["seconds"].to_numpy().reshape(-1, self.n)
        return pd.DataFrame(table, index, columns=pd.RangeIndex(self.n, name="worker"))

    @cached_property
    def arrivals(self) -> pd.DataFrame:
        """Seconds of the k-th arrival: index round, columns k = 1, 2, ...; NaN where a round did not see that many."""
        arrived = self.deliveries.sort_values(["round", "seconds"], kind="stable")
        rank = arrived.groupby("round").cumcount().to_numpy()
        index, _ = numbered(self.attempts["round"].to_numpy())
        table = np.full((len(index), int(rank.max(initial=0)) + 1), np.nan)
        table[np.searchsorted(index, arrived["round"]), rank] = arrived["seconds"]
        return pd.DataFrame(table, pd.Index(index, name="round"), pd.RangeIndex(1, table.shape[1] + 1, name="k"))

    @cached_property
    def k_waited_max(self) -> int:
        """Largest k whose arrival was observed in every round; larger k are censored (Type II) in some round."""
        counts = self.attempts.groupby("round")["observed"].sum()
        return int(counts.min())

    def may_differ_in_unit(self, other: "Trace") -> bool:
        """Whether the delays are about 1000 times those of ``other``, or of them, beyond what their spread explains."""
        seconds = [trace.attempts.loc[trace.attempts["observed"], "seconds"].to_numpy() for trace in (self, other)]
        return may_differ_in_unit(*seconds)

    def subset(self, rounds: Iterable[int]) -> "Trace":
        """The same trace with only these ``rounds``; windows and workers keep their numbers."""
        chosen = self.attempts[self.attempts["round"].isin(list(rounds))]
        if chosen.empty:
            raise ValueError(f"rounds must be rounds of the trace, which has {self.rounds}; none of them was given")
        return replace(self, attempts=chosen.reset_index(drop=True))

    def since(self, first: int) -> "Trace":
        """The trace from round number ``first`` on, as after a change, with the workers that take part in it.

        Raises ValueError if no round is left.
        """
        if not is_integer(first):
            raise ValueError(f"since must be the number of a round, got {first!r}")
        rounds = self.attempts["round"].to_numpy()
        if first > rounds[-1]:
            raise ValueError(f"since must be at most the last round of the trace, {rounds[-1]}, got since={first}")
        left = self.attempts[rounds >= first].reset_index(drop=True)
        if not left["observed"].any():
            raise ValueError(f"since must leave a delivery, there is none from round {first} on")
        earlier = len(numbered(rounds[rounds < first])[0])
        taking_part, worker = np.unique(left["worker"].to_numpy(), return_inverse=True)
        note = (f"{counted(earlier, 'round')} before round {first} left out",) if earlier else ()
        workers = tuple(self.workers[i] for i in taking_part)
        empty = tuple(number for number in self.empty_rounds if number >= first)
        left = left.assign(worker=worker)
        return replace(self, attempts=left, workers=workers, report=(*self.report, *note), empty_rounds=empty)

    def waiting_for(self, k: int) -> "Trace":
        """The trace of a server that waits for ``k`` arrivals: later attempts are censored at the k-th arrival."""
        check_count("k", k)
        if k > self.k_waited_max:
            raise ValueError(f"k must be at most the arrivals seen in every round, {self.k_waited_max}, got k={k}")
        frame = self.attempts.copy()
        last = frame["round"].map(self.arrivals[k]).to_numpy()
        late = frame["seconds"].to_numpy() > last
        frame["observed"] &= ~late
        frame["seconds"] = np.minimum(frame["seconds"], last)
        if "status" in frame:
            frame.loc[late, "status"] = "cancelled"
        return replace(self, attempts=frame.assign(k_waited=k).drop(columns="lost", errors="ignore"))


@explains_types
def read(
    path: str | Path,
    *,
    unit: str | None = None,
    warmup: int | str = "auto",
    format: str | None = None,
    dataset: str | None = None,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    ignore: Sequence[str] = (),
    decimal: str | None = None,
) -> Trace:
    r"""The trace in a file, or in a folder of files.

    ``unit``: of the times, s, ms, us or ns, if no column says it (timelines of profilers are always in microseconds).
    ``warmup``: number of first rounds to leave out; "auto" leaves out those that were slow for every worker.
    ``format``: a name in ``traces.FORMATS``; None recognises the format by the content of the file.
    ``columns``: role -> name of a column, as {"round": "step", "worker": "rank"}; in a table with a column per worker
    "worker" may be the list of these columns.  ``ignore``: names of columns to leave out.
    ``decimal``: the mark of decimals in text, "." or ","; None decides by the content, or refuses to.
    ``dataset``: which one to read, if a column ``dataset`` (or, in a timeline, the task's name) names several.

    Raises ValueError if the file holds no usable trace, with what is needed; OSError if it cannot be opened.
    See also ``from_frame``, for data that are in memory.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "trace.csv"
    ...     _ = path.write_text("round,worker,seconds\n0,a,1.5\n0,b,2.0\n1,a,1.0\n1,b,3.0\n")
    ...     trace = read(path)
    >>> trace.workers, trace.rounds, trace.arrivals[2].tolist()
    (('a', 'b'), 2, [2.0, 3.0])
    """
    loaded = load(Path(path), format, Wishes(columns or {}, ignore, decimal))
    if loaded.unit is not None and unit not in (None, loaded.unit):
        raise ValueError(f"a timeline is in microseconds whatever it displays, got unit={unit!r}: leave it out")
    try:
        trace = from_frame(loaded.frame, unit=loaded.unit or unit, warmup=warmup, dataset=dataset)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
    return replace(trace, report=(*map(one_line, loaded.report), *trace.report), columns=loaded.columns)


@explains_types
def from_frame(
    frame: pd.DataFrame,
    *,
    unit: str | None = None,
    warmup: int | str = "auto",
    dataset: str | None = None,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    ignore: Sequence[str] = (),
    decimal: str | None = None,
) -> Trace:
    """The trace in a DataFrame with one row per attempt, with the columns and the arguments of ``read``.

    >>> rows = [(0, "a", 1500.0), (0, "b", 2000.0)]
    >>> trace = from_frame(pd.DataFrame(rows, columns=["round", "worker", "seconds"]), unit="ms")
    >>> trace.attempts["seconds"].tolist()
    [1.5, 2.0]
    """
    try:
        frame, understood, read_columns = attempts_of(frame, "long", Wishes(columns or {}, ignore, decimal))
        attempts, workers, report, doubts, empty = clean(frame, unit, warmup, dataset)
    except ValueError as problem:
        raise ValueError(one_line(str(problem))) from None
    told, doubted = (tuple(map(one_line, lines)) for lines in ([*understood, *report], doubts))
    return Trace(attempts, workers, told, read_columns, empty, doubted)
