"""
Learn from a stream that drifts
===============================

One sample, one step, no past: :class:`spikertrl.Online` learns at every step, and goes on when the world changes.
"""

import matplotlib.pyplot as plt
import numpy as np

import spikertrl as srl
import spikertrl.plot

steps = 6000
time = np.arange(steps + 1)
period = np.where(time < steps // 2, 14.0, 9.0)  # half-way the oscillation becomes faster
signal = np.sin(np.cumsum(2 * np.pi / period)) * np.sin(np.cumsum(2 * np.pi / 61.0 * np.ones(steps + 1)))

net = srl.Network().add_input("x", 1).add_population("h", srl.models.egru, 16, theta=0.1).connect("x", "h").connect("h", "h")
net = net.add_readout("z", "h", 1).initialize(seed=0)

# %%
# The next value is predicted, then seen, then learned from; beside it the same network with what it knew at the change.
online = srl.Online(net, srl.RTRL(), srl.optimizers.adam(3e-3), loss=srl.losses.squared_error)
errors, frozen = np.empty(steps), np.empty(steps - steps // 2)
for t in range(steps):
    if t == steps // 2:
        kept = net.theta.copy()
    errors[t] = (online.predict_one([signal[t]])[0] - signal[t + 1]) ** 2
    online.learn_one([signal[t + 1]])
net.theta = kept
answers = srl.simulate(net, signal[steps // 2 : steps, None]).z[:, 0, 0]
frozen[:] = (answers - signal[steps // 2 + 1 :]) ** 2

# %%
smooth = np.ones(100) / 100
fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
ax.semilogy(np.convolve(errors, smooth, "valid"), label="learns on")
ax.semilogy(np.arange(steps // 2 + 99, steps), np.convolve(frozen, smooth, "valid"), label="stopped learning at the change")
ax.axvline(steps // 2, color="grey", linewidth=0.8)
ax.set(xlabel="step", ylabel="squared error (mean of 100 steps)")
ax.legend(frameon=False)
print(f"after the change: {errors[-1000:].mean():.4f} learning on, {frozen[-1000:].mean():.4f} without")
