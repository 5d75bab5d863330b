"""Draw ``timeline.png``, the picture of the README: ``python docs/readme_timeline.py``."""

from pathlib import Path

from abs_theory.delays import HyperExponential
from simulations import plot, protocols

STALLS = HyperExponential(probs=(0.9, 0.1), means=(0.6, 4.6))
PANELS = {
    "synchronous: waits for all": protocols.synchronous(),
    "K-async: waits for 2, the others go on": protocols.k_async(2),
    "ABS: waits for 2, late workers restart when their model is 3 updates old": protocols.abs_sgd(2, 2),
}

if __name__ == "__main__":
    axes = plot.timeline(PANELS, STALLS, 5, seconds=6.0, seed=5)
    axes[0].figure.savefig(Path(__file__).with_name("timeline.png"), dpi=110, metadata={"Software": None})
