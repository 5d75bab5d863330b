"""Problems whose gradient fails once, in one worker of a live run; a module that worker processes can import."""

import os
import signal
import time
from dataclasses import dataclass

import numpy as np

from simulations.problems import NoisyQuadratic

FAULTY = 1  # the worker that fails


@dataclass(frozen=True)
class Faulty(NoisyQuadratic):
    """A noisy quadratic; the first gradient of worker 1 after the file ``mark`` has gone meets the ``fault``."""

    mark: str = ""
    fault: str = ""

    def gradients(self, params, workers, rngs):
        losses, rows = super().gradients(params, workers, rngs)
        if FAULTY in workers and self._is_due():
            if self.fault == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            elif self.fault == "hangs":
                time.sleep(1e6)
            elif self.fault == "raises":
                raise ArithmeticError("no gradient today")
            elif self.fault == "slow":
                time.sleep(0.3)
            else:
                return losses, np.full_like(rows, np.nan)
        return losses, rows

    def _is_due(self):
        try:
            os.unlink(self.mark)
        except FileNotFoundError:
            return False
        return True
