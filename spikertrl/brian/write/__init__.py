"""To Brian2: a network as NeuronGroups, Synapses and monitors."""

from .network import BrianNetwork
from .to_brian import to_brian

__all__ = [
    "BrianNetwork",
    "to_brian",
]
