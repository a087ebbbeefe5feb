"""Delays that differ from synapse to synapse solve a coincidence task: which ear heard first, and by how much?

A Brian2 network after Jeffress (1948): sixteen fibres, eight from each ear, excite sixteen relay neurons; these reach forty
detectors with a short memory (2 ms) through delays of 0 to 20 ms. Three pairs of volleys arrive per sequence, one ear 12, 6 or
0 ms before or after the other, each fibre with a jitter of its own. A readout that hardly forgets counts the detectors' spikes
and names the difference, one of five. All weights are trained by exact RTRL, those of the relays through spikes in flight.
What delays are held against is the same network with one delay, 10 ms, for all synapses; chance is 20%.

Claim: with heterogeneous delays the network names the difference (above 95% of held-out sequences), with equal delays it does
not come near. `Immediate`, which knows no past and nothing in flight, is the baseline.

    spikertrl run brian_delays
    spikertrl run brian_delays --seeds 1
    spikertrl run brian_delays --quick
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import _common as common
import numpy as np

import spikertrl as srl

FIBRES, STEPS, LAGS, PAIRS, JITTER = 8, 100, (-12, -6, 0, 6, 12), (2, 32, 62), 1
CASES = {
    "heterogeneous": ("rand()*20*ms", srl.RTRL()),
    "equal": ("10*ms", srl.RTRL()),
    "heterogeneous, no past": ("rand()*20*ms", srl.Immediate()),
}


def script(delays: str, seed: int) -> tuple[Any, list[Any]]:
    """The network in Brian2, and what is to be trained."""
    import brian2 as b2

    b2.BrianLogger.suppress_name("unused_brian_object")  # imported, not run
    b2.prefs.codegen.target = "numpy"
    b2.defaultclock.dt = 1 * b2.ms
    b2.seed(seed)
    fibres = b2.SpikeGeneratorGroup(2 * FIBRES, [], [] * b2.ms, name="fibres")
    relays = b2.NeuronGroup(16, "dv/dt = -v/(3*ms) : 1 (unless refractory)", threshold="v > 1", reset="v = 0",
                            refractory="2*ms", method="exact", name="relays")  # fmt: skip
    detectors = b2.NeuronGroup(40, "dv/dt = -v/(2*ms) : 1", threshold="v > 1", reset="v = 0", method="exact", name="detectors")
    ears = b2.Synapses(fibres, relays, "w : 1", on_pre="v_post += w", name="ears")
    ears.connect(condition="i // 8 == j // 8")
    ears.w = "0.3 + 0.2*rand()"
    lines = b2.Synapses(relays, detectors, "w : 1", on_pre="v_post += w", name="lines")
    lines.connect(p=0.5)
    lines.w = "0.25 + 0.25*randn()"
    lines.delay = delays
    return b2.Network(fibres, relays, detectors, ears, lines), [ears.w, lines.w]


class Lag(srl.tasks.Sequence):
    """Volleys of both ears with a lag between them; the label is the lag's index."""

    name, n_in, n_out = "lag", 2 * FIBRES, len(LAGS)

    def __init__(self, seed: int) -> None:
        self.seed, self.rng = seed, np.random.default_rng([seed, 0])

    def batch(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Fresh sequences."""
        return self.draw(self.rng, n)

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """x (steps, n, fibres) of zeros and ones, labels (n,)."""
        labels, x = rng.integers(0, len(LAGS), n), np.zeros((STEPS, n, 2 * FIBRES))
        lags = np.array(LAGS)[labels]
        for first in PAIRS:
            start = first + rng.integers(0, 4, n)
            for ear in (0, 1):
                times = start + np.where(ear, np.maximum(lags, 0), np.maximum(-lags, 0))
                jitter = rng.integers(-JITTER, JITTER + 1, (FIBRES, n))
                x[times + jitter, np.arange(n), ear * FIBRES + np.arange(FIBRES)[:, None]] = 1
        return x, labels

    @property
    def valid(self) -> tuple[np.ndarray, np.ndarray]:
        return self.draw(np.random.default_rng([self.seed, 1]), 500)

    @property
    def test(self) -> tuple[np.ndarray, np.ndarray]:
        return self.draw(np.random.default_rng([self.seed, 2]), 1000)

    def loss(self, labels: np.ndarray) -> srl.losses.Loss:
        return srl.losses.cross_entropy(labels, at="last")

    def score(self, z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        return {"accuracy": srl.losses.accuracy(z, labels, at="last")}


def train(case: str, steps: int, seed: int) -> dict[str, Any]:
    """One network, trained; accuracy on held-out sequences."""
    delays, learner = CASES[case]
    network, weights = script(delays, seed)
    net = srl.from_brian(network, trainable=weights, surrogate=srl.surrogates.triangle(0.5, 1.0))
    net.add_readout("lag", "detectors", len(LAGS), decay=0.999).initialize(seed)
    task = Lag(seed)
    rate = srl.schedules.warmup_cosine(0.02, 1, steps, floor=1e-4)
    history = srl.fit(net, task, learner, srl.optimizers.adam(rate), steps=steps, batch=32)
    found = srl.evaluate(net, task, *task.test)
    late = {p.name: int(np.ptp(p.delay)) for p in net.projections}
    return {"accuracy": found["accuracy"], "loss": history["loss"], "seconds": history.last("seconds"),
            "activity": history.last("activity"), "spread": late}  # fmt: skip


def figure(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Loss against training steps, one line a case (mean of the seeds)."""
    ax = common.axes()
    for name, runs in results.items():
        curve = np.mean([run["loss"] for run in runs], axis=0)
        smooth = np.convolve(curve, np.ones(min(20, len(curve))) / min(20, len(curve)), "valid")
        ax.plot(smooth, label=f"{name}: {np.mean([run['accuracy'] for run in runs]):.1%}")
    ax.axhline(np.log(len(LAGS)), color="#666666", linewidth=0.8, linestyle=":")
    ax.set(xlabel="training step", ylabel="cross-entropy (mean of 20 steps)", ylim=(0, None))
    ax.legend(frameon=False, title="held-out accuracy")
    ax.figure.savefig(path, dpi=150)


def main(argv: list[str] | None = None) -> int:
    """Train every case, print the table, write results and the figure."""
    args = common.parser("brian_delays", __doc__, 150, 2).parse_args(argv)
    steps = 3 if args.quick else args.steps
    results: dict[str, list[dict[str, Any]]] = {}
    rows: list[tuple] = [("delays", "seed", "accuracy", "last loss", "activity", "s")]
    for case in CASES:
        for seed in range(args.seeds):
            path = args.out / f"{case.replace(', ', '_').replace(' ', '_')}_{seed}_{steps}.json"
            result = common.load(path, args.again) or common.store(path, train(case, steps, seed))
            results.setdefault(case, []).append(result)
            last = float(np.mean(result["loss"][-20:]))
            rows.append((case, seed, result["accuracy"], last, result["activity"], result["seconds"]))
    figure(results, args.out / "learning_curves.png")
    print(common.table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
