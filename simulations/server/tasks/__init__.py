"""The tasks of workers: what each is, when it will end, the clock that delivers it, and the books that count it."""

from simulations.server.tasks.agenda import Entry
from simulations.server.tasks.books import Books, Remembered, ServerState
from simulations.server.tasks.clock import Engine, EngineFactory, NothingComes, SimulatedClock
from simulations.server.tasks.job import Job, Round
from simulations.server.tasks.task_times import TaskPlanner

__all__ = [
    "Books",
    "Engine",
    "EngineFactory",
    "Entry",
    "Job",
    "NothingComes",
    "Remembered",
    "Round",
    "ServerState",
    "SimulatedClock",
    "TaskPlanner",
]
