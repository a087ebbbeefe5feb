"""Figures: every function draws on Axes and returns them."""

from .curves import learning_curve, loss_against_macs, save, sparsity, surrogate
from .learners import alignment, influence, savings
from .raster import raster

__all__ = [
    "alignment",
    "influence",
    "learning_curve",
    "loss_against_macs",
    "raster",
    "save",
    "savings",
    "sparsity",
    "surrogate",
]
