"""Linear algebra on one thread, and as many as before afterwards."""

import sys
from types import ModuleType

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from simulations import threads


def used() -> set[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return {library["num_threads"] for library in threadpool_info()}


def test_one_inside_as_before_outside():
    with threadpool_limits(2):
        with threads.one_thread():
            assert used() == {1}
        assert used() == {2}


def test_libraries_are_looked_for_once_and_again_when_a_module_may_have_brought_one(monkeypatch):
    def seen():
        with threads.one_thread():
            return threads._loaded.cache_info().misses

    first = seen()
    assert seen() == first
    monkeypatch.setitem(sys.modules, "brings_a_library", ModuleType("brings_a_library"))
    assert seen() == first + 1
