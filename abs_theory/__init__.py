"""What can be computed about straggler-aware SGD without training anything."""

import os
import runpy
import signal

__version__ = "0.2.0"  # of the whole toolkit


def loading(command: str) -> None:
    """Until ``command`` has loaded and ``command_line.run_app`` takes over, Ctrl-C ends it in one line, status 130."""

    def end(number: int, frame: object) -> None:
        os.write(2, f"{command}: interrupted\n".encode())
        os._exit(130)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not one that ignores it
        signal.signal(signal.SIGINT, end)


def run() -> None:
    """The console script: the same as ``python -m abs_theory``."""
    runpy.run_module("abs_theory", run_name="__main__")
