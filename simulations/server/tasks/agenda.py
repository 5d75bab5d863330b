"""Tasks in the order in which they will end: a heap of sorted runs.

Tasks that begin together are sorted once and make one run; the heap holds only the first task of each run.  It has
about as many entries as models are in use, fewer than workers if k > 1.  Long runs are read from one end to the other,
which memory does fast.  With n = 10^5 workers a heap of all tasks would mostly wait for memory.
"""

from collections.abc import Callable
from heapq import heappop, heappush, heapreplace

from simulations.server.tasks.job import Job

Entry = tuple[float, int, Job, "list[Entry]"]  # when it ends (s), worker, task, and the later entries of its run
Agenda = list[Entry]  # a heap


def add(agenda: Agenda, run: list[Entry]) -> None:
    """Put m tasks that begin together on the agenda, in O(m log m); each entry refers to the list ``run``."""
    run.sort(reverse=True)
    heappush(agenda, run.pop())


def drop_first(agenda: Agenda) -> None:
    """Remove the task that ends first, in O(log of the number of runs)."""
    run = agenda[0][3]
    if run:
        heapreplace(agenda, run.pop())
    else:
        heappop(agenda)


def retain(agenda: Agenda, wanted: Callable[[Job], bool]) -> None:
    """Keep only ``wanted`` tasks, all in one run."""
    run: list[Entry] = []
    for first in agenda:
        run += [(time, worker, job, run) for time, worker, job, _ in (first, *first[3]) if wanted(job)]
        first[3].clear()
    agenda.clear()
    if run:
        add(agenda, run)
