"""One thread for linear algebra: results are the same to the last bit on any number of cores."""

import sys
from contextlib import AbstractContextManager
from functools import lru_cache

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager:
    """A context in which BLAS and OpenMP use one thread."""
    return _loaded(len(sys.modules)).limit(limits=1)


@lru_cache(maxsize=1)
def _loaded(modules: int) -> ThreadpoolController:
    """The libraries of this process.  The search takes milliseconds; it is repeated after an import of new modules."""
    return ThreadpoolController()
