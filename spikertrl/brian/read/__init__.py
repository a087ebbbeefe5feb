"""From Brian2: a user's NeuronGroups and Synapses as a trainable network. Imports Brian2."""
