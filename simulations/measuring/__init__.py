"""What a server can measure while it runs: task times, noise and curvature, each with its error."""

from simulations.measuring.gradients import GradientMeter, Quantity
from simulations.measuring.life_table import LifeTables, Survival
from simulations.measuring.meter import Measured, Meter

__all__ = ["GradientMeter", "LifeTables", "Measured", "Meter", "Quantity", "Survival"]
