"""One thread for linear algebra: the same bits on any number of cores, however much runs beside it."""

import sys
from contextlib import AbstractContextManager
from functools import lru_cache

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager:
    """A context in which BLAS and OpenMP use one thread."""
    return _loaded(len(sys.modules)).limit(limits=1)


@lru_cache(maxsize=1)
def _loaded(modules: int) -> ThreadpoolController:
    """The libraries of this process; looking for them takes milliseconds, and new ones come with new modules."""
    return ThreadpoolController()
