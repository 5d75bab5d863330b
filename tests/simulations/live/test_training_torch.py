"""A PyTorch module on digits with real worker processes, beside the simulation of the same seed."""

import pytest

torch = pytest.importorskip("torch")

from abs_theory.delays import ShiftedExponential  # noqa: E402
from simulations import protocols  # noqa: E402
from simulations.fleets import as_fleet  # noqa: E402
from simulations.live.processes import Processes  # noqa: E402
from simulations.live.training import LiveSettings, Real, train  # noqa: E402
from simulations.problems.data import digits  # noqa: E402
from simulations.problems.torch_module import TorchProblem  # noqa: E402
from simulations.server import Run, RunBudget, run_replicate  # noqa: E402

pytestmark = pytest.mark.slow
N = 4
PROTOCOLS = {
    "abs_sgd": (protocols.abs_sgd(2, 1), 1),
    "asynchronous": (protocols.asynchronous(), 1),
    "local_sgd": (protocols.local_sgd(), 3),
}


@pytest.fixture(scope="module")
def problem():
    torch.manual_seed(0)
    layers = torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(32, 10)
    return TorchProblem(torch.nn.Sequential(*layers), digits(), N)


@pytest.fixture(scope="module")
def crew(problem):
    with Processes(problem, N) as workers:
        yield workers


def a_run(problem, protocol, local_steps=1, fleet=None, updates=20):
    return Run(
        protocol=protocol, problem=problem, fleet=fleet or as_fleet(ShiftedExponential(0.5, 0.5), N), step_size=0.2,
        local_steps=local_steps, seed=3, budget=RunBudget(num_updates=updates), keep_tasks=True,
    )  # fmt: skip


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_live_run_is_the_simulated_one(name, problem, crew):
    """Rounds and tasks are equal; the models agree to the rounding of single precision, often to the last bit."""
    run = a_run(problem, *PROTOCOLS[name])
    rounds, tasks = run_replicate(run, 0)
    live = train(run, [0], LiveSettings(time_scale=0.001, grace=60.0), crew)
    assert live.tasks.equals(tasks)
    before = list(rounds.columns[: rounds.columns.get_loc("loss")])
    assert live.rounds[before].equals(rounds[before])
    assert live.rounds["loss"].iloc[-1] == pytest.approx(rounds["loss"].iloc[-1], rel=1e-4)
    assert live.rounds["test_accuracy"].iloc[-1] == pytest.approx(rounds["test_accuracy"].iloc[-1], abs=0.01)


def test_it_learns_with_real_delays(problem, crew):
    run = a_run(problem, protocols.abs_sgd(2, 1), fleet=Real(N), updates=300)
    live = train(run, [0], LiveSettings(grace=0.0), crew)
    assert live.rounds["test_accuracy"].iloc[-1] > 0.85
    assert live.rounds["loss"].iloc[-1] < 0.5 * problem.loss(problem.initial)
