"""
Learners side by side
=====================

Gradients of several learners on one trajectory, what they cost, and where they lead.
"""

import matplotlib.pyplot as plt

import spikertrl as srl
import spikertrl.plot


def network():
    """The same network from the same start."""
    net = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 16, theta=0.1).connect("x", "h")
    return net.connect("h", "h", density=0.5, seed=1).add_readout("z", "h", 2).initialize(seed=0)


learners = {"exact RTRL": srl.RTRL(), "SnAp-1": srl.SnAp(1), "KF-RTRL": srl.KFRTRL(), "UORO": srl.UORO()}
task = srl.tasks.spiral(seed=0)
x, labels = task.batch(64)
table = srl.compare(network(), list(learners.values()), x, srl.losses.cross_entropy(labels, at="last"))
print(table)

# %%
# Cosines to the exact gradient, by group of parameters.
fig, ax = plt.subplots(figsize=(8, 3.4), layout="constrained")
srl.plot.alignment(table, ax)

# %%
# Training with each of them, three seeds, band from the worst to the best.
histories = {name: [] for name in learners}
for name, learner in learners.items():
    for seed in range(3):
        histories[name].append(
            srl.fit(network().initialize(seed), srl.tasks.spiral(seed), learner, srl.optimizers.adam(1e-2), steps=100, batch=32,
                    progress=False)
        )  # fmt: skip
fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
srl.plot.learning_curve(histories, ax, smooth=9)
