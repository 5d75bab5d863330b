"""The parameter server: a clock, the tasks in progress, and the verbs that protocols use."""

from simulations.server.budget import RunBudget
from simulations.server.decisions import Policy, Progress
from simulations.server.evaluations import Evaluations
from simulations.server.run import drive, most_in_step, numbered, run_replicate, run_replicates, run_together
from simulations.server.server import Family, Protocol, Run, Server, check_protocol
from simulations.server.steps import contribution
from simulations.server.tasks import (
    Engine,
    EngineFactory,
    Entry,
    Job,
    NothingComes,
    Remembered,
    Round,
    ServerState,
    SimulatedClock,
)

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
