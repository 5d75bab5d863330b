"""Whether the versions in a trace add up: the sum of staleness is conserved under any delays."""

import numpy as np
import pandas as pd

from abs_theory.checks import explains_types
from abs_theory.traces.columns import counted
from abs_theory.traces.trace import Trace

__all__ = ["staleness_check"]


@explains_types
def staleness_check(trace: Trace) -> str:
    """The mean staleness of ``trace``, and whether its versions add up, as a conservation law demands, in words.

    The staleness of an attempt is ``version_applied - version_read``, the updates made while it ran.  Each update adds
    1 to every attempt in flight: n - k of them in K-async, n - 1 in K-batch-async, where senders start again at once.
    Each attempt takes its staleness away when it is applied, so both sums agree exactly under any delays, up to the
    staleness in flight at the end: at most n times the largest staleness plus one.  In the long run the mean is
    (n - k) / k, or (n - 1) / k.  A restarted attempt counts if it has a row with the version at its cancellation; then
    the mean of those delivered is smaller.

    Ours: the identity per update behind the mean staleness n - 1 of asynchronous SGD (Koloskova, Stich & Jaggi 2022,
    remark 5).

    >>> import pandas as pd
    >>> from abs_theory.traces import from_frame
    >>> rows = [(t, w, 1.0, t, t) for t in range(4) for w in range(2)]
    >>> names = ["round", "worker", "seconds", "version_read", "version_applied"]
    >>> staleness_check(from_frame(pd.DataFrame(rows, columns=names)))
    'Every gradient is fresh (staleness 0), as when all workers start each round together.'
    """
    table = trace.attempts
    if not {"version_read", "version_applied"} <= set(table.columns):
        return "The trace has no versions: staleness cannot be checked."
    table = table.dropna(subset=["version_read", "version_applied"])
    applied = table[table["observed"]]
    if applied.empty:
        return "No delivery has both versions: staleness cannot be checked."
    staleness = applied["version_applied"] - applied["version_read"]
    if not staleness.any():
        return "Every gradient is fresh (staleness 0), as when all workers start each round together."
    mean = f"The mean staleness is {staleness.mean():.3g}"
    updates, in_flight = applied["version_applied"].nunique(), _most_in_flight(table, trace.n)
    k = len(applied) / updates
    if updates * (trace.n - k) < 2 * in_flight:
        return f"{mean}. {updates} updates are too few to check it, because up to {trace.n} attempts run at a time."
    k_async, batch = (trace.n - k) / k, (trace.n - 1) / k
    numbers = f"n = {trace.n}, k = {k:.3g}"
    stopped = table.loc[~table["observed"]]
    if "status" in stopped:  # tasks in progress at the end are censored
        stopped = stopped[stopped["status"] != "censored"]
    restarts = int((stopped["version_applied"] > stopped["version_read"]).sum())
    for name, law, idle in (
        ("K-async", f"(n - k) / k = {k_async:.3g}", True),
        ("K-batch-async", f"(n - 1) / k = {batch:.3g}", False),
    ):
        if not _adds_up(table, trace.n, idle):
            continue
        if not restarts:
            return f"{mean}. The versions in the trace add up: the mean of {name} is {law} ({numbers})."
        return (
            f"{mean}. The versions in the trace add up: without restarts the mean would be {law} ({name}, {numbers}), "
            f"and {counted(restarts, 'attempt')} not delivered made it smaller."
        )
    earlier = table.assign(version_applied=table["version_applied"] - 1)
    if staleness.min() >= 1 and any(_adds_up(earlier, trace.n, idle) for idle in (True, False)):
        why = "one less would: version_applied must be the version a gradient is applied to, not the one it makes"
    elif staleness.mean() < k_async:
        why = "it is too small: restarts or deliveries without a row, or workers that do not take part"
    else:
        why = f"it is too large: about {k * (1 + staleness.mean()):.0f} workers would fit, or rows are missing"
    return (
        f"{mean}, but the versions in the trace do not add up. It should be (n - k) / k = {k_async:.3g}, as in "
        f"K-async, or (n - 1) / k = {batch:.3g}, as in K-batch-async ({numbers}); {why}."
    )


def _adds_up(table: pd.DataFrame, n: int, idle: bool) -> bool:
    """Whether the staleness added by updates was applied again, or may be in flight; ``idle``: senders wait (K-async).

    Each stretch of consecutive versions is checked alone; staleness from before the stretch is left out.
    """
    applied, read = (table[name].to_numpy(np.int64) for name in ("version_applied", "version_read"))
    versions, accepted = np.unique(applied[table["observed"].to_numpy()], return_counts=True)
    stretch = np.concatenate([[0], np.cumsum(np.diff(versions) > 1)])
    first = versions[np.searchsorted(stretch, stretch)]
    inside = np.isin(applied, versions)
    place = np.searchsorted(versions, applied[inside])
    left = np.bincount(stretch[place], applied[inside] - np.maximum(read[inside], first[place]))
    gains = np.where(np.diff(versions, append=-1) == 1, n - (accepted if idle else 1), 0)  # by the next update
    added = np.bincount(stretch, gains)
    return bool(np.all((added - left >= 0) & (added - left <= _most_in_flight(table, n))))


def _most_in_flight(table: pd.DataFrame, n: int) -> float:
    return n * (float((table["version_applied"] - table["version_read"]).max()) + 1)
