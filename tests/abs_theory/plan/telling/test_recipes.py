"""Recipes say what a plan says, and those in Python do it."""

import math
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, CancelledError, ThreadPoolExecutor, wait
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import synthetic_traces

from abs_theory import __main__ as command
from abs_theory import rollouts, traces
from abs_theory.delays import LogNormal
from abs_theory.plan import RECIPES, plan, recipe


@pytest.fixture(scope="module")
def answer():
    frame = synthetic_traces.unequal_workers(np.random.default_rng(0), num=30, n=4, slowest=5.0)
    found = plan(traces.from_frame(frame, warmup=0))
    assert found.k == 3
    return replace(found, max_staleness=0.0)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("bound", [None, 0.0, 2.0, math.inf])
def test_every_recipe_is_filled_in(answer, name, bound):
    filled = recipe(replace(answer, max_staleness=bound), name)
    texts = [filled.title, filled.version, filled.code, filled.can, filled.cannot, filled.restart]
    assert all(text and "$" not in text for text in texts)
    assert "3" in filled.code
    assert any(character.isdigit() for character in filled.version)
    if filled.language == "python":
        compile(filled.code, name, "exec")


def test_a_recipe_for_too_few_data_says_so(answer):
    assert "The data do not carry k = 3 yet" in recipe(replace(answer, rounds_needed=20), "ray").can
    assert "carry" not in recipe(replace(answer, rounds_needed=0), "ray").can


def test_the_command_knows_the_recipes():
    assert tuple(RECIPES) == command.RECIPE_NAMES


def test_a_recipe_that_does_not_exist(answer):
    with pytest.raises(ValueError, match="a recipe must be one of ray, pytorch, flower, rollouts, python, got 'mpi'"):
        recipe(answer, "mpi")


def test_torchft_is_told_no_quorum_that_it_would_refuse(answer):
    """It needs more than half of the healthy replicas."""
    assert "--min_replicas 3 --join_timeout_ms" in recipe(answer, "pytorch").code
    few = recipe(replace(answer, k=1), "pytorch")
    assert "--min_replicas 3 --join_timeout_ms 1\n" in few.code
    assert "The plan says 1" in few.can


class SlowestIsFirst:
    """Gradients of a worker: (version of the model, worker); worker 0 is slow, and gives up when it is told to."""

    def __init__(self):
        self.stopped, self.used = 0, []

    def gradient(self, worker, model, stop):
        if stop.wait(5.0 if worker == 0 else 0.01 * worker):
            self.stopped += 1
        return model, worker

    def apply(self, model, gradients):
        self.used.append([(model - version, worker) for version, worker in gradients])
        return model + 1


@pytest.mark.parametrize("bound", [0.0, 1.0, math.inf])
def test_the_recipe_for_threads_waits_for_k_and_restarts_whoever_is_too_stale(answer, bound):
    names, fleet = {}, SlowestIsFirst()
    exec(recipe(replace(answer, max_staleness=bound), "python").code, names)
    begin = time.monotonic()
    assert names["train"](fleet.gradient, fleet.apply, 0, 4) == 4
    assert time.monotonic() - begin < 2  # nobody waited for worker 0
    assert all(len(update) == 3 and {worker for _, worker in update} == {1, 2, 3} for update in fleet.used)
    assert fleet.stopped == {0.0: 4, 1.0: 2, math.inf: 1}[bound]  # at the end it is told once more


class RayOnThreads:
    """The functions of Ray that the recipe calls, with threads; a cancelled task is never ready."""

    exceptions = SimpleNamespace(RayError=ConnectionError)

    def __init__(self):
        self.pool, self.cancelled = ThreadPoolExecutor(16), []

    def remote(self, **_options):
        return lambda function: SimpleNamespace(remote=lambda *values: self.pool.submit(function, *values))

    def put(self, value):
        return value

    def get(self, reference):
        return reference.result()

    def wait(self, references, *, num_returns):
        assert num_returns == 1
        done = wait(references, return_when=FIRST_COMPLETED).done
        ready = [reference for reference in references if reference in done][:1]
        return ready, [reference for reference in references if reference not in ready]

    def cancel(self, reference, *, force):
        assert force
        self.cancelled.append(reference)


