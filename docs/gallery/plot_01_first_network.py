"""
A first network
===============

Sixteen leaky integrate-and-fire neurons hear twenty spike trains and one another.
"""

import matplotlib.pyplot as plt
import numpy as np

import spikertrl as srl
import spikertrl.plot

net = srl.Network(dt="0.5*ms").add_input("x", 20, kind="event")
net = net.add_population("h", srl.models.lif, 16, tau="15*ms")
net = net.connect("x", "h", weight=0.01, density=0.5, seed=1)  # volts: a spike moves the membrane by 10 mV
net = net.connect("h", "h", density=0.2, delay="2*ms", seed=2).add_readout("rate", "h", 1, decay=0.95)
net = net.initialize(seed=0)
print(net.summary())

# %%
# Input and recordings are arrays (time, lane, unit). A run keeps states, messages and events.
spikes = np.random.default_rng(0).random((300, 1, 20)) < 0.03
run = srl.simulate(net, spikes)
print(run.z.shape, run.states["h"]["v"].shape, f"{len(run.events)} events")

# %%
# Spikes of the input and of the neurons,
fig, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
srl.plot.raster(run, inputs=spikes, ax=ax)

# %%
# the membrane voltages of three neurons with their threshold,
fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
srl.plot.traces(run, units=[0, 4, 9], ax=ax)

# %%
# and what is connected to what.
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
srl.plot.connectivity(net, ax=ax)
