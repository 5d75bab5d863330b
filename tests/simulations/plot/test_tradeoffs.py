"""What speed costs, in one picture: markers and intervals lie inside, and open intervals have arrows."""

import math

import pandas as pd
from matplotlib import pyplot

from simulations import plot


def test_an_interval_without_an_end_has_an_arrow_within_the_axes():
    """Three of five runs reach the target, so the upper ends of the intervals are open."""
    rows = [
        {
            "replicate": r, "update": u, "time": float(u), "uplinks": 2, "downlinks": 2,
            "loss": 0.1 if u == 5 + r and r < 3 else 1.0,
        }
        for r in range(5)
        for u in range(1, 10)
    ]  # fmt: skip
    ax = plot.tradeoff({"ABS": pd.DataFrame(rows)}, ("loss", 0.5))
    table = plot.to_targets({"ABS": pd.DataFrame(rows)}, ("loss", 0.5))
    assert table["reached"].item() == 3
    assert math.isinf(table["time_high"].item())
    arrows = {line.get_marker(): line.get_xydata()[0] for line in ax.lines if line.get_marker() in (5, 6)}
    assert set(arrows) == {5, 6}
    (right, up) = ax.get_xlim()[1], ax.get_ylim()[1]
    assert table["communication"].item() < arrows[5][0] < right
    assert table["time"].item() < arrows[6][1] < up
    pyplot.close("all")