@pytest.mark.parametrize("bound", [0.0, 1.0, math.inf])
def test_the_recipe_for_ray_waits_for_k_and_cancels_whoever_is_too_stale(answer, monkeypatch, bound):
    ray, end = RayOnThreads(), threading.Event()
    monkeypatch.setitem(sys.modules, "ray", ray)

    def body(model, worker):
        if end.wait(5.0 if worker == 0 else 0.01 * worker):
            raise CancelledError
        return model, worker

    code = recipe(replace(answer, max_staleness=bound), "ray").code
    names = {"body": body}
    exec(code.replace("...  # your", "return body(model, worker)  # your"), names)
    fleet = SlowestIsFirst()
    assert names["train"](0, fleet.apply, 4) == 4
    end.set()
    assert all(len(update) == 3 and {worker for _, worker in update} == {1, 2, 3} for update in fleet.used)
    assert len(ray.cancelled) == {0.0: 4, 1.0: 2, math.inf: 0}[bound]


def test_the_recipe_for_ray_starts_a_failed_task_again(answer, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", RayOnThreads())
    failed = []

    def body(model, worker):
        if model == len(failed) < 3:  # the first task of each update that asks fails
            failed.append(worker)
            raise ConnectionError
        return model, worker

    names = {"body": body}
    code = recipe(replace(answer, max_staleness=math.inf), "ray").code
    exec(code.replace("...  # your", "return body(model, worker)  # your"), names)
    assert names["train"](0, lambda model, gradients: model + (len(gradients) == answer.k), 5) == 5
    assert len(failed) == 3


def test_the_recipe_for_flower_returns_after_k_good_replies(answer):
    """Node i answers at poll i; the second answer is an error, which does not count."""
    asked, polls = [], []

    class Grid:
        def push_messages(self, messages):
            asked.extend(messages)
            return [f"id {message}" for message in messages]

        def pull_messages(self, waiting):
            polls.append(len(waiting))
            name = f"id {len(polls) - 1}"
            metadata = SimpleNamespace(reply_to_message_id=name)
            return [SimpleNamespace(metadata=metadata, has_error=lambda: name == "id 1")]

    names: dict = {}
    exec(recipe(answer, "flower").code, names)
    replies = names["first_k"](Grid(), k=2, poll_seconds=0)([0, 1, 2, 3], timeout=60)
    assert asked == [0, 1, 2, 3]
    assert [reply.metadata.reply_to_message_id for reply in replies] == ["id 0", "id 1", "id 2"]
    assert polls == [4, 3, 2]
    assert names["first_k"](Grid(), poll_seconds=0)([0, 1, 2, 3], timeout=1e-9) == []


def trainers(settings):
    return {setting.split()[0] for setting in settings}


@pytest.mark.parametrize(("n", "k"), [(16, 13), (16, 8), (8, 8), (24, 5)])
@pytest.mark.parametrize("bound", [0.0, 1.0, 3.0, math.inf])
def test_rollouts_names_the_trainers_and_settings_that_the_command_of_rollouts_names(answer, n, k, bound):
    curve = pd.DataFrame({"mean": 1.0}, index=range(1, n + 1))
    code = recipe(replace(answer, n=n, k=k, max_staleness=bound, curve=curve), "rollouts").code
    typed = [" ".join(line.split()) for line in code.splitlines() if not line.startswith("#")]
    setup = rollouts.Setup(LogNormal(1.0, 1.0), batch=k, slots=n)
    thresholds = () if math.isinf(bound) else (int(bound),)
    ahead = [n / k - 1, max(round(n / k - 1), 1)]
    modes = rollouts.modes(setup, ahead=ahead, thresholds=thresholds)
    known = {setting for mode in modes for setting in mode.settings}
    left_out = ({"slime"} if bound else set()) | ({"AReaL"} if k == n else set())
    assert trainers(known) - left_out <= trainers(typed)
    assert len(trainers(typed)) == len(typed), "one line for each trainer"
    if round(n / k - 1) >= 1:
        others = {setting for setting in typed if not setting.startswith("verl")}
        assert others <= known, "the settings are the same ones"


def test_all_trainers_of_the_dictionary_are_named(answer):
    code = recipe(replace(answer, max_staleness=0.0), "rollouts").code
    names = ("AReaL", "NeMo-RL", "open-instruct", "ROLL", "SkyRL", "slime", "Tinker", "TRL", "verl")
    assert all(f"\n{name} " in code for name in names)
    assert "prime-rl      max_off_policy_steps=1\n" in recipe(replace(answer, max_staleness=2.0), "rollouts").code
