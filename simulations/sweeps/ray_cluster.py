"""The same work on a Ray cluster: the toolkit's own source goes along, so that all machines run the same."""

from collections.abc import Callable, Generator, Iterable
from typing import Any

import abs_theory
import simulations

__all__ = ["results"]


def results(function: Callable[[Any], Any], arguments: Iterable[Any], address: str | None) -> Generator[Any]:
    """``function(argument)`` for each argument, as it comes, on the cluster at ``address``.

    None: the cluster this process is connected to, else a new one on this computer, which ends with the work.
    Raises ValueError if Ray is not installed, ConnectionError if there is no cluster at this address.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError('Ray is not installed; the extra "cluster" of this package brings it') from None
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
