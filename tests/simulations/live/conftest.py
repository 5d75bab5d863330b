"""Six workers that all tests of live runs share.  Worker 1 fails when a test asks for it."""

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
def faulty_problem(mark):
    """The problem of the contract, whose gradient fails in worker 1 once there is the ``mark``."""
    return Faulty(contract.PROBLEM.curvatures, contract.PROBLEM.sigma2, mark=str(mark))


@pytest.fixture(scope="session")
def crew(faulty_problem):
    """Workers of that problem."""
    with Processes(faulty_problem, WORKERS) as workers:
        yield workers
