"""
Sequences of unequal length
===========================

A list of arrays, one a sample, of any lengths. What lies behind a sample's end does not count.
"""

import matplotlib.pyplot as plt
import numpy as np

import spikertrl as srl
import spikertrl.plot

rng = np.random.default_rng(0)
samples, labels = [], []
for _ in range(240):
    length, kind = int(rng.integers(8, 25)), int(rng.integers(0, 2))
    steps = rng.choice([-1.0, 1.0], size=length, p=[0.35, 0.65] if kind else [0.65, 0.35])
    samples.append(steps[:, None])
    labels.append(kind)  # were there more ups than downs?

task = srl.tasks.arrays(samples, np.array(labels), valid=0.25)
print(task.x.shape, "padded;", "labels that count in the first sample:", int((task.labels[:, 0] >= 0).sum()))

# %%
# A label a sample counts at its last step; a list of label arrays would count step by step, a label of -1 not at all.
net = srl.Network().add_input("x", 1).add_population("h", srl.models.egru, 16).connect("x", "h").connect("h", "h")
net = net.add_readout("z", "h", 2).initialize(seed=0)
history = srl.fit(net, task, srl.RTRL(), srl.optimizers.adam(1e-2), steps=150, batch=32, validate_every=15, progress=False)
print(srl.evaluate(net, task, *task.valid))

# %%
fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
srl.plot.learning_curve(history, ax, "valid_accuracy", references={"chance": 0.5})
