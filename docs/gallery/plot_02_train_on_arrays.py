"""
Train on arrays of one's own
============================

Sequences and labels as arrays, a part held out, exact real-time recurrent learning.
"""

import matplotlib.pyplot as plt
import numpy as np

import spikertrl as srl
import spikertrl.plot

rng = np.random.default_rng(0)
labels = rng.integers(0, 3, 300)
time = np.arange(20)[:, None, None]
x = np.sin(time * (0.3 + 0.25 * labels)[None, :, None] + rng.uniform(0, 6, (1, 300, 1)))  # three frequencies, any phase
x = x + 0.3 * rng.normal(size=x.shape)
task = srl.tasks.arrays(x, labels, valid=0.2, test=0.2)

# %%
# An event-based GRU. The loss is cross-entropy at the last step, because there is one label a sequence.
net = srl.Network().add_input("x", 1).add_population("h", srl.models.egru, 24).connect("x", "h")
net = net.connect("h", "h", density=0.3, seed=1).add_readout("z", "h", 3).initialize(seed=0)
before = net.theta.copy()
history = srl.fit(net, task, srl.RTRL(), srl.optimizers.adam(1e-2), steps=250, batch=32, validate_every=25, progress=False)
print(srl.evaluate(net, task, *task.test))

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
srl.plot.learning_curve(history, left)
srl.plot.learning_curve(history, right, "valid_accuracy", references={"chance": 1 / 3})

# %%
# How the weights between the units changed, and which class is taken for which.
x_test, y_test = task.test
answers = srl.simulate(net, x_test).z[-1].argmax(1)
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
srl.plot.weight_change(net, "h<-h", "h", before=before, ax=left)
srl.plot.confusion(y_test, answers, ["slow", "middle", "fast"], ax=right)
