"""Simulation, step by step and event by event, and what a run records."""

from ..compile import cache as _cache  # noqa: F401 - first, because it decides where compiled code is kept

# isort: split
from .divergence import SimulationDiverged
from .recording import Events, Record, Run
from .run import simulate
from .state import SimState

__all__ = [
    "Events",
    "Record",
    "Run",
    "SimState",
    "SimulationDiverged",
    "simulate",
]
