"""The same work on a Ray cluster; the toolkit's own source is sent to it, so that all machines run the same code."""

from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

import abs_theory
import simulations
from simulations.processes import imported_ray

__all__ = ["results"]

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def results(
    function: Callable[[Argument], Result], arguments: Iterable[Argument], address: str | None
) -> Generator[Result]:
    """``function(argument)`` for each argument, in the order in which they finish, on the cluster at ``address``.

    None: the cluster this process is connected to, else a new one on this computer, which ends with the work.
    Raises ValueError if Ray is not installed, ConnectionError if there is no cluster at this address.
    """
    ray = imported_ray()
    ours = not ray.is_initialized()
    if ours:
        source = {"py_modules": [abs_theory, simulations]}
        ray.init(address=address, runtime_env=source, log_to_driver=False, logging_level="error")
    try:
        remote = ray.remote(function)
        pending = [remote.remote(argument) for argument in arguments]
        while pending:
            done, pending = ray.wait(pending)
            yield ray.get(done[0])
    finally:
        if ours:
            ray.shutdown()
