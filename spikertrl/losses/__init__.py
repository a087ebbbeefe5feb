"""Losses: what a readout (or a population) is asked to do, as error signals for any stretch of a sequence.

A loss is a frozen object that knows the labels of a whole sequence. ``loss.signal(readouts, messages, start, total)`` looks at
steps ``start .. start + tau - 1`` of ``total`` and returns this stretch's share of the value, dL/dz for every readout it uses
and dL/dy for every population it penalizes. The shares of the stretches add up to the whole, so a learner may cut time as it
likes. Losses add with ``+`` and scale with ``*``. Arrays are (T, B, n): step, batch lane, unit.

``at`` says which steps count: "each", "last", or a boolean mask (T,) or (T, B). The value is the mean over all counted
(step, lane) entries, each with the same weight; labels at steps that do not count are never looked at.
"""

from .activity import activity
from .base import Loss, Signal
from .metrics import accuracy, bits_per_symbol, softmax
from .readout import cross_entropy, squared_error

__all__ = ["Loss", "Signal", "accuracy", "activity", "bits_per_symbol", "cross_entropy", "softmax", "squared_error"]
