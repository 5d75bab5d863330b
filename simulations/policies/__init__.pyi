from .adasync import ADASYNC, abs_rule, adasync_rule, greedy_bound, switching_times
from .plain import Rule, adacomm_rule, all_but, every_worker, loss_ratio, pflug_rule, relative_to_mean
from .self_tuned import SelfTuning, self_tuning
from .thresholds import balanced_threshold, time_optimal

__all__ = [
    "ADASYNC",
    "Rule",
    "SelfTuning",
    "abs_rule",
    "adacomm_rule",
    "adasync_rule",
    "all_but",
    "balanced_threshold",
    "every_worker",
    "greedy_bound",
    "loss_ratio",
    "pflug_rule",
    "relative_to_mean",
    "self_tuning",
    "switching_times",
    "time_optimal",
]
