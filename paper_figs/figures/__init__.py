"""One file per figure: its CLAIM, what to compute, and how to draw it.

``QUICK``, ``DEFAULT`` and ``FULL`` are arguments of ``compute(**config) -> table``, whose result is cached, and
``draw(table) -> Figure`` draws it.  Optional: ``summarise(table)``, between the two and not cached, and
``numbers(table)``, the short table beside the figure on the page of all.
"""

from paper_figs.figures import (
    ablation,
    adaptation,
    bound,
    budget,
    choice,
    heterogeneity,
    local_steps,
    loss_communication,
    loss_time,
    round_time,
    scaling,
    staleness,
    threshold,
    time_to_target,
    timeline,
)

__all__ = ["FIGURES"]

_ALL = (
    timeline, round_time, staleness, threshold, local_steps, scaling, bound, choice,
    loss_time, loss_communication, adaptation, time_to_target, ablation, heterogeneity, budget,
)  # fmt: skip
FIGURES = {module.__name__.split(".")[-1].replace("_", "-"): module for module in _ALL}
