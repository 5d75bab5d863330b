"""Simulation of servers whose updates take time: finished tasks queue for the trainer, which takes batches of them."""

from abs_theory.monte_carlo.trainer.play import may_lock, played
from abs_theory.monte_carlo.trainer.records import Rules
from abs_theory.monte_carlo.trainer.update_times import update_law

__all__ = ["Rules", "may_lock", "played", "update_law"]
