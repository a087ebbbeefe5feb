"""
Event streams from a file
=========================

Events (time, unit) of many recordings, as neuromorphic sensors and data sets store them, become a task directly.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import spikertrl as srl
import spikertrl.plot

rng, file = np.random.default_rng(0), Path(tempfile.mkdtemp()) / "recordings.npz"
recordings = {}
for n in range(160):  # a dot that moves up or down over twelve pixels, and noise
    time = np.sort(rng.uniform(0, 60.0, 40))
    pixel = np.clip(np.round(time / 5 if n % 2 else 11 - time / 5) + rng.integers(-1, 2, 40), 0, 11)
    recordings[f"sample{n}"] = np.stack([time, pixel], 1)
np.savez(file, **recordings)

# %%
# Any reader will do that gives one list of (time, unit) or (time, unit, value) a sample: ``srl.tasks.read_dvs`` for files of
# cameras, ``read_shd``, ``read_tonic``, or numpy. Times are binned to steps of 2 ms.
with np.load(file) as stored:
    events = [stored[f"sample{n}"] for n in range(160)]
task = srl.tasks.arrays(events, np.arange(160) % 2, channels=12, step=2.0, valid=0.25)
print(task.x.shape, "steps, samples, channels")

# %%
net = srl.Network().add_input("pixels", 12, kind="event").add_population("h", srl.models.cuba_lif, 20)
net = net.connect("pixels", "h").connect("h", "h").add_readout("z", "h", 2, decay=0.9).initialize(seed=0)
history = srl.fit(net, task, srl.EProp(), srl.optimizers.adam(1e-2), steps=80, batch=40, validate_every=10, progress=False)
print(srl.evaluate(net, task, *task.valid))

# %%
x, labels = task.valid
run = srl.simulate(net, x)
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for ax, lane in ((left, int(np.argmin(labels.max(0)))), (right, int(np.argmax(labels.max(0))))):
    srl.plot.raster(run, lane, ax, inputs=x)
