"""
Save, resume, deploy
====================

A run that was interrupted goes on bit by bit; a trained network becomes one file, and runs elsewhere.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import spikertrl as srl
import spikertrl.plot

folder = Path(tempfile.mkdtemp())


def train(steps, **settings):
    """From the same start, so many steps."""
    net = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 16, theta=0.1).connect("x", "h")
    net = net.connect("h", "h").add_readout("z", "h", 2).initialize(seed=0)
    optimizer = srl.optimizers.adam(1e-2)
    history = srl.fit(net, srl.tasks.spiral(0), srl.RTRL(), optimizer, steps=steps, batch=32, progress=False, **settings)
    return net, history


# %%
# Forty steps, interrupted; the same call with eighty goes on from the file and ends where an uninterrupted run ends.
train(40, checkpoint=folder / "run.npz")
resumed, history = train(80, checkpoint=folder / "run.npz")
whole, _ = train(80)
print("the same to the last bit:", bool(np.array_equal(resumed.theta, whole.theta)))

# %%
# One file with structure, equations and parameters; nothing in it is executed when it is read.
file = resumed.save(folder / "spiral.npz")
again = srl.load(file)
x, labels = srl.tasks.spiral(0).test
same = bool(np.array_equal(srl.simulate(again, x).z, srl.simulate(resumed, x).z))
print(file.name, f"{file.stat().st_size / 1024:.0f} KiB, same answers: {same}")

# %%
# Deployed, it learns on: one sample at a time, and can be saved again with all it carries.
online = srl.Online(again, srl.SnAp(1), srl.optimizers.sgd(1e-3), loss=srl.losses.cross_entropy)
for x_t in x[:, 0]:
    z = online.predict_one(x_t)
online.learn_one(labels[0])
print(srl.load(online.save(folder / "online.npz")).steps, "steps behind it")

# %%
fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
srl.plot.learning_curve(history, ax)
ax.axvline(40, color="grey", linewidth=0.8)
