"""Stacks of units that hear themselves alone: what is lost where each layer's trace is exact and nothing passes between traces.

Claim: recurrence within units makes exact RTRL as cheap as its parameters in one layer (Zucchet et al. 2023, arXiv 2305.15947;
Irie et al. 2024, arXiv 2305.19044; Elelimy et al. 2024, arXiv 2409.01449). In a stack the published methods keep each layer's
own trace and send the error down within the step: what a lower unit did to the memory of an upper one is left out. Exact RTRL
keeps it, and pays for it.

Setting: recurrent trace units (``rtu``), one to four layers of them, all-to-all from layer to layer with the usual delay of one
step, a readout of the last layer; delayed XOR (two pulses up to ``gap`` steps apart, answer at the end); Adam, 3e-3, sequences
of 32. "Per layer": own rows, and the loss of step t reaches layer l below the last one through the messages of step t - l.

Expected: the same at depth 1 (there the two are one); from depth 2 on a gradient at an angle, less accuracy in the same number
of updates, and multiply-adds that grow linearly with depth instead of with its powers.

Found (six units a layer, gap 6, rate 0.01, three seeds, 300 updates): cosine 1, 0.93, 0.89 and 0.78; accuracy the same within
the seeds at every depth, so that a loss in learning is not shown; 74 thousand multiply-adds against 1.5 at depth 4.

    spikertrl run stacked_traces
    spikertrl run stacked_traces --steps 300 --units 6 --gap 6 --rate 0.01
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import _common as common
import numpy as np

import spikertrl as srl
from spikertrl.cost import cost_of
from spikertrl.learners import Signal
from spikertrl.learners.engines.local.update import LocalState, init_local, update_local
from spikertrl.learners.readout import readout_weights

DEPTHS = (1, 2, 3, 4)


@dataclass(frozen=True)
class PerLayer:
    """Exact within every unit; errors go down through the layers along messages, not along memory."""

    claim = "approximate"

    def init(self, net: srl.Network, batch: int) -> tuple[srl.Network, LocalState]:
        """Own rows, all zero."""
        return net, init_local(net.wiring, batch, "PerLayer")

    def update(self, state: tuple[srl.Network, LocalState], tape: Any, signal: Signal) -> np.ndarray:
        """The gradient of a whole sequence."""
        net, rows = state
        dy = down(net, tape, signal.dz @ readout_weights(net.wiring, tape.theta))
        top = list(net.populations.values())[-1]
        dy[:, :, top.start :] = 0  # the readout tells these
        return update_local(rows, tape, Signal(signal.value, signal.dz, dy, signal.last), synaptic=False)


def down(net: srl.Network, tape: Any, dy: np.ndarray) -> np.ndarray:
    """dL/dy (tau, B, N) of every layer, from that of the last one: through the drive of the layer above, one step later."""
    layers, view = list(net.populations.values()), net.view(tape.theta)
    for below, above in zip(layers[-2::-1], layers[:0:-1], strict=True):
        start, shape = net.wiring.start_B[above.start], (tape.tau, tape.batch, -1, above.size)
        states, width = len(above.cell.memory), len(above.cell.ports)
        B = tape.B[:, tape.batch * start :][:, : tape.batch * states * width * above.size].reshape(shape)
        start = net.wiring.start_o[above.start]
        o = tape.o[:, tape.batch * start :][:, : tape.batch * states * above.size].reshape(shape)
        drive = np.einsum("tbsgn,tbsn->gtbn", B.reshape(*shape[:2], states, width, above.size), o)
        error = dy[:, :, above.start : above.start + above.size]
        ports = view[f"{above.name}<-{below.name}"].items()
        told: Any = sum((drive[above.cell.ports.index(port)] * error) @ weights for port, weights in ports)
        dy[:-1, :, below.start : below.start + below.size] += told[1:]
    return dy


METHODS: dict[str, tuple[str, Any]] = {"exact": ("exact RTRL", srl.RTRL()), "layers": ("per layer", PerLayer())}


def network(depth: int, units: int, seed: int) -> srl.Network:
    """x -> h1 -> ... -> readout; units remember for 3 to 30 steps and turn by up to half a circle in a step."""
    net, before = srl.Network().add_input("x", 2), "x"
    for k in range(depth):
        nu, theta = (lambda rng, n: np.log(1 / rng.uniform(3, 30, n))), (lambda rng, n: np.log(rng.uniform(0.03, 1.5, n)))
        net.add_population(f"h{k + 1}", "rtu", units, nu=nu, theta=theta).connect(before, f"h{k + 1}", weight=wide)
        before = f"h{k + 1}"
    return net.add_readout("z", before, 2).initialize(seed)


def wide(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Weights that make up for the small gain of units that remember long."""
    return 3 * rng.standard_normal(shape) / np.sqrt(shape[1])


