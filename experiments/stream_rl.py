"""Learning from reward in a stream: what the gradient must reach back for, and which learners bring it.

Claim: with one sample at a time and no replay, a value that depends on what was seen some steps ago is learned if the gradient
reaches back as far; truncated at one step it is not (for diagonal units: Elelimy et al. 2024, arXiv 2409.01449; 2605.24709).
Here with an event-based GRU whose units hear each other, by exact sparse RTRL, SnAp-1, e-prop and TBPTT(1), and with "no
memory", units without state.

Setting: Stream Q(lambda) (Elsayed, Vasan and Mahmood 2024, arXiv 2410.14606), its traces stepped down by Adam; lambda 0.8,
epsilon falling from 0.5 to 0.02 over the first half; 16 units, all-to-all at density 0.5, whose update gates begin at a bias of
-2: a state fades by an eighth a step. MemoryChain: a bit at the first step is asked for ``length`` steps later, return 1 or -1,
chance 0, discount 0.99. T-maze: a sign at the beginning of a corridor of ``length`` steps says where to turn at its end, 4 or
-0.1, chance 1.95, discount 0.9 (at 0.99 values that are learned from themselves grow without bound). Repeat: POPGym's
RepeatPrevious (Morad et al. 2023, arXiv 2303.01859; with a length of 4 its easy one), the suit of four cards ago, the present
one counted, return 1 to -1, chance -0.5, discount 0 (what is said changes nothing of what comes), 32 units without that bias;
it needs the extra ``rl``. Learning rates 0.01, 10^-2.5 and 0.001, for every method and length by a run on a seed of its own,
the best return over the last fifth. Discounts, units and biases were set with exact RTRL and are the same for all.

Expected: exact RTRL holds longer chains than TBPTT(1), which stays near chance.

Found (return over the last fifth, three seeds): a chain of 12 is held by exact RTRL (0.98, 0.98, 0.99), by SnAp-1 and e-prop
later (0.96, 0.97), and not by TBPTT(1) (0.06, 0.56, 0.04); one of 8 by exact RTRL (0.99 in each) and not by TBPTT(1) (0.76,
0.06, 0.83, coming and going); a chain of 4 by the first three alike (0.98), by TBPTT(1) not steadily (0.63); a chain of 16
within 40,000 steps by exact RTRL in one seed of four (0.95; 0.57, 0.08, 0.08), by TBPTT(1) in none (0.00); chains of 32 and 64
by neither. A T-maze of 10:
exact RTRL 3.93, 3.91, 3.92, SnAp-1 3.84, 3.75, 3.10, e-prop 3.93, 1.71, 2.63, TBPTT(1) 0.79, 2.25, 2.17 and no memory 1.82,
both at chance. RepeatPreviousEasy: exact RTRL 0.93 (0.90 to 0.96), SnAp-1 0.15 (0.07 to 0.22), e-prop 0.17 (0.10 to 0.26),
TBPTT(1) -0.30 (-0.38 to -0.25), no memory -0.49.

    spikertrl run stream_rl
    spikertrl run stream_rl --tasks chain --lengths 12 --methods rtrl snap1 eprop tbptt1
    spikertrl run stream_rl --tasks chain --lengths 4 --rates-at 16
    spikertrl run stream_rl --tasks tmaze --lengths 10
    spikertrl run stream_rl --tasks repeat --lengths 4
    spikertrl run stream_rl --tasks chain --lengths 4 --steps 4000 --methods rtrl --step bounded

With the paper's step size (``--step bounded``), one for all parameters and small enough for their sum, a chain of 1 is learned
(return 0.97, 1.00, 0.97 by exact RTRL after 4,000 steps) and a chain of 4 is not, by exact RTRL neither (-0.17 to 0.15; 0.00
after 30,000 steps, kappa 2 and 0.5, lambda 0.8 and 0): the gradients of what remembers are small beside those of the readout,
and a step that is safe for their sum hardly moves them. The paper normalizes its layers against that.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import _common as common
import numpy as np
from _memory_tasks import MemoryChain, RepeatPrevious, TMaze

import spikertrl as srl
from spikertrl.rl import StreamQ

METHODS: dict[str, tuple[str, Any]] = {
    "rtrl": ("exact RTRL", srl.RTRL()),
    "snap1": ("SnAp-1", srl.SnAp(1)),
    "eprop": ("e-prop", srl.EProp()),
    "tbptt1": ("TBPTT(1)", srl.BPTT(truncate=1)),
    "none": ("no memory", srl.Immediate()),
}
TASKS = {"chain": MemoryChain, "tmaze": TMaze, "repeat": RepeatPrevious}
RATES, SWEEP_SEED = (10**-2, 10**-2.5, 10**-3), 100
BINS = 25  # points of a curve


def network(task: Any, method: str, units: int, seed: int) -> srl.Network:
    """An event-based GRU that forgets slowly, or for "no memory" as many units without state."""
    net = srl.Network().add_input("x", task.channels)
    if method == "none":
        net.add_population("h", "rnn", units).connect("x", "h")
    else:
        net.add_population("h", "egru", units, theta=0.05, surrogate=srl.surrogates.triangle(0.7, 0.5)).connect("x", "h")
        net.connect("h", "h", density=0.5, seed=seed)
    net.add_readout("q", "h", task.actions).initialize(seed)
    if method != "none":
        net.view(net.theta)["h"]["bias_u"][...] = task.forget
    return net


def train(args: Any, name: str, length: int, method: str, rate: float, seed: int) -> dict[str, Any]:
    """One agent: its mean return in each part of its life."""
    task, half = TASKS[name](length), args.steps / 2
    net, optimizer = network(task, method, args.units or task.units, seed), srl.optimizers.adam(rate)
    agent = StreamQ(net, METHODS[method][1], seed=seed, discount=task.discount,
                    optimizer=None if args.step == "bounded" else optimizer,
                    epsilon=lambda t: max(0.02, 0.5 * (1 - t / half)))  # fmt: skip
    began = time.perf_counter()
    found = agent.learn(task, args.steps, seed=seed)
    at, returns = np.array(found, float).reshape(-1, 2).T
    edges = np.linspace(0, args.steps, BINS + 1)
    part = np.clip(np.searchsorted(edges, at) - 1, 0, BINS - 1)
    curve = [float(returns[part == k].mean()) if (part == k).any() else None for k in range(BINS)]
    last = returns[at > 0.8 * args.steps]
    return {"task": name, "length": length, "method": method, "rate": rate, "seed": seed, "steps": args.steps,
            "at": edges[1:].tolist(), "curve": curve, "last": float(last.mean()) if len(last) else float("nan"),
            "episodes": len(found), "seconds": time.perf_counter() - began}  # fmt: skip


def kept(args: Any, *what: Any) -> dict[str, Any]:
    """``train``, or its stored result."""
    name, length, method, rate, seed = what
    place = f"{name}{length}_{method}_{args.units or TASKS[name].units}_{args.steps}_{args.step}{rate:.4f}_seed{seed}.json"
    path = args.out / "runs" / place
    found = common.load(path, args.again) or common.store(path, train(args, *what))
    print(f"{name} {length} {method} rate {rate:.4g} seed {seed}: {found['last']:.2f}, {found['seconds']:.0f} s", flush=True)
    return found


def swept(args: Any, name: str, length: int, method: str) -> list[dict[str, Any]]:
    """Runs at every rate; the bounded step has no rate to choose."""
    rates = RATES[1:2] if args.quick or args.step == "bounded" else RATES
    return [kept(args, name, args.rates_at or length, method, rate, SWEEP_SEED) for rate in rates]


def draw(args: Any, runs: list[dict[str, Any]], name: str, length: int) -> None:
    """Mean and range of the seeds' returns, one line a method."""
    shown = common.axes()
    for method in args.methods:
        mine = [run for run in runs if run["method"] == method]
        curves = np.array([run["curve"] for run in mine], float)
        line = shown.plot(mine[0]["at"], curves.mean(0), label=METHODS[method][0])[0]
        shown.fill_between(mine[0]["at"], curves.min(0), curves.max(0), color=line.get_color(), alpha=0.2, linewidth=0)
    shown.axhline(TASKS[name].chance, color="0.6", linewidth=0.8, linestyle=":")
    shown.set_xlabel("step")
    shown.set_ylabel("return of an episode")
    shown.set_title(f"{name}, {length} steps")
    shown.legend(frameon=False)
    shown.figure.savefig(args.out / f"{name}{length}.png", dpi=150, bbox_inches="tight")


