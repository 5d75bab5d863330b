"""Arguments of a wrong type: every public function refuses them by name, and none fails somewhere inside.

The right arguments are those of the example in the docstring of the function; then one after another is replaced.
"""

import contextlib
import doctest
import importlib
import inspect
import io
import pkgutil
import sys
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

import abs_theory
import simulations
from abs_theory import choose, plan
from abs_theory.bounds import Constants
from abs_theory.checks import explains_types
from abs_theory.delays import Empirical, Exponential
from simulations import protocols
from simulations.experiment import simulate
from simulations.problems import TimingOnly
from simulations.server import Protocol


class Odd:
    """A value that nobody wants."""

    def __repr__(self):
        return "Odd()"


WRONG = [Odd(), "text", [1, "a"], {"a": 1}, 1.5, None, np.ones((2, 2)), pd.DataFrame({"a": ["x"]}), True, 3, b"x", len]
MEANT = (ValueError, OSError, RuntimeError)  # an argument has another meaning, such as a file that does not exist
TEST_OF_PROTOCOLS = "simulations.contract.check"  # raises AssertionError, which is its answer
ARGUMENTS = 50  # of one room, at least
ROOMS = [
    f"{package.__name__}.{room.name}" for package in (abs_theory, simulations)
    for room in pkgutil.iter_modules(package.__path__) if not room.name.startswith(("__", "command_line"))
]  # fmt: skip


def public():
    """All functions and classes behind a door, by name."""
    things = {}
    for package in (abs_theory, simulations):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if found.name.endswith(("__main__", "command_line", "torch_module")):
                continue
            module = importlib.import_module(found.name)
            if found.ispkg or found.name.count(".") == 1:
                for name in getattr(module, "__all__", ()):
                    thing = getattr(module, name)
                    names = getattr(thing, "__all__", ()) if inspect.ismodule(thing) else [None]
                    for inner in names:
                        offered = getattr(thing, inner) if inner else thing
                        if inspect.isfunction(offered) or inspect.isclass(offered):
                            things.setdefault(offered, f"{module.__name__}.{name}" + (f".{inner}" if inner else ""))
    return {name: thing for thing, name in sorted(things.items(), key=lambda pair: pair[1])}


def arguments_of_its_example(thing):
    """The arguments of the first call in the example of ``thing``; None if there is no example."""
    call = inspect.unwrap(thing.__init__ if inspect.isclass(thing) else thing)
    first = []

    def watch(frame, event, argument):
        if event == "call" and frame.f_code is getattr(call, "__code__", None) and not first:
            first.append(dict(frame.f_locals))

    module = sys.modules[thing.__module__]
    for test in doctest.DocTestFinder(recurse=False).find(thing, globs=dict(vars(module))):
        for example in test.examples:
            sys.setprofile(watch)
            try:
                with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
                    exec(compile(example.source, "example", "single"), test.globs)
            finally:
                sys.setprofile(None)
            if first:
                return first[0]
    return None


