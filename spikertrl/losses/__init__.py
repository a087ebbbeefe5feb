"""Losses: what a readout or a population is asked to do, as error signals for any part of a sequence."""

from .base import Loss, Signal
from .readout import accuracy, activity, bits_per_symbol, cross_entropy, softmax, squared_error

__all__ = [
    "Loss",
    "Signal",
    "accuracy",
    "activity",
    "bits_per_symbol",
    "cross_entropy",
    "softmax",
    "squared_error",
]