def log(args: Any, name: str, runs: list[dict[str, Any]]) -> None:
    """Every run, those that chose the rate among them, and its curve."""
    common.write_csv(args.out / name, [
        {"task": run["task"], "length": run["length"], "learner": METHODS[run["method"]][0], "rate": round(run["rate"], 5),
         "seed": run["seed"], "sweep": run["seed"] == SWEEP_SEED, "steps": run["steps"], "last fifth": round(run["last"], 3),
         "curve": " ".join("" if value is None else f"{value:.2f}" for value in run["curve"])}
        for run in runs
    ])  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Choose rates, train everything, print the table, draw the figures."""
    parser = common.parser("stream_rl", __doc__, steps=40_000, seeds=3)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--lengths", nargs="+", type=common.positive, default=[4, 16])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--units", type=common.positive, help="default 16, repeat 32")
    parser.add_argument("--step", choices=["adam", "bounded"], default="adam", help="what goes down the trace (default adam)")
    parser.add_argument("--rates-at", type=common.positive, help="length at which rates are chosen (default: each at its own)")
    args = parser.parse_args(argv)
    if args.quick:
        args.steps, args.seeds, args.lengths, args.units = min(args.steps, 200), 1, [2], 6
    every, rows = [], []
    for name in args.tasks:
        try:
            TASKS[name](1)
        except ModuleNotFoundError as error:
            print(f"stream_rl: {name} skipped. {error}", file=sys.stderr)
            continue
        for length in args.lengths:
            runs = []
            for method in args.methods:
                tried = swept(args, name, length, method)
                rate = max(tried, key=lambda run: run["last"])["rate"]
                every += [run for run in tried if run not in every]
                runs += [kept(args, name, length, method, rate, seed) for seed in range(args.seeds)]
            draw(args, runs, name, length)
            every += runs
            last = {m: [run["last"] for run in runs if run["method"] == m] for m in args.methods}
            rows.append({"task": name, "length": length} | {METHODS[m][0]: float(np.mean(v)) for m, v in last.items()})
    common.write_csv(args.out / "table.csv", rows)
    log(args, "runs.csv", every)
    print(common.table([list(rows[0]), *[list(row.values()) for row in rows]]) if rows else "no task")
    return 0 if rows else 2


if __name__ == "__main__":
    raise SystemExit(main())
