"""Six workers for all tests of live runs, one of which fails on demand."""

import pytest
from faulty_problems import Faulty

from simulations import contract
from simulations.live.processes import Processes

WORKERS = 6


@pytest.fixture(scope="session")
def mark(tmp_path_factory):
    """The file that makes worker 1 fail once, see ``faulty_problems``."""
    return tmp_path_factory.mktemp("faults") / "mark"


@pytest.fixture(scope="session")
def crew(mark):
    """Workers of the problem of the contract."""
    problem = contract.PROBLEM
    with Processes(Faulty(problem.curvatures, problem.sigma2, mark=str(mark)), WORKERS) as workers:
        yield workers
