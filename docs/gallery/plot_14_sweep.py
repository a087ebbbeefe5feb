"""
Many runs
=========

Every combination of a grid, in processes of their own or on a cluster; what is done is not done again.
"""

import matplotlib.pyplot as plt
import numpy as np

import spikertrl as srl
import spikertrl.plot


def run(density, seed):
    """One run: what it returns becomes a row."""
    net = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 16, theta=0.1).connect("x", "h")
    net = net.connect("h", "h", density=density, seed=seed).add_readout("z", "h", 2).initialize(seed)
    task = srl.tasks.spiral(seed)
    history = srl.fit(net, task, srl.RTRL(), srl.optimizers.adam(1e-2), steps=100, batch=32, progress=False)
    return {"accuracy": srl.evaluate(net, task, *task.test)["accuracy"], "macs": float(history["macs"][-1])}


# %%
# ``executor="joblib"`` takes the cores of a machine, ``"dask"`` those of a cluster; ``out="folder"`` keeps what is done.
found = srl.sweep(run, {"density": [0.1, 0.3, 1.0], "seed": [0, 1, 2]}, executor="serial", progress=False)
for row in found.rows[:3]:
    print(row)

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for ax, column in ((left, "accuracy"), (right, "macs")):
    for density in (0.1, 0.3, 1.0):
        values = [row[column] for row in found.rows if row["density"] == density]
        ax.plot([density] * 3, values, "o", color="C0", alpha=0.6)
        ax.plot(density, np.mean(values), "_", color="black", markersize=16)
    ax.set(xlabel="density of the recurrent weights", ylabel={"macs": "multiply-adds done"}.get(column, column), xscale="log")
