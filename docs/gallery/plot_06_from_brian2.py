"""
A Brian2 script that learns
===========================

A Brian2 network as it is, and three lines more.
"""

import brian2 as b2
import matplotlib.pyplot as plt
import numpy as np
from brian2 import Hz, ms, mV

import spikertrl as srl
import spikertrl.plot

b2.prefs.codegen.target = "numpy"
b2.defaultclock.dt = 1 * ms
b2.seed(1)
tau, tau_adapt, v_th = 20 * ms, 100 * ms, 15 * mV
equations = """dv/dt = (current - v)/tau : volt (unless refractory)
               dcurrent/dt = -current/(5*ms) : volt
               dadapt/dt = -adapt/tau_adapt : volt"""
rules = {"threshold": "v > v_th + adapt", "reset": "v = 0*mV; adapt += 2*mV", "refractory": 2 * ms, "method": "exact"}
neurons = b2.NeuronGroup(24, equations, name="neurons", **rules)
source = b2.PoissonGroup(40, rates=25 * Hz, name="source")
feed = b2.Synapses(source, neurons, "w : volt", on_pre="current += w", name="feed")
feed.connect(p=0.5)
feed.w, feed.delay = "(8 + 6*randn())*mV", "rand()*10*ms"
network = b2.Network(neurons, source, feed)

# %%
# The rate is to swing. Import, read out, train by exact RTRL with an update every 10 ms:
target = 2 + np.sin(np.arange(150) / 15)[:, None, None]
net = srl.from_brian(network, trainable=[feed.w]).add_readout("rate", "neurons", 1, decay=0.95)
task = srl.tasks.arrays(net.brian_inputs(150 * ms, seed=1), target)
before = srl.simulate(net, task.x)
adam = srl.optimizers.scale_groups(srl.optimizers.adam(0.01), net.magnitudes())
history = srl.fit(net, task, srl.RTRL(), adam, steps=60, batch=1, tau=10, progress=False)
after = srl.simulate(net, task.x)
print(f"loss {history['loss'][0]:.3f} -> {history['loss'][-1]:.3f}")

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
srl.plot.raster(after, ax=left)
right.plot(target[:, 0, 0], color="black", linestyle="--", label="wanted")
right.plot(before.z[:, 0, 0], color="grey", label="before")
right.plot(after.z[:, 0, 0], label="after")
right.set(xlabel="time (ms)", ylabel="readout")
right.legend(frameon=False)

# %%
# The weights go back to Brian2, synapse by synapse, and Brian2 runs on with them.
net.to_brian_weights()
network.run(150 * ms)
