"""One file per figure: QUICK, DEFAULT, compute(**config) -> table, optional summarise(table), draw(table) -> Figure."""

from paper_figs.figures import (
    ablation,
    adaptation,
    loss_communication,
    loss_time,
    round_time,
    time_to_target,
    timeline,
)

_ALL = (timeline, round_time, loss_time, loss_communication, adaptation, time_to_target, ablation)
FIGURES = {module.__name__.split(".")[-1].replace("_", "-"): module for module in _ALL}
