from . import constants, data, image_files
from .base import DrawnAhead, Problem, TimingOnly, drawn_ahead, loss_at, metrics_at, rows_are_exact
from .classifier import (
    Classifier,
    DigitsClassifier,
    perceptron,
    perceptron_digits,
    softmax,
    softmax_digits,
)
from .data import Data, digits
from .least_squares import LeastSquares, random_least_squares
from .quadratic import NoisyQuadratic, ShiftedQuadratic

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
    "loss_at",
    "metrics_at",
    "perceptron",
    "perceptron_digits",
    "random_least_squares",
    "rows_are_exact",
    "softmax",
    "softmax_digits",
]
