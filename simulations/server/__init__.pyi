from .budget import RunBudget
from .decisions import Policy, Progress
from .evaluations import Evaluations
from .run import drive, most_in_step, numbered, run_replicate, run_replicates, run_together
from .server import Family, Protocol, Run, Server, check_protocol
from .steps import contribution
from .tasks import Engine, EngineFactory, Entry, Job, NothingComes, Remembered, Round, ServerState, SimulatedClock

__all__ = [
    "Engine",
    "EngineFactory",
    "Entry",
    "Evaluations",
    "Family",
    "Job",
    "NothingComes",
    "Policy",
    "Progress",
    "Protocol",
    "Remembered",
    "Round",
    "Run",
    "RunBudget",
    "Server",
    "ServerState",
    "SimulatedClock",
    "check_protocol",
    "contribution",
    "drive",
    "most_in_step",
    "numbered",
    "run_replicate",
    "run_replicates",
    "run_together",
]
