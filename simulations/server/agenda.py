"""Tasks in the order in which they will end: a heap of sorted runs.

Tasks that begin together are sorted once and make one run; the heap holds only the first of each.  It has about as
many entries as there are models in use, for k > 1 fewer than workers, and long runs are read from one end to the other,
which is what memory is fast at: with n = 10^5 workers a heap of all tasks would mostly wait for memory.
"""

from collections.abc import Callable
from heapq import heappop, heappush, heapreplace

from simulations.server.job import Job

Entry = tuple[float, int, Job, "list[Entry]"]  # when it ends (s), worker, task, and the later entries of its run
Agenda = list[Entry]  # a heap


def add(agenda: Agenda, run: list[Entry]) -> None:
    """Put tasks that begin together on the agenda, in O(m log m) for m of them; each of them knows the list ``run``."""
    run.sort(reverse=True)
    heappush(agenda, run.pop())


def drop_first(agenda: Agenda) -> None:
    """Take the task that ends first off the agenda, in O(log of the number of runs)."""
    run = agenda[0][3]
    if run:
        heapreplace(agenda, run.pop())
    else:
        heappop(agenda)


def retain(agenda: Agenda, wanted: Callable[[Job], bool]) -> None:
    """Leave only ``wanted`` tasks, all in one run."""
    run: list[Entry] = []
    for first in agenda:
        run += [(time, worker, job, run) for time, worker, job, _ in (first, *first[3]) if wanted(job)]
        first[3].clear()
    agenda.clear()
    if run:
        add(agenda, run)
