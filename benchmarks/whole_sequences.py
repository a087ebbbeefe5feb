"""What exact RTRL gains where a whole sequence is one tape: the same gradient by state transitions (the route "transitions")
and by the influence itself, in turn, float32; and which of the two is chosen by itself.

    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/whole_sequences.py

``--kinds``: networks with several states, delays and populations instead, beside plain egru of the same size, density and share
of active units, all of them in turn. ``--kinds --tau 16``: their influence, carried from tape to tape of so many steps, by the
route that is chosen and step by step.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from influence import INPUTS, OUTPUTS, active_share, with_share

import spikertrl as srl
from spikertrl.learners.base import Signal
from spikertrl.learners.engines.choose import override
from spikertrl.simulation.run import simulator

NEVER, ALWAYS = 0.0, 1e9
CASES = [  # units, density, wanted share of gradient-active units, steps, lanes
    (16, 1.0, 1.0, 17, 32), (16, 1.0, 1.0, 100, 32), (16, 0.1, 1.0, 17, 32), (64, 1.0, 1.0, 17, 8), (64, 1.0, 1.0, 100, 8),
    (64, 1.0, 1.0, 200, 8), (64, 1.0, 0.3, 50, 8), (128, 1.0, 1.0, 100, 2), (128, 0.1, 0.1, 32, 2), (128, 0.1, 0.1, 100, 2),
    (128, 0.1, 0.3, 100, 2), (256, 1.0, 1.0, 32, 1), (256, 0.1, 0.3, 32, 1), (256, 0.1, 0.1, 32, 1), (256, 0.1, 0.1, 100, 1),
    (256, 0.02, 0.1, 32, 1), (256, 0.02, 0.02, 100, 1),
]  # fmt: skip

UNITS, DENSITY, SHARE, STEPS = 256, 0.1, 0.1, 32
KINDS = {  # model, delay between units, populations
    "egru": ("egru", 1, 1), "egru, delay 3": ("egru", 3, 1), "egru, delays 1 to 20": ("egru", 20, 1),
    "egru, two populations": ("egru", 1, 2), "cuba_lif": ("cuba_lif", 1, 1), "alif": ("alif", 1, 1),
}  # fmt: skip


def of_kind(kind: str, width: float) -> srl.Network:
    """One of ``KINDS``, units with pseudo-derivatives of this half width; a population hears the input and the one before."""
    model, delay, populations = KINDS[kind]
    options = {"theta": 0.3, "surrogate": srl.surrogates.triangle(0.7, width)}
    if model != "egru":
        options = {"surrogate": srl.surrogates.triangle(0.3, width)}
    net, n = srl.Network().add_input("x", INPUTS), UNITS // populations
    delays = np.random.default_rng(5).integers(1, 21, (n, n)) if delay == 20 else delay
    for k in range(populations):
        net.add_population(f"h{k}", srl.models.load(model), n, **options).connect("x", f"h{k}", seed=3 + k)
        net.connect(f"h{k}", f"h{k}", density=DENSITY, seed=1 + k, delay=delays)
        if k:
            net.connect(f"h{k - 1}", f"h{k}", density=DENSITY, seed=7)
    return net.add_readout("z", f"h{populations - 1}", OUTPUTS).initialize(0)


def fitting(kind: str) -> tuple[srl.Network, float]:
    """The network whose units are gradient-active as often as wanted, and how often they are."""
    low, high = 1e-3, 8.0
    for _ in range(14):
        width = (low * high) ** 0.5
        low, high = (low, width) if active_share(of_kind(kind, width)) > SHARE else (width, high)
    net = of_kind(kind, high)
    return net, active_share(net)


def kinds(rounds: int) -> None:
    """Print what sequences of networks of all ``KINDS`` take by transitions and with the influence carried."""
    learner, rng, runs = srl.RTRL(), np.random.default_rng(2), {}
    rates = {"influence": NEVER, "transitions": ALWAYS}
    for kind in KINDS:
        net, share = fitting(kind)
        machine = simulator(net)
        memory = {name: learner.init(net, 1) for name in rates}
        runs[kind] = net, share, machine, machine.start(1), memory, {name: [] for name in rates}, []
    for turn in range(rounds + 1):
        for net, _, machine, start, memory, times, gaps in runs.values():
            start.reset_lanes()
            tape = machine.run(start, rng.normal(size=(STEPS, 1, INPUTS)).astype(np.float32))
            signal, found = Signal(0.0, np.zeros_like(tape.z), last=True), []
            signal.dz[-1] = rng.normal(size=(1, OUTPUTS))
            for name, rate in rates.items():
                for _ in range(1 if name == "influence" else 5):
                    with override(transition_rate=rate):
                        began = time.perf_counter()
                        gradient = learner.update(memory[name], tape, signal)
                        times[name] += [1e3 * (time.perf_counter() - began)] if turn else []
                found.append(gradient)
            own = net.wiring.col_theta
            gaps.append(float(np.abs(found[0] - found[1])[own].max() / np.abs(found[0][own]).max()))
    print(
        f"{UNITS} units, density {DENSITY}, {STEPS} steps, one lane; medians (least); columns 4 and 5: of the medians\n\n"
        "| network | active | transitions, ms | of plain egru | influence, ms | times | its route | million MACs | diff |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    plain = float(np.median(runs["egru"][5]["transitions"]))
    for kind, (_, share, _, _, memory, times, gaps) in runs.items():
        influence, carried = (np.array(times[name]) for name in rates)
        macs = [float(state.counts.sum()) / state.lane_steps * STEPS / 1e6 for state in memory.values()]
        print(
            f"| {kind} | {share:.0%} | {np.median(carried):.3g} ({carried.min():.3g}) | {np.median(carried) / plain:.2f} | "
            f"{np.median(influence):.3g} ({influence.min():.3g}) | {np.median(influence) / np.median(carried):.1f} | "
            f"{memory['influence'].route} | {macs[0]:.3g}, {macs[1]:.3g} | {max(gaps):.0e} |"
        )


def carried(rounds: int, tau: int) -> None:
    """Print what a step of networks of all ``KINDS`` takes where the influence is carried over tapes of ``tau`` steps."""
    learner, rng, runs = srl.RTRL(), np.random.default_rng(2), {}
    for kind in KINDS:
        net, share = fitting(kind)
        machine, memory = simulator(net), {"chosen": learner.init(net, 1)}
        with override("general rows"):
            memory["step by step"] = learner.init(net, 1)
        runs[kind] = net, share, machine, machine.start(1), memory, {name: [] for name in memory}
    for turn in range(rounds + 2):
        for _, _, machine, start, memory, times in runs.values():
            for _ in range(max(1, 64 // tau)):
                tape = machine.run(start, rng.normal(size=(tau, 1, INPUTS)).astype(np.float32))
                signal = Signal(0.0, np.zeros_like(tape.z))
                signal.dz[-1] = rng.normal(size=(1, OUTPUTS))
                for name, state in memory.items():
                    with override(None if name == "chosen" else "general rows"):
                        began = time.perf_counter()
                        learner.update(state, tape, signal)
                        times[name] += [1e3 * (time.perf_counter() - began) / tau] if turn > 1 else []
    print(
        f"{UNITS} units, density {DENSITY}, tapes of {tau} steps, one lane; ms a step, means (least)\n\n"
        "| network | active | chosen | its route | of plain egru | the same per state and parameter | step by step |\n"
        "|---|---|---|---|---|---|---|"
    )
    net, *_, times = runs["egru"]
    plain, room = float(np.mean(times["chosen"])), len(net.wiring.col_theta)
    for kind, (net, share, _, _, memory, times) in runs.items():
        chosen, by_step = (np.array(values) for values in times.values())
        mine = len(net.wiring.col_theta) * net.wiring.n_states / net.wiring.n_units / room
        mean, routes = np.mean(chosen), memory["chosen"].routes
        route = max(routes, key=routes.__getitem__)
        print(
            f"| {kind} | {share:.0%} | {mean:.3g} ({chosen.min():.3g}) | {route} | {mean / plain:.2f} | "
            f"{mean / plain / mine:.2f} | {np.mean(by_step):.3g} ({by_step.min():.3g}) |",
            flush=True,
        )


def compare(net: srl.Network, steps: int, lanes: int, rounds: int) -> tuple[dict[str, float], dict[str, float], str, float]:
    """Milliseconds and million multiply-adds a sequence of each way, which is chosen, the largest relative difference."""
    machine, learner, rng = simulator(net), srl.RTRL(), np.random.default_rng(2)
    start = machine.start(lanes)
    rates = {"influence": NEVER, "transitions": ALWAYS}
    times: dict[str, list[float]] = {name: [] for name in rates}
    macs, worst, states = dict.fromkeys(rates, 0.0), 0.0, {name: learner.init(net, lanes) for name in rates}
    for _ in range(rounds + 1):
        start.reset_lanes()
        tape = machine.run(start, rng.normal(size=(steps, lanes, INPUTS)).astype(np.float32))
        signal, found = Signal(0.0, np.zeros_like(tape.z), last=True), {}
        signal.dz[-1] = rng.normal(size=(lanes, OUTPUTS))
        for name, rate in rates.items():
            with override(transition_rate=rate):
                before, began = states[name].counts.sum(), time.perf_counter()
                found[name] = learner.update(states[name], tape, signal)
                times[name].append(1e3 * (time.perf_counter() - began))
            macs[name] = float(states[name].counts.sum() - before) / 1e6
        first, second = found.values()
        worst = max(worst, float(np.abs(first - second).max() / np.abs(first).max()))
    learner.update(states["transitions"], tape, signal)
    taken = "transitions" if states["transitions"].route == "transitions" else "influence"
    return {name: float(np.median(values[1:])) for name, values in times.items()}, macs, taken, worst


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--units", type=int, nargs="*", help="only these sizes")
    parser.add_argument("--kinds", action="store_true", help="networks of several states, delays, populations")
    parser.add_argument("--tau", type=int, help="with --kinds: steps of a tape, the influence carried on")
    options = parser.parse_args(argv)
    if options.kinds and options.tau:
        carried(options.rounds, options.tau)
        return 0
    if options.kinds:
        kinds(options.rounds)
        return 0
    print(
        "| units | density | active | steps | lanes | influence, ms | transitions, ms | times | million MACs | chosen | diff |"
    )
    for n, density, wanted, steps, lanes in CASES:
        if options.units and n not in options.units:
            continue
        net, share = with_share(n, density, wanted)
        times, macs, taken, gap = compare(net, steps, lanes, options.rounds)
        influence, transitions = times["influence"], times["transitions"]
        print(
            f"| {n} | {density} | {share:.0%} | {steps} | {lanes} | {influence:.3g} | {transitions:.3g} | "
            f"{influence / transitions:.1f} | {macs['influence']:.3g}, {macs['transitions']:.3g} | {taken} | {gap:.0e} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
