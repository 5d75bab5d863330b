"""The long run of a server whose updates take time: its trainer is a queue that serves batches."""

from abs_theory.steady_state.trainer.batches import abs_batch
from abs_theory.steady_state.trainer.grids import over_cells
from abs_theory.steady_state.trainer.simulated import accurate
from abs_theory.steady_state.trainer.tails import tail_batching
from abs_theory.steady_state.trainer.waiting_slots import steady_state

__all__ = ["abs_batch", "accurate", "over_cells", "steady_state", "tail_batching"]
