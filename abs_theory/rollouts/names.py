"""The columns of a comparison, and what a table calls them."""

__all__ = ["HEADINGS"]

HEADINGS = {
    "mode": "mode",
    "slots": "slots",
    "seconds_per_update": "s/update",
    "rollouts_per_second": "rollouts/s",
    "tokens_per_second": "tokens/s",
    "tokens_per_second_per_gpu": "tokens/s/GPU",
    "slots_busy": "busy",
    "staleness_mean": "mean",
    "staleness_p90": "p90",
    "staleness_p99": "p99",
    "staleness_largest": "max",
    "lost_share": "lost",
    "longest_10": "long 10%",
    "longest_1": "long 1%",
    "method": "method",
}
