"""Problems whose gradient fails once, in one worker of a live run; a module that worker processes can import."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulations.problems import NoisyQuadratic

FAULTY = 1  # the worker that fails


@dataclass(frozen=True)
class Faulty(NoisyQuadratic):
    """A noisy quadratic; once the file ``mark`` is there, the next gradient of worker 1 meets the fault it names."""

    mark: str = ""

    def gradients(self, params, workers, rngs):
        losses, rows = super().gradients(params, workers, rngs)
        fault = self._taken() if FAULTY in workers else None
        if fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault == "stopped":  # it neither reads nor answers
            os.kill(os.getpid(), signal.SIGSTOP)
        elif fault == "hangs":
            time.sleep(1e6)
        elif fault == "raises":
            raise ArithmeticError("no gradient today")
        elif fault == "slow":
            time.sleep(0.3)
        elif fault == "not finite":
            return losses, np.full_like(rows, np.nan)
        elif fault == "too short":
            return losses, rows[:, :-1]
        return losses, rows

    def _taken(self):
        try:
            fault = Path(self.mark).read_text()
            os.unlink(self.mark)
        except FileNotFoundError:
            return None
        return fault
