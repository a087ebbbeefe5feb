"""
A learner of one's own
======================

A learner has two methods and sees a tape: messages, and the derivatives of every step. Here is a rule that remembers nothing,
written in a few lines for units of one state, beside the exact gradient and the shipped local rules.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np

import spikertrl as srl
import spikertrl.plot
from spikertrl.learners.readout import add_readout_gradient, readout_weights


@dataclass(frozen=True)
class Hebb:
    """What a weight does in its own step alone: error of the unit times slope of the unit times message of the source."""

    claim = "approximate"

    def init(self, net, batch):
        """Nothing is carried forward, but for the layout of the network."""
        return {"wiring": net.wiring}

    def update(self, state, tape, signal):
        """The gradient of a tape, flat like theta."""
        w = state["wiring"]
        gradient = np.zeros(w.n_parameters, tape.theta.dtype)
        error = signal.dz @ readout_weights(w, tape.theta)  # (steps, lanes, units)
        slope = tape.o.reshape(error.shape) * tape.B.reshape(error.shape)  # dy/ds ds/dI
        for link in w.links:
            first = tape.history - int(np.max(link.delay))
            sent = tape.messages[first : first + tape.tau, :, link.source : link.source + link.shape[1]]
            gradient[link.theta] = np.einsum("tbi,tbj->ij", error * slope, sent).reshape(-1)
        add_readout_gradient(w, tape, signal, gradient)
        return gradient


# %%
net = srl.Network().add_input("x", 2).add_population("h", srl.models.rnn, 16).connect("x", "h").connect("h", "h")
net = net.add_readout("z", "h", 1).initialize(seed=0)
x = np.random.default_rng(0).normal(size=(20, 4, 2))
loss = srl.losses.squared_error(np.cumsum(x, 0)[:, :, :1] / 4)
table = srl.compare(net, [srl.RTRL(), srl.SnAp(1), srl.RFLO(), Hebb()], x, loss)
print(table)

# %%
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
srl.plot.alignment(table, ax)
