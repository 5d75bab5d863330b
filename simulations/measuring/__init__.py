"""What a server can measure while it runs: task times, loss, noise and curvature, each with its error."""

from simulations.measuring.gradients import GradientMeter
from simulations.measuring.life_table import LifeTables, Survival
from simulations.measuring.meter import Measured, Meter
from simulations.measuring.quantity import Quantity

__all__ = ["GradientMeter", "LifeTables", "Measured", "Meter", "Quantity", "Survival"]
