"""
Delays
======

Delays belong to connections, one for all synapses or one each. Sensitivities travel as long as the spikes do.
"""

import matplotlib.pyplot as plt
import numpy as np

import spikertrl as srl
import spikertrl.plot


def network(delay):
    """Units that hear one another after a delay."""
    net = srl.Network("float64").add_input("x", 1).add_population("h", srl.models.egru, 12, theta=0.1).connect("x", "h")
    return net.connect("h", "h", delay=delay).add_readout("z", "h", 1).initialize(seed=0)


# %%
# The input of twelve steps ago is asked for. Equal delays of one step, and delays from 1 to 12.
rng = np.random.default_rng(0)
x = rng.choice([-1.0, 1.0], (60, 64, 1))
targets = np.concatenate([np.zeros((12, 64, 1)), x[:-12]])
histories = {}
for name, delay in (("1 step", 1), ("1 to 12 steps", rng.integers(1, 13, (12, 12)))):
    net = network(delay)
    task = srl.tasks.arrays(x, targets)
    histories[name] = srl.fit(net, task, srl.RTRL(), srl.optimizers.adam(1e-2), steps=150, batch=32, progress=False)

# %%
# The gradient is exact whatever the delays, as backpropagation through time shows.
loss = srl.losses.squared_error(targets[:, :2])
exact, reference = (srl.gradient(net, learner, x[:, :2], loss)[1] for learner in (srl.RTRL(), srl.BPTT()))
print(f"largest difference to BPTT: {np.abs(exact - reference).max():.1e}")

# %%
fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
srl.plot.learning_curve(histories, ax, references={"knowing nothing": 0.4})
