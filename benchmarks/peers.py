"""All peers in one run and one table: the same network, data and gradient, checked to agree where a peer claims to be exact.

The network is an event-based GRU with a readout, one lane, float32; a call is one sequence from the start state, with the
forward pass, and a loss at every step. Peers take turns, round after round, several calls a turn; reported are medians and
minima of a turn's mean, per step. Each sweep moves one thing: units, density of the connections, gradient-active share. A
fourth looks at memory against the length of the sequence, a fifth (snn) sets learners beside snnTorch and Norse on leaky
integrate-and-fire units, the others (lif, delays, coba, coba_delays) simulate sparse recurrent networks without learning.
A peer that is not installed, or would take too much, has a row that says so.

    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 taskset -c 0 python benchmarks/peers.py --out results/peers

``taskset`` keeps JAX and PyTorch on one core as well. Written are ``peers.csv`` and the figures.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _brian_lif
import _peer_figures
import _peers_braintrace
import _peers_snn
import numpy as np
from _peer_base import Limits, Peer, Problem, measure
from _peers_gradient import Jax, Ours, StructuredDense, Torch
from influence import INPUTS, OUTPUTS, machine_limits, with_share

import spikertrl as srl

Rows = list[dict[str, Any]]
COLUMNS = [
    "sweep", "peer", "network", "claim", "units", "density", "share", "steps", "lanes", "parameters", "ms", "ms_min",
    "learner_ms", "bytes", "difference", "cosine", "first_call_s", "macs", "touched", "synapses", "rate_hz", "s_per_s",
    "s_per_s_min", "built_s", "spikes", "same_spikes", "note",
]  # fmt: skip
SWEEPS = ["units", "density", "rate", "length", "snn", *_brian_lif.KINDS]


def gradient_peers(quick: bool = False) -> list[Peer]:
    """The first one that is there is the reference of all differences; ``quick`` leaves out three that compile for long."""
    online = [p for p in _peers_braintrace.peers() if not quick or p.name.endswith(("D_RTRL", "all rows"))]
    ours = [Ours(learner) for learner in (srl.RTRL(), srl.BPTT(), srl.SnAp(1), srl.KFRTRL(), srl.UORO())]
    ours.insert(1, Ours(srl.RTRL(), tau=16))
    return [
        Jax(forward=False),
        *ours,
        StructuredDense(masked=False),
        StructuredDense(masked=True),
        Jax(forward=True),
        Torch(),
        *online,
    ]


def problem(n: int, density: float, share: float, steps: int, peak: float) -> Problem:
    """A network whose units are gradient-active as often as wanted, with random input and signal."""
    net, found = with_share(n, density, share)
    rng = np.random.default_rng(5)
    x, signal = (rng.normal(size=(steps, 1, k)).astype(np.float32) for k in (INPUTS, OUTPUTS))
    return Problem(net, found, x, signal, peak)


def sweep(name: str, points: Sequence[tuple[int, float, float]], options: argparse.Namespace, peak: float) -> Rows:
    """Time every peer of a sweep at points (units, density, share)."""
    rows, limits = [], Limits(options.slowest, 1e9 * options.memory)
    for n, density, share in points:
        peers = [p for p in gradient_peers(options.quick) if name in p.sweeps]
        given = problem(n, density, share, options.tau[0], peak)
        found = measure(peers, given, limits, options.rounds)
        rows += [{"sweep": name, "density": density} | row for row in found]
        print(f"\n{name}: {n} units, density {density:g}, gradient-active {given.share:.3f}, {options.tau[0]} steps")
        show(found)
    return rows


def spiking(options: argparse.Namespace, peak: float) -> Rows:
    """The learners of spikertrl, snnTorch and Norse on one network of leaky integrate-and-fire units."""
    rows, limits = [], Limits(options.slowest, 1e9 * options.memory)
    for n in options.snn_units:
        for lanes in options.snn_lanes:
            given = _peers_snn.problem(n, options.density, options.snn_steps, lanes, peak)
            found = measure(_peers_snn.peers(), given, limits, options.rounds)
            rows += [{"sweep": "snn", "density": options.density} | row for row in found]
            size = f"{n} units, density {options.density:g}, {options.snn_steps} steps, {lanes} lanes"
            print(f"\nsnn: {size}, gradient-active {given.share:.3f}")
            show(found)
    return rows


def lengths(n: int, options: argparse.Namespace, peak: float) -> Rows:
    """Bytes that peers keep, against the length of the sequence; times are not taken."""
    rows, limits = [], Limits(options.slowest, 1e9 * options.memory)
    for steps in options.tau:
        given = problem(n, options.density, options.rate, steps, peak)
        peers = [p for p in gradient_peers() if "rate" in p.sweeps]
        for peer in peers:
            if peer.available() and not peer.refuses(given, limits):
                peer.prepare(given)
                peer.step()
                common = {"units": n, "density": options.density, "share": given.share, "steps": steps}
                rows.append({"sweep": "length", "peer": peer.name, "network": peer.network, "claim": peer.claim, **common,
                             "bytes": peer.bytes()})  # fmt: skip
                peer.release()
    print(f"\nlength: {n} units, MB kept of the past")
    for peer in dict.fromkeys(row["peer"] for row in rows):
        kept = "  ".join(f"T={r['steps']}: {r['bytes'] / 1e6:.3g}" for r in rows if r["peer"] == peer)
        print(f"{peer:32} {kept}")
    return rows


def show(rows: Sequence[dict[str, Any]]) -> None:
    """One sweep's point as a table."""
    print(f"{'peer':32}{'claim':>13}{'ms/step':>10}{'min':>9}{'MB kept':>9}{'difference':>12}{'cosine':>8}{'first s':>9}")
    for r in rows:
        if "ms" not in r:
            print(f"{r['peer']:32}{r['claim']:>13}  {r['note']}")
            continue
        print(
            f"{r['peer']:32}{r['claim']:>13}{r['ms']:10.4f}{r['ms_min']:9.4f}{r['bytes'] / 1e6:9.3f}"
            f"{r.get('difference', np.nan):12.1e}{r.get('cosine', np.nan):8.3f}{r['first_call_s']:9.2f}  {r['note']}",
            flush=True,
        )


