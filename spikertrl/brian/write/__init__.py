"""To Brian2: a network as NeuronGroups, Synapses and monitors."""
