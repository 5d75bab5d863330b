"""Gradients that are computed before they arrive, with those of other tasks, are the same to the last bit."""

import numpy as np
import pandas as pd
import pytest

from abs_theory.delays import LogNormal
from simulations import protocols
from simulations.fleets import as_fleet
from simulations.problems import Classifier, digits
from simulations.server import Run, RunBudget, Server, drive
from simulations.threads import one_thread

N = 6


class Counting(Classifier):
    """Counts the calls of ``gradients``."""

    exact_rows = True
    calls = 0

    def gradients(self, params, workers, rngs):
        type(self).calls += 1
        return super().gradients(params, workers, rngs)


class OneByOne(Counting):
    """Whether the gradients are exact is not known."""

    exact_rows = False


def trained(protocol, kind, local_steps):
    kind.calls = 0
    run = Run(
        protocol=protocol, problem=kind(digits(), N), fleet=as_fleet(LogNormal(median=1.0, sigma=1.0), N),
        step_size=0.1, seed=4, budget=RunBudget(num_updates=60), local_steps=local_steps,
    )  # fmt: skip
    server = Server(run)
    with one_thread():
        return drive(server), server.params, kind.calls


@pytest.mark.parametrize("local_steps", [1, 2])
@pytest.mark.parametrize(
    "protocol", [protocols.ssp(2), protocols.delay_adaptive(), protocols.k_batch_async(1), protocols.k_batch_async(8)]
)
def test_early_gradients_change_nothing_but_the_number_of_calls(protocol, local_steps):
    assert protocol.uses_all
    (early, params, few), (late, expected, many) = (
        trained(protocol, kind, local_steps) for kind in (Counting, OneByOne)
    )
    pd.testing.assert_frame_equal(early, late, check_exact=True)
    np.testing.assert_array_equal(params, expected)
    assert few <= many
    if protocol.k == 1 and (local_steps == 1 or not protocol.batch):
        assert few < many / 2


def test_protocols_that_stop_tasks_compute_no_gradient_early():
    assert not protocols.abs_sgd(2, 1).uses_all
    assert not protocols.k_sync(2).uses_all