def train(args: Any, depth: int, method: str, seed: int) -> dict[str, Any]:
    """One network: accuracy while it learns, angle of its first gradient to the exact one, multiply-adds."""
    task, net = srl.tasks.delayed_xor(args.gap, 2, seed=seed), network(depth, args.units, seed)
    x, labels = task.batch(32)
    table = srl.compare(net, [srl.RTRL(), METHODS[method][1]], x, task.loss(labels))
    cosine = table.cosine[list(table.cosine)[1]]["all"]
    history = srl.fit(net, task, METHODS[method][1], srl.optimizers.adam(args.rate), steps=args.steps, progress=False,
                      validate_every=max(1, args.steps // 10))  # fmt: skip
    at, accuracy = history.series("valid_accuracy")
    return {"depth": depth, "method": method, "seed": seed, "at": at, "validation": accuracy, "cosine": cosine,
            "macs": macs(net, METHODS[method][1], x), "seconds": history.last("seconds")}  # fmt: skip


def macs(net: srl.Network, learner: Any, x: np.ndarray) -> float:
    """Multiply-adds of a step and lane, in tapes of one step."""
    from spikertrl.simulation.run import as_input, simulator

    machine, memory = simulator(net), learner.init(net, x.shape[1])
    state = machine.start(x.shape[1])
    for t in range(len(x)):
        tape = machine.run(state, as_input(net, x[t : t + 1]))
        learner.update(memory, tape, Signal(0.0, np.zeros_like(tape.z)))
    cost = cost_of(memory[1] if isinstance(memory, tuple) else memory)
    return float("nan") if cost is None else cost.macs / (len(x) * x.shape[1])


def kept(args: Any, depth: int, method: str, seed: int) -> dict[str, Any]:
    """``train``, or its stored result."""
    path = args.out / "runs" / f"{method}_{depth}x{args.units}_{args.gap}_{args.steps}_seed{seed}.json"
    found = common.load(path, args.again) or common.store(path, train(args, depth, method, seed))
    print(f"depth {depth} {method} seed {seed}: {found['validation'][-1]:.1%}, cosine {found['cosine']:.3f}", flush=True)
    return found


def draw(args: Any, rows: list[dict[str, Any]]) -> None:
    """Accuracy and multiply-adds against depth."""
    for what, label in (("accuracy", "accuracy, %"), ("macs", "multiply-adds a step")):
        shown = common.axes()
        for method in METHODS:
            mine = [row for row in rows if row["learner"] == METHODS[method][0]]
            shown.plot([row["depth"] for row in mine], [row[what] for row in mine], "o-", label=METHODS[method][0])
        shown.set(xlabel="layers", ylabel=label, xticks=args.depths)
        if what == "macs":
            shown.set_yscale("log")
        shown.legend(frameon=False)
        shown.figure.savefig(args.out / f"stacked_{what}.png", dpi=150, bbox_inches="tight")


def main(argv: Sequence[str] | None = None) -> int:
    """Train everything, print the table, draw the figures."""
    parser = common.parser("stacked_traces", __doc__, steps=300, seeds=3)
    parser.add_argument("--depths", nargs="+", type=common.positive, default=list(DEPTHS))
    parser.add_argument("--units", type=common.positive, default=8)
    parser.add_argument("--gap", type=common.positive, default=8)
    parser.add_argument("--rate", type=float, default=3e-3)
    args = parser.parse_args(argv)
    if args.quick:
        args.steps, args.seeds, args.depths, args.units = min(args.steps, 10), 1, [1, 2], 4
    rows = []
    for depth in args.depths:
        for method in METHODS:
            runs = [kept(args, depth, method, seed) for seed in range(args.seeds)]
            last = [100 * run["validation"][-1] for run in runs]
            mean = {name: float(np.mean([run[name] for run in runs])) for name in ("cosine", "macs", "seconds")}
            rows.append({"depth": depth, "learner": METHODS[method][0], "accuracy": float(np.mean(last)),
                         "lowest": min(last), "highest": max(last)} | mean)  # fmt: skip
    common.write_csv(args.out / "table.csv", rows)
    print(common.table([list(rows[0]), *[list(row.values()) for row in rows]]))
    draw(args, rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
