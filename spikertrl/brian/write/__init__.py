"""To Brian2: a network as NeuronGroups, Synapses and monitors."""

from .to_brian import BrianNetwork, to_brian

__all__ = [
    "BrianNetwork",
    "to_brian",
]
