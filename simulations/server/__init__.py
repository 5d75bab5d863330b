"""The parameter server: a clock, the jobs in flight, and the verbs protocols are written in."""

from simulations.server.decisions import Policy, Progress
from simulations.server.job import Job, Round
from simulations.server.run import begin, run, run_replicate
from simulations.server.server import Protocol, Server, check_protocol

__all__ = [
    "Job",
    "Policy",
    "Progress",
    "Protocol",
    "Round",
    "Server",
    "begin",
    "check_protocol",
    "run",
    "run_replicate",
]
