"""Networks: inputs, populations, projections and readouts; the parameters and the index arrays of a network."""

from .elements import Input, NetworkError, Population, Projection, Readout
from .network import Network
from .wiring import Wiring

__all__ = [
    "Input",
    "Network",
    "NetworkError",
    "Population",
    "Projection",
    "Readout",
    "Wiring",
]
