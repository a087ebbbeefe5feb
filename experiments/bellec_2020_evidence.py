"""Accumulating evidence with adaptive spiking neurons: which side had more cues, asked after a second of silence.

Claim (Bellec et al. 2020, Nature Communications 11:3625, figure 3): 50 LIF and 50 adaptive LIF neurons learn by e-prop, with
random feedback too, to say on which side the majority of seven cues was; the adaptation of their thresholds bridges the delay.
Expected: error below 7% within some 500 iterations of 64 trials. Beside it SnAp-1 and exact sparse RTRL on the same trials.

Setting: 2,250 steps of 1 ms; 40 inputs in four groups of ten (left, right, recall, background at 10 Hz); seven cues of 100 ms,
one every 150 ms, at 40 Hz; recall in the last 150 ms, where the loss counts. Membranes 20 ms, adaptation 2 s, readout 20 ms,
threshold 0.6, Adam 0.005, firing rate regularized to 10 Hz. Unlike in the paper, units have no refractory period, and the
reset is part of the gradient.

    spikertrl run bellec_2020_evidence --methods eprop_random --steps 500
    spikertrl run bellec_2020_evidence --methods eprop_random eprop_symmetric snap1 rtrl --units 40
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import _common as common
import numpy as np

import spikertrl as srl
from spikertrl.models import load

METHODS: dict[str, tuple[str, Any]] = {
    "eprop_random": ("e-prop, random feedback", srl.EProp("random")),
    "eprop_symmetric": ("e-prop, symmetric feedback", srl.EProp("symmetric")),
    "snap1": ("SnAp-1", srl.SnAp(1)),
    "rtrl": ("exact sparse RTRL", srl.RTRL()),
    "immediate": ("Immediate", srl.Immediate()),
}
GROUP, RECALL, ENOUGH = 10, 150, 0.07  # inputs a group; steps of the recall cue; error that ends a run (twice)
PAPER = {"cues": 7, "cue": 100, "every": 150, "steps": 2250}


class Evidence(srl.tasks.Sequence):
    """Poisson inputs (T, B, 40) and labels (T, B), 1 for the right side; -1 before the recall."""

    name, n_in, n_out = "evidence", 4 * GROUP, 2

    def __init__(self, seed: int, cues: int, cue: int, every: int, steps: int) -> None:
        self.cues, self.cue, self.every, self.steps = cues, cue, every, steps
        self.rng, self.seed = np.random.default_rng([seed, 0]), seed

    def batch(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        return self._draw(self.rng, n)

    def _draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        likely = rng.integers(0, 2, n)  # the side of each cue with probability 0.7
        right = rng.random((self.cues, n)) < np.where(likely, 0.7, 0.3)
        rate = np.zeros((self.steps, n, 4))
        for k in range(self.cues):
            rate[k * self.every : k * self.every + self.cue, :, 0] = 0.04 * ~right[k]
            rate[k * self.every : k * self.every + self.cue, :, 1] = 0.04 * right[k]
        recall = min(RECALL, self.steps // 4)
        rate[-recall:, :, 2] = 0.04
        rate[:, :, 3] = 0.01
        x = (rng.random((self.steps, n, 4, GROUP)) < rate[..., None]).astype(np.float32).reshape(self.steps, n, -1)
        labels = np.full((self.steps, n), -1)
        labels[-recall:] = right.sum(0) > self.cues / 2
        return x, labels

    @property
    def valid(self) -> tuple[np.ndarray, np.ndarray]:
        return self._draw(np.random.default_rng([self.seed, 1]), 128)

    @property
    def test(self) -> tuple[np.ndarray, np.ndarray]:
        return self._draw(np.random.default_rng([self.seed, 2]), 256)

    def loss(self, labels: np.ndarray) -> srl.losses.Loss:
        return srl.losses.cross_entropy(labels, at=labels >= 0)

    def score(self, z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Error of the decision: the side with the larger mean output during recall."""
        recall = labels[:, 0] >= 0
        said = srl.losses.softmax(z[recall]).mean(0).argmax(1)
        return {"error": float((said != labels[-1]).mean())}


