"""
Dale's law, and other constraints
=================================

Weights that keep their sign, or stay in a range, after every update.
"""

import matplotlib.pyplot as plt
import numpy as np

import spikertrl as srl
import spikertrl.plot

signs = np.where(np.arange(24) < 18, 1, -1)  # eighteen units excite, six inhibit
net = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 24, theta=0.1).connect("x", "h")
net = net.connect("h", "h", density=0.4, seed=1).add_readout("z", "h", 2).initialize(seed=0)

# %%
# Weights of the wrong sign become zero: at the beginning, and whenever an update would make one.
rules = {"h<-h": srl.constraints.dale(signs), "z": {"weight": srl.constraints.between(-1.0, 1.0)}}
task = srl.tasks.spiral(seed=0)
history = srl.fit(net, task, srl.RTRL(), srl.optimizers.adam(1e-2), steps=150, batch=32, constraints=rules, progress=False)
weights = net.view(net.theta)["h<-h"]["h"].toarray()
print("excitatory columns:", weights[:, :18].min() >= 0, " inhibitory columns:", weights[:, 18:].max() <= 0)
print(srl.evaluate(net, task, *task.test))

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
srl.plot.weights(net, "h<-h", "h", ax=left)
srl.plot.learning_curve(history, right)