def calls(thing, wrong):
    """Keyword arguments with one of them wrong, for each argument and each of ``wrong``."""
    given = arguments_of_its_example(thing)
    if given is None:
        return
    plain = {
        name: parameter
        for name, parameter in inspect.signature(thing).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    for name in plain:
        right = given.get(name)
        for value in (value for value in wrong if type(value) is not type(right)):
            if callable(value) and callable(right):
                continue
            keywords = {other: given[other] for other in plain if other in given} | {name: value}
            positional = [keywords.pop(p.name) for p in plain.values() if p.kind == p.POSITIONAL_ONLY]
            yield positional, keywords, f"{name}={value!r}"


@pytest.mark.parametrize(
    "room, wrong",
    [("abs_theory.bounds", WRONG[:3]), *(pytest.param(room, WRONG, marks=pytest.mark.slow) for room in ROOMS)],
    ids=["some", *ROOMS],
)
@pytest.mark.filterwarnings("ignore")
def test_no_public_function_fails_inside_because_of_a_wrong_type(room, wrong, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # "text" may be taken for a folder to write to
    if room == "simulations.explore":  # a page that is served would be until Ctrl-C
        loop = pytest.importorskip("tornado.platform.asyncio").BaseAsyncIOLoop
        monkeypatch.setattr(loop, "start", lambda loop: None)
        monkeypatch.setattr("webbrowser.open", lambda address: None)
    cases, failures = 0, []
    for name, thing in public().items():
        if not name.startswith(f"{room}."):
            continue
        for positional, keywords, changed in calls(thing, wrong):
            cases += 1
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    thing(*positional, **keywords)
            except MEANT:
                pass
            except AssertionError:
                assert name == TEST_OF_PROTOCOLS
            except Exception as problem:
                failures.append(f"{name}({changed}): {type(problem).__name__}: {problem}")
    assert not failures
    print(f"{cases} calls of {room}")
    assert cases > ARGUMENTS * len(wrong) or room != "abs_theory.bounds"


def run(protocol, **changed):
    options = {"step_size": 1.0, "num_updates": 4, "seed": 0} | changed
    return simulate(protocol, TimingOnly(), Exponential(1.0), 3, **options)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: run(protocols.k_sync(2), jobs="yes"), "jobs must be True or False, got jobs='yes'"),
        (lambda: run(protocols.k_sync(2), n_jobs=1.5), "n_jobs must be a number of processes, or -1 .*n_jobs=1.5"),
        (lambda: run(protocols.k_sync(2), n_jobs=0), "n_jobs must be a number of processes"),
        (lambda: run(protocols.k_sync(2.0)), "k must be an integer or a policy, got k=2.0: write 2"),
        (lambda: protocols.abs_sgd(2, 1, weight="x"), "weight must be a function, got weight='x'"),
        (lambda: protocols.fedbuff(2, weight=1.0), "weight must be a function"),
        (lambda: protocols.ringmaster(3, stops="no"), "stops must be True or False"),
        (lambda: Empirical(np.ones((2, 3))), "samples must be one list of numbers, got 2 x 3 of them"),
        (lambda: plan.plan("trace.csv"), "trace of plan must be a Trace or a pandas DataFrame, got 'trace.csv'"),
    ],
)
def test_a_value_that_used_to_be_accepted_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_fractions_are_numbers():
    whole = choose.best(Exponential(1.0), 4, Constants(0.5, 1, 1), choose.Target(0.05))
    exact = choose.best(Exponential(1.0), 4, Constants(Fraction(1, 2), Fraction(1), 1), choose.Target(Fraction(5, 100)))
    assert (exact.k, exact.seconds) == (whole.k, whole.seconds)


def test_a_plan_takes_a_table():
    rows = [(t, w, 9.0 if w == 2 else 1.0 + 0.01 * (t % 3)) for t in range(30) for w in range(3)]
    assert plan.plan(pd.DataFrame(rows, columns=["round", "worker", "seconds"])).k == 2


def uncalled(server, job):
    server.accept(job)
    server.assign(server.update)


def forgotten(server, job):
    server.accept(job)
    server.update()


@pytest.mark.parametrize(
    "on_arrival, error, message",
    [
        (uncalled, ValueError, r"assign takes a list of workers, .*; call it: server.assign\(server.update\(\)\)"),
        (forgotten, RuntimeError, r"has given none of its 3 workers a task: does it call server.assign\("),
        (lambda server, job: server.assign(job.worker), ValueError, "assign takes a list of workers, .* got"),
    ],
)
def test_a_protocol_that_misuses_assign_is_told(on_arrival, error, message):
    with pytest.raises(error, match=message):
        run(Protocol(on_arrival))


@explains_types
def halves(k: int, rest: "list[str] | None" = None) -> list[int]:
    return [k // 2, k - k // 2, *map(len, rest or ())]


def test_an_explanation_is_given_only_where_a_type_is_wrong():
    assert halves(4, ["x"]) == [2, 2, 1]
    with pytest.raises(ValueError, match=r"^rest of halves must be a list of texts or None, got \[1\]$"):
        halves(4, [1])
    with pytest.raises(TypeError, match=r"halves\(\) missing 1 required positional argument"):
        halves()


def test_an_unknown_keyword_is_told_the_known_ones():
    from abs_theory import steady_state
    from abs_theory.delays import Exponential
    from simulations import protocols

    with pytest.raises(TypeError, match=r"unexpected keyword argument 'k'; there are objective, curvature, least_loss"):
        protocols.self_tuning_abs(k=3)
    with pytest.raises(TypeError, match=r"'max_stalenes'; did you mean 'max_staleness'\? there are delay, k, n, max_s"):
        steady_state.abs_sgd(Exponential(1.0), k=3, n=8, max_stalenes=2)
