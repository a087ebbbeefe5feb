"""Learning from reward in a stream: what the gradient must reach back for, and which learners bring it.

Claim: with one sample at a time and no replay, a value that depends on what was seen some steps ago is learned if the gradient
reaches back as far; truncated at one step it is not (for diagonal units: Elelimy et al. 2024, arXiv 2409.01449; 2605.24709).
Here with an event-based GRU whose units hear each other, by exact sparse RTRL, SnAp-1, e-prop and TBPTT(1), and with "no
memory", units without state.

Setting: Stream Q(lambda) (Elsayed, Vasan and Mahmood 2024, arXiv 2410.14606) with its step size; discount 0.99, lambda 0.8,
epsilon falling from 0.5 to 0.02 over the first half; 16 units, all-to-all at density 0.5. MemoryChain: a bit at the first step
is asked for ``length`` steps later, return 1 or -1, chance 0. T-maze: a sign at the beginning of a corridor of ``length`` steps
says where to turn at its end, 4 or -0.1, chance 1.95.

Expected: exact RTRL holds longer chains than TBPTT(1), which stays near chance.

Found so far, in short runs of 4,000 steps: a chain of 1 is learned by exact RTRL (return 0.97, 1.00, 0.97 at the end, three
seeds), by TBPTT(1) in two seeds of three (0.97, 0.05, 0.97); a chain of 4 by neither (-0.17 to 0.15). So the expectation is
not shown. Tried as well, without more success: a chain of 2 with 8 units for 9,000 steps (each learned it in one seed), step
sizes of kappa 2 and 20, lambda 0, epsilon 0.1, and actor-critic on the chain of 4 for 6,000 steps (chance). Whether more steps
or another step size would show it is open.

    spikertrl run stream_rl
    spikertrl run stream_rl --tasks chain --lengths 1 --steps 4000 --methods rtrl tbptt1
    spikertrl run stream_rl --steps 200000 --kappa 20
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import _common as common
import numpy as np
from _memory_tasks import MemoryChain, TMaze

import spikertrl as srl
from spikertrl.rl import StreamQ

METHODS: dict[str, tuple[str, Any]] = {
    "rtrl": ("exact RTRL", srl.RTRL()),
    "snap1": ("SnAp-1", srl.SnAp(1)),
    "eprop": ("e-prop", srl.EProp()),
    "tbptt1": ("TBPTT(1)", srl.BPTT(truncate=1)),
    "none": ("no memory", srl.Immediate()),
}
TASKS = {"chain": MemoryChain, "tmaze": TMaze}
BINS = 25  # points of a curve


def network(task: Any, method: str, units: int, seed: int) -> srl.Network:
    """An event-based GRU, or for "no memory" as many units without state."""
    net = srl.Network().add_input("x", task.channels)
    if method == "none":
        net.add_population("h", "rnn", units).connect("x", "h")
    else:
        net.add_population("h", "egru", units, theta=0.05, surrogate=srl.surrogates.triangle(0.7, 0.5)).connect("x", "h")
        net.connect("h", "h", density=0.5, seed=seed)
    return net.add_readout("q", "h", task.actions).initialize(seed)


def train(args: Any, name: str, length: int, method: str, seed: int) -> dict[str, Any]:
    """One agent: its mean return in each part of its life."""
    task, half = TASKS[name](length), args.steps / 2
    agent = StreamQ(network(task, method, args.units, seed), METHODS[method][1], seed=seed, kappa=args.kappa,
                    epsilon=lambda t: max(0.02, 0.5 * (1 - t / half)))  # fmt: skip
    began = time.perf_counter()
    found = agent.learn(task, args.steps, seed=seed)
    at, returns = np.array(found, float).reshape(-1, 2).T
    edges = np.linspace(0, args.steps, BINS + 1)
    part = np.clip(np.searchsorted(edges, at) - 1, 0, BINS - 1)
    curve = [float(returns[part == k].mean()) if (part == k).any() else None for k in range(BINS)]
    last = returns[at > 0.9 * args.steps]
    return {"task": name, "length": length, "method": method, "seed": seed, "steps": args.steps, "at": edges[1:].tolist(),
            "curve": curve, "last": float(last.mean()) if len(last) else float("nan"), "episodes": len(found),
            "seconds": time.perf_counter() - began}  # fmt: skip


def kept(args: Any, *what: Any) -> dict[str, Any]:
    """``train``, or its stored result."""
    name, length, method, seed = what
    path = args.out / "runs" / f"{name}{length}_{method}_{args.units}_{args.steps}_{args.kappa:g}_seed{seed}.json"
    found = common.load(path, args.again) or common.store(path, train(args, *what))
    print(f"{name} {length} {method} seed {seed}: {found['last']:.2f}, {found['seconds']:.0f} s", flush=True)
    return found


def draw(args: Any, runs: list[dict[str, Any]], name: str, length: int) -> None:
    """Mean and range of the seeds' returns, one line a method."""
    shown = common.axes()
    for method in args.methods:
        mine = [run for run in runs if (run["task"], run["length"], run["method"]) == (name, length, method)]
        curves = np.array([run["curve"] for run in mine], float)
        line = shown.plot(mine[0]["at"], curves.mean(0), label=METHODS[method][0])[0]
        shown.fill_between(mine[0]["at"], curves.min(0), curves.max(0), color=line.get_color(), alpha=0.2, linewidth=0)
    shown.axhline(TASKS[name].chance, color="0.6", linewidth=0.8, linestyle=":")
    shown.set_xlabel("step")
    shown.set_ylabel("return of an episode")
    shown.set_title(f"{name}, {length} steps")
    shown.legend(frameon=False)
    shown.figure.savefig(args.out / f"{name}{length}.png", dpi=150, bbox_inches="tight")


def main(argv: Sequence[str] | None = None) -> int:
    """Train everything, print the table, draw the figures."""
    parser = common.parser("stream_rl", __doc__, steps=20_000, seeds=3)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--lengths", nargs="+", type=common.positive, default=[2, 4, 8, 16])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--units", type=common.positive, default=16)
    parser.add_argument("--kappa", type=float, default=2.0, help="how far below the bound steps are held (default 2)")
    args = parser.parse_args(argv)
    if args.quick:
        args.steps, args.seeds, args.lengths, args.units = min(args.steps, 200), 1, [2], 6
    runs = [
        kept(args, name, length, method, seed)
        for name in args.tasks for length in args.lengths for method in args.methods for seed in range(args.seeds)
    ]  # fmt: skip
    rows = []
    for name in args.tasks:
        for length in args.lengths:
            draw(args, runs, name, length)
            mine = [run for run in runs if (run["task"], run["length"]) == (name, length)]
            last = {m: [run["last"] for run in mine if run["method"] == m] for m in args.methods}
            rows.append({"task": name, "length": length} | {METHODS[m][0]: float(np.mean(v)) for m, v in last.items()})
    common.write_csv(args.out / "table.csv", rows)
    print(common.table([list(rows[0]), *[list(row.values()) for row in rows]]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
