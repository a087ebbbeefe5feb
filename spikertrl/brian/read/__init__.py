"""From Brian2: a user's NeuronGroups and Synapses as a trainable network. Imports Brian2."""

from ...compile import quiet_brian  # noqa: F401
