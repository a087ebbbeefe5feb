"""The network that an estimator makes for itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..network.network import Network

Build = Callable[[int, int], Network]


def recurrent(model: Any, units: int, dtype: str = "float32") -> Build:
    """(channels, outputs) -> a network x -> h, h -> h, h -> z of so many units.

    >>> recurrent("egru", 4)(3, 2)
    Network(float32, dt=0.001 s): input x (3); population h (4 egru); h<-x 3 ports dense; h<-h 3 ports dense, delay 1; ...
    """

    def make(channels: int, outputs: int) -> Network:
        net = Network(dtype).add_input("x", channels).add_population("h", model, units)
        return net.connect("x", "h").connect("h", "h").add_readout("z", "h", outputs)

    return make
