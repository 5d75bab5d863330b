"""Settings of hypothesis: no test asserts a time; continuous integration always runs the same examples.

Objects of thousands of tests live as long as the run, and are not searched for garbage again and again.  Tests already
run on all cores, so linear algebra starts no threads of its own.
"""

import gc
import os
import random

import pytest
from _pytest.doctest import DoctestModule
from hypothesis import given, settings
from hypothesis import strategies as st

for library in ("OMP", "OPENBLAS", "MKL"):  # before numpy is loaded, here and in the processes that tests start
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("local", deadline=None, print_blob=True)
IN_CI = "CI" in os.environ
settings.load_profile("ci" if IN_CI else "local")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Locally every run tries other examples, from a seed that is told so that they can be repeated."""
    if not IN_CI and config.getoption("hypothesis_seed", None) is None:
        config.option.hypothesis_seed = random.SystemRandom().randrange(2**32)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file():
    """Examples stand in the docstrings of the packages: in tests none is looked for."""
    return [collector for collector in (yield) if not isinstance(collector, DoctestModule)]


def pytest_sessionstart():
    gc.disable()  # while tests are collected


@given(st.none())
def first_example(nothing):
    """Lets hypothesis make its generators of random numbers."""


def pytest_collection_finish():
    first_example()  # older versions look for who refers to those generators, and do not see what is frozen
    gc.freeze()
    gc.set_threshold(100_000)  # objects; 700 by default
    gc.enable()


def pytest_report_header(config):
    seed = config.getoption("hypothesis_seed", None)
    return None if seed is None else f"hypothesis: --hypothesis-seed={seed} repeats these examples"


def pytest_terminal_summary(terminalreporter):
    """Quiet runs have no header, so failures end with the seed."""
    seed = terminalreporter.config.getoption("hypothesis_seed", None)
    if seed is not None and terminalreporter.stats.get("failed"):
        terminalreporter.write_line(f"hypothesis: --hypothesis-seed={seed} repeats these examples")