def show_simulation(rows: Sequence[dict[str, Any]]) -> None:
    """The simulators as a table."""
    r = rows[0]
    print(f"\n{r['sweep']}: {r['units']} units, {r['synapses']} synapses, {r['rate_hz']:.1f} Hz, dt 0.1 ms")
    print(f"{'peer':32}{'s per s':>10}{'min':>9}{'build s':>9}{'compile s':>11}{'spikes':>9}{'same':>8}")
    for r in rows:
        if "s_per_s" in r:
            numbers = f"{r['s_per_s']:10.4f}{r['s_per_s_min']:9.4f}{r['built_s']:9.2f}"
            numbers += f"{r['first_call_s']:11.2f}{r['spikes']:9}{r['same_spikes']:8.4f}"
        print(f"{r['peer']:32}{numbers if 's_per_s' in r else '  ' + r['note']}")


def parsed(argv: list[str] | None) -> argparse.Namespace:
    """The options, with the small sizes of --quick where nothing else is said."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--units", type=int, nargs="+", help="sizes of the first sweep (default 16 32 64 128 256 512 1024)")
    add("--at", type=int, help="units of the other sweeps (default 256)")
    add("--densities", type=float, nargs="+", help="default 1 0.3 0.1 0.05 0.02")
    add("--rates", type=float, nargs="+", help="gradient-active shares (default 0.3 0.1 0.05 0.02)")
    add("--density", type=float, default=0.1, help="density of the sweeps that do not move it (default 0.1)")
    add("--rate", type=float, default=0.1, help="gradient-active share of the sweeps that do not move it (default 0.1)")
    add("--tau", type=int, nargs="+", help="lengths of a sequence; the first is that of the timings (default 32 128 512)")
    add("--rounds", type=int, help="turns of each peer (default 7)")
    add("--slowest", type=float, default=2.0, help="seconds: a peer whose call takes longer is not timed further (default 2)")
    add("--memory", type=float, default=2.0, help="GB that a structured dense influence may take (default 2)")
    add("--sweeps", nargs="+", default=SWEEPS, help="which of them (default all)")
    add("--snn-units", type=int, nargs="+", help="default 64 256 1024")
    add("--snn-lanes", type=int, nargs="+", help="default 1 32")
    add("--snn-steps", type=int, help="default 100")
    add("--lif-units", type=int, help="default 10000")
    add("--lif-synapses", type=int, help="a unit (default 1000)")
    add("--coba-units", type=int, help="default 4000")
    add("--coba-synapses", type=int, help="a unit (default 80)")
    add("--lif-rate", type=float, default=10.0, help="mean rate, Hz (default 10)")
    add("--lif-seconds", type=float, help="simulated at a time (default 1)")
    add("--quick", action="store_true", help="small sizes everywhere")
    add("--out", type=Path, default=Path("results/peers"))
    options = parser.parse_args(argv)
    full = {"units": [16, 32, 64, 128, 256, 512, 1024], "at": 256, "densities": [1, 0.3, 0.1, 0.05, 0.02], "rounds": 7,
            "rates": [0.3, 0.1, 0.05, 0.02], "tau": [32, 128, 512], "lif_units": 10_000, "lif_synapses": 1000,
            "lif_seconds": 1.0, "coba_units": 4000, "coba_synapses": 80,
            "snn_units": [64, 256, 1024], "snn_lanes": [1, 32], "snn_steps": 100}  # fmt: skip
    quick = {"units": [16], "at": 16, "densities": [0.3], "rounds": 2, "rates": [0.3], "tau": [16, 64],
             "lif_units": 500, "lif_synapses": 100, "lif_seconds": 0.3,
             "coba_units": 500, "coba_synapses": 50,
             "snn_units": [16], "snn_lanes": [1, 2], "snn_steps": 16}  # fmt: skip
    for name, value in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def main(argv: list[str] | None = None) -> int:
    """Run the sweeps, print their tables, write the rows and the figures."""
    options, began = parsed(argv), time.perf_counter()
    peak, bandwidth = machine_limits()
    print(f"matrix product {peak:.1f} G multiply-adds/s, copy {bandwidth:.1f} GB/s")
    density, rate, at = options.density, options.rate, options.at
    points = {
        "units": [(n, density, rate) for n in options.units],
        "density": [(at, d, rate) for d in options.densities],
        "rate": [(at, density, r) for r in options.rates],
    }
    rows: Rows = []
    for name in points:
        if name in options.sweeps:
            rows += sweep(name, points[name], options, peak)
            write(rows, options)  # a run that is stopped keeps what it has
    if "snn" in options.sweeps:
        rows += spiking(options, peak)
        write(rows, options)
    if "length" in options.sweeps:
        rows += lengths(at, options, peak)
        write(rows, options)
    for kind in _brian_lif.KINDS:
        if kind in options.sweeps:
            size = (options.coba_units, options.coba_synapses) if "coba" in kind else (options.lif_units, options.lif_synapses)
            found = _brian_lif.compare(kind, *size, options.lif_rate, options.lif_seconds, 0.2, options.rounds)
            show_simulation(found)
            rows += found
            write(rows, options)
    _peer_figures.draw_all(rows, peak, bandwidth, options.out)
    print(f"\n{len(rows)} rows in {options.out}, {time.perf_counter() - began:.0f} s")
    return 0


def write(rows: Rows, options: argparse.Namespace) -> None:
    """All rows so far, as CSV."""
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "peers.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    raise SystemExit(main())
