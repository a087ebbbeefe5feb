"""Figures: every function draws on Axes and returns them."""

from .confusion import confusion
from .curves import learning_curve, loss_against_macs, save, sparsity, surrogate
from .learners import alignment, influence, savings
from .network import connectivity, weight_change, weights
from .raster import raster
from .sweeps import sweep
from .traces import traces

__all__ = [
    "alignment",
    "confusion",
    "connectivity",
    "influence",
    "learning_curve",
    "loss_against_macs",
    "raster",
    "save",
    "savings",
    "sparsity",
    "surrogate",
    "sweep",
    "traces",
    "weight_change",
    "weights",
]