def network(units: int, seed: int) -> srl.Network:
    """Half LIF, half adaptive, all-to-all."""

    def normal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        return rng.normal(size=shape) / np.sqrt(shape[1])

    decay = np.exp(-1 / 20)
    adaptive = 1.7 * (1 - np.exp(-1 / 2000)) / (1 - decay)
    beta = np.where(np.arange(units) < units // 2, 0.0, adaptive)
    net = srl.Network().add_input("x", 4 * GROUP, kind="event")
    net.add_population("h", load("alif"), units, alpha=decay, rho=np.exp(-1 / 2000), beta=beta, v_th=0.6,
                       surrogate=srl.surrogates.triangle(0.3 / 0.6, 0.6))  # fmt: skip
    net.connect("x", "h", weight=normal).connect("h", "h", mask=~np.eye(units, dtype=bool), weight=normal)
    return net.add_readout("z", "h", 2, decay=float(decay), weight=normal).initialize(seed)


def run(args: Any, method: str, seed: int, path: Path) -> dict[str, Any]:
    """Training curve of one method; goes on from its checkpoint."""
    task = Evidence(seed, **({"cues": 3, "cue": 10, "every": 15, "steps": 80} if args.quick else PAPER))
    net, optimizer = network(args.units, seed), srl.optimizers.adam(5e-3)
    rate = srl.losses.activity("h", target=0.01, weight=1.0)

    def enough(history: Any) -> bool:
        if args.all_steps or "valid_error" not in history.rows[-1]:
            return False
        return max(history.series("valid_error")[1][-2:]) < ENOUGH and len(history) > args.validate_every

    history = srl.fit(
        net, task, METHODS[method][1], optimizer, steps=args.steps, batch=args.batch, regularizer=rate, stop=enough,
        validate_every=args.validate_every, checkpoint=path.with_suffix(".npz"), checkpoint_every=10,
    )  # fmt: skip
    steps, errors = history.series("valid_error")
    return {"steps": steps, "errors": errors, "iterations": len(history), "test": srl.evaluate(net, task, *task.test)["error"],
            "seconds": history.last("seconds"), "activity": history.last("activity")}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run all methods, print the table, write results and the figure."""
    options = common.parser("bellec_2020_evidence", __doc__, 500, 1)
    options.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    options.add_argument("--units", type=common.positive, default=100)
    options.add_argument("--batch", type=common.positive, default=64)
    options.add_argument("--validate-every", type=common.positive, default=10)
    options.add_argument("--all-steps", action="store_true", help="go on when the error was below 7%% twice")
    args = options.parse_args(argv)
    if args.quick:
        args.steps, args.units, args.batch, args.validate_every = min(args.steps, 4), 8, 4, 2
    ax, rows = common.axes(), []
    for method in args.methods:
        for seed in range(args.seeds):
            path = args.out / f"{method}_{args.units}x{args.batch}_{args.steps}_seed{seed}.json"
            found = common.load(path, args.again) or common.store(path, run(args, method, seed, path))
            label = f"{METHODS[method][0]}, seed {seed}"
            ax.plot(found["steps"], found["errors"], label=label)
            rows.append({"method": label, "iterations": found["iterations"], "validation error": found["errors"][-1],
                         "test error": found["test"], "activity": found["activity"],
                         "s an iteration": found["seconds"] / found["iterations"]})  # fmt: skip
    ax.axhline(ENOUGH, color="0.6", linestyle=":")
    ax.set(xlabel=f"iterations of {args.batch} trials", ylabel="error", ylim=(0, 0.6))
    ax.legend(frameon=False, fontsize=8)
    ax.figure.savefig(args.out / "evidence.png", dpi=150)
    common.write_csv(args.out / "table.csv", rows)
    print(common.table([list(rows[0]), *(list(row.values()) for row in rows)]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
