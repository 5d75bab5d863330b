from .agenda import Entry
from .books import Books, Remembered, ServerState
from .clock import Engine, EngineFactory, NothingComes, SimulatedClock
from .job import Job, Round
from .task_times import TaskPlanner

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
