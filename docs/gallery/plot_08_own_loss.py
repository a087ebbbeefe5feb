"""
A loss of one's own
===================

A loss sees some steps of the readouts and the messages, and says its share of the value and its slopes.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np

import spikertrl as srl
import spikertrl.plot


@dataclass(frozen=True)
class Huber(srl.losses.Loss):
    """Squared near the target, linear beyond ``width``: outliers pull with one strength."""

    targets: np.ndarray
    width: float = 0.2

    def signal(self, readouts, messages, start, total):
        """Share of steps start .. start + len(z) - 1 of ``total``."""
        z = readouts["z"]
        gap = z - self.targets[start : start + len(z)]
        near, count = np.abs(gap) <= self.width, total * z.shape[1]
        value = np.where(near, 0.5 * gap**2, self.width * (np.abs(gap) - 0.5 * self.width)).sum() / count
        return srl.losses.Signal(float(value), {"z": np.clip(gap, -self.width, self.width) / count})


# %%
# A target with outliers. The loss above and the squared error, on the same network from the same start.
rng = np.random.default_rng(0)
x = np.sin(np.arange(60) / 5)[:, None, None] * np.ones((1, 8, 1)) + 0.1 * rng.normal(size=(60, 8, 1))
clean = np.cos(np.arange(60) / 5)[:, None, None] * np.ones((1, 8, 1))
targets = clean + np.where(rng.random(clean.shape) < 0.1, 4.0, 0.0)
found = {}
for name, loss in (("Huber", Huber), ("squared error", srl.losses.squared_error)):
    net = srl.Network().add_input("x", 1).add_population("h", srl.models.rnn, 16).connect("x", "h").connect("h", "h")
    net = net.add_readout("z", "h", 1).initialize(seed=0)
    task = srl.tasks.arrays(x, targets, loss=loss)
    srl.fit(net, task, srl.RTRL(), srl.optimizers.adam(1e-2), steps=200, batch=8, progress=False)
    found[name] = srl.simulate(net, x).z[:, 0, 0]

# %%
fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
ax.plot(targets[:, 0, 0], ".", color="grey", label="targets")
ax.plot(clean[:, 0, 0], "k--", label="without outliers")
for name, z in found.items():
    ax.plot(z, label=f"{name}: mean error {np.abs(z - clean[:, 0, 0]).mean():.2f}")
ax.set(xlabel="step", ylabel="readout")
ax.legend(frameon=False, fontsize=8)
