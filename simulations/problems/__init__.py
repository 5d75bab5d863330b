"""Problems: objectives, the data they are trained on, and the gradients of many workers in one batched call."""

from simulations.problems import constants, data, image_files
from simulations.problems.base import DrawnAhead, Problem, TimingOnly, drawn_ahead, rows_are_exact
from simulations.problems.classifier import (
    Classifier,
    DigitsClassifier,
    perceptron,
    perceptron_digits,
    softmax,
    softmax_digits,
)
from simulations.problems.data import Data, digits
from simulations.problems.least_squares import LeastSquares, random_least_squares
from simulations.problems.quadratic import NoisyQuadratic, ShiftedQuadratic

__all__ = [
    "Classifier",
    "Data",
    "DigitsClassifier",
    "DrawnAhead",
    "LeastSquares",
    "NoisyQuadratic",
    "Problem",
    "ShiftedQuadratic",
    "TimingOnly",
    "constants",
    "data",
    "digits",
    "drawn_ahead",
    "image_files",
    "perceptron",
    "perceptron_digits",
    "random_least_squares",
    "rows_are_exact",
    "softmax",
    "softmax_digits",
]
