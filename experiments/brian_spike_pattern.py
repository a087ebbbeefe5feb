"""A recurrent Brian2 script learns a spike pattern, online and exactly, after three lines are added to it.

The script is `_brian_recurrent.py`: 60 adaptive, refractory neurons, 80 Poisson inputs, excitation and inhibition through
delays of 1 to 20 ms. Twelve of its neurons are asked for a random pattern of about 15 spikes a second while the input
repeats; all weights are trained, every 20 ms, by exact RTRL. The loss is van Rossum's distance (2001): spikes are filtered
with 10 ms, the squared differences summed over neurons and averaged over time.

Claim: the loss falls at least fivefold (first repetition to last), and the script itself, with the trained weights written
back and its random numbers seeded as before, spikes in Brian2 as it does here. `Immediate`, which knows no past, is the
baseline.

    spikertrl run brian_spike_pattern
    spikertrl run brian_spike_pattern --learners rtrl immediate
    spikertrl run brian_spike_pattern --quick
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

import spikertrl as srl

OUT, STEPS, DECAY, TAU, INPUT_SEED = 12, 300, float(np.exp(-1 / 10)), 20, 7
LEARNERS = {"rtrl": srl.RTRL(), "immediate": srl.Immediate(), "snap1": srl.SnAp(1), "eprop": srl.EProp()}


def pattern(seed: int) -> np.ndarray:
    """The spikes asked for (steps, 1, neurons): intervals of 25 to 90 ms, the first ones after 30 ms."""
    rng = np.random.default_rng(seed)
    spikes = np.zeros((STEPS, 1, OUT))
    for unit in range(OUT):
        times = 30 + np.cumsum(rng.integers(25, 90, STEPS // 25))
        spikes[times[times < STEPS], 0, unit] = 1.0
    return spikes


def filtered(spikes: np.ndarray) -> np.ndarray:
    """Spikes through the readout's own filter: z(t) = decay z(t-1) + y(t)."""
    found = np.zeros_like(spikes)
    for t in range(len(spikes)):
        found[t] = spikes[t] + (DECAY * found[t - 1] if t else 0.0)
    return found


def train(name: str, sequences: int, seed: int) -> dict[str, Any]:
    """Import the script, train it on one repeated input, write the weights back and let Brian2 run it."""
    sys.modules.pop("_brian_recurrent", None)
    script = importlib.import_module("_brian_recurrent")
    script.network.store()
    weights = [script.feed.w, script.excite.w, script.inhibit.w]
    net = srl.from_brian(script.network, trainable=weights, namespace=vars(script))
    net.add_readout("trace", "neurons", OUT, decay=DECAY, weight=np.eye(OUT, 60), trainable=False)
    x = net.brian_inputs(STEPS, replace={"source": run_brian(script)})
    target = pattern(seed)
    task = srl.tasks.arrays(x, filtered(target))
    rate = srl.schedules.warmup_cosine(0.02, 1, sequences * STEPS // TAU, floor=0.001)
    optimizer = srl.optimizers.scale_groups(srl.optimizers.adam(rate), net.magnitudes())
    before = srl.simulate(net, x).messages["neurons"][:, 0]
    history = srl.fit(net, task, LEARNERS[name], optimizer, steps=sequences, batch=1, tau=TAU)
    after = srl.simulate(net, x).messages["neurons"][:, 0]

    script.network.restore()
    net.to_brian_weights()
    run_brian(script)
    there = np.zeros_like(after)
    there[np.rint(np.asarray(script.spikes.t) / net.dt).astype(int), np.asarray(script.spikes.i)] = 1
    return {
        "loss": history["loss"],
        "seconds": history.last("seconds"),
        "distance": [distance(before, target), distance(after, target)],
        "hits": [hits(before, target), hits(after, target)],
        "spikes_brian": int(there.sum()),
        "spikes_different": int((there != after).sum()),
        "target": np.argwhere(target[:, 0]),
        "before": np.argwhere(before[:, :OUT]),
        "after": np.argwhere(after[:, :OUT]),
    }


def run_brian(script: Any) -> Any:
    """Run the script in Brian2 from its present state; returns the monitor of its input."""
    from brian2 import ms, seed

    seed(INPUT_SEED)
    script.network.run(STEPS * ms, namespace=vars(script))
    return script.heard


def distance(spikes: np.ndarray, target: np.ndarray) -> float:
    """The loss of spikes (steps, neurons)."""
    return float(0.5 * ((filtered(spikes[:, None, :OUT]) - filtered(target)) ** 2).sum(-1).mean())


def hits(spikes: np.ndarray, target: np.ndarray, slack: int = 2) -> list[float]:
    """Share of the target's spikes with one of ours within 2 ms, and of ours with one of the target's."""
    ours, wanted = spikes[:, :OUT] > 0, target[:, 0] > 0
    shifts = range(-slack, slack + 1)
    near_ours = np.maximum.reduce([np.roll(ours, k, axis=0) for k in shifts])
    near_wanted = np.maximum.reduce([np.roll(wanted, k, axis=0) for k in shifts])
    return [float(near_ours[wanted].mean()), float(near_wanted[ours].mean()) if ours.any() else 0.0]


def figures(results: dict[str, dict[str, Any]], out: Path) -> None:
    """Rasters before and after, and learning curves."""
    for when in ("before", "after"):
        ax = common.axes(6.4, 3.2)
        first = next(iter(results.values()))
        for name, marker, size in (("target", "|", 140), (when, ".", 40)):
            points = np.array(first[name]).reshape(-1, 2)
            label = "target" if name == "target" else f"{when} training"
            ax.scatter(points[:, 0], points[:, 1], s=size, marker=marker, label=label)
        ax.set(xlabel="time (ms)", ylabel="neuron", xlim=(0, STEPS))
        ax.legend(loc="upper left", frameon=False, fontsize=8, ncol=2, bbox_to_anchor=(0, 1.12))
        ax.figure.savefig(out / f"raster_{when}.png", dpi=150)
    ax = common.axes()
    for name, result in results.items():
        ax.plot(result["loss"], label=name)
    ax.set(xlabel="repetition of the input", ylabel="loss (van Rossum distance)", yscale="log")
    ax.legend(frameon=False)
    ax.figure.savefig(out / "learning_curve.png", dpi=150)


def main(argv: list[str] | None = None) -> int:
    """Train with the learners asked for, print the table, write results and figures."""
    options = common.parser("brian_spike_pattern", __doc__, 200, 1)
    options.add_argument("--learners", nargs="+", choices=LEARNERS, default=["rtrl"])
    args = options.parse_args(argv)
    sequences = 3 if args.quick else args.steps
    results: dict[str, dict[str, Any]] = {}
    head = ("learner", "seed", "first", "last", "fall", "distance", "hits before", "hits after", "s", "differs in Brian2")
    rows: list[tuple] = [head]
    for name in args.learners:
        for seed in range(args.seeds):
            path = args.out / f"{name}_{seed}_{sequences}.json"
            result = common.load(path, args.again) or common.store(path, train(name, sequences, seed))
            results.setdefault(name, result)
            first, last = result["loss"][0], result["loss"][-1]
            (found, _), (at_end, _) = result["hits"]
            there = f"{result['spikes_different']} of {result['spikes_brian']}"
            row = (name, seed, first, last, first / last, result["distance"][1], found, at_end, result["seconds"], there)
            rows.append(row)
    figures(results, args.out)
    print(common.table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
