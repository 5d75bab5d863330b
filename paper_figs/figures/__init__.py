"""One file per figure: its CLAIM, what to compute, and how to draw it.

``QUICK``, ``DEFAULT`` and ``FULL`` are arguments of ``compute(**config) -> table``, whose result is cached, and
``draw(table) -> Figure`` draws it.  Optional: ``summarise(table)``, between the two and not cached, and
``numbers(table)``, the short table beside the figure on the page of all.  The three sizes and the claim are read from
the source without importing the file, so they are written with constants alone.
"""

__all__ = ["NAMES"]

NAMES = (  # the files of the figures, in the order of the page
    "timeline",
    "round_time",
    "staleness",
    "threshold",
    "local_steps",
    "scaling",
    "bound",
    "choice",
    "loss_time",
    "loss_communication",
    "adaptation",
    "self_tuning",
    "time_to_target",
    "paper_setting",
    "ablation",
    "robustness",
    "heterogeneity",
    "budget",
    "all_methods",
    "rollouts",
    "live",
)
