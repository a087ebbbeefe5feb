"""Plain simulation of a sparse recurrent network of LIF neurons, spikes only: spikertrl, and Brian2 at run time and as C++.

Every neuron has its own constant drive; four fifths excite, one fifth inhibits five times as strongly; every neuron hears the
same number of others with a delay of 1.5 ms. The drive is found by bisection so that the mean rate is about the wanted one.
dt = 0.1 ms, float64.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brian2 as b2
import numpy as np
from scipy import sparse

import spikertrl as srl
from spikertrl.simulation.recording import Events
from spikertrl.simulation.run import simulator

DT = 1e-4
SPIKES = srl.Record(states=False, messages=False)


@dataclass(frozen=True)
class Result:
    """Seconds a simulated second, seconds to build and to compile (with all that is paid once), the spikes of the check."""

    seconds: float
    built: float
    compiled: float
    events: Any


def weights(units: int, synapses: int) -> sparse.csr_matrix:
    """Weights in volts (post, pre): a fixed number a row, 0.1 mV at a thousand synapses."""
    rng = np.random.default_rng(3)
    heard = np.concatenate([np.sort(rng.choice(units, synapses, replace=False)) for _ in range(units)])
    values = np.where(heard < 0.8 * units, 1.0, -5.0) * 1e-4 * 1000 / synapses
    return sparse.csr_matrix((values, heard, np.arange(units + 1) * synapses), (units, units))


def network(W: sparse.csr_matrix, drive: float) -> srl.Network:
    """Drives are spread by 2 mV around ``drive`` (V); nothing is trained."""
    n, rng = W.shape[0], np.random.default_rng(4)
    start, rest = rng.uniform(0, 0.0199, n) * b2.volt, (drive + rng.uniform(-2e-3, 2e-3, n)) * b2.volt
    net = srl.Network("float64", dt=DT).add_population("h", srl.models.lif, n, v_rest=rest, initial={"v": start})
    net.connect("h", "h", mask=W, weight=W, delay="1.5*ms", trainable=False)
    return net.initialize(0)


def mean_rate(net: srl.Network, seconds: float = 0.2) -> float:
    """Hz, after the first 50 ms."""
    events = srl.simulate(net, steps=round((seconds + 0.05) / DT), record=SPIKES).events
    return float((events.time * DT >= 0.05).sum() / seconds / net.wiring.n_units)


def set_rate(net: srl.Network, rate: float) -> float:
    """Shift all drives so that the mean rate is about the wanted one; return the rate found."""
    rest = net.populations["h"].parameters["v_rest"]
    spread, low, high = rest - rest.mean(), 0.018, 0.04
    for _ in range(7):
        rest[...] = spread + (low + high) / 2
        low, high = (low, (low + high) / 2) if mean_rate(net) > rate else ((low + high) / 2, high)
    rest[...] = spread + high
    return mean_rate(net)


class Ours:
    """``simulate`` with spikes only."""

    name = "spikertrl simulate"

    def available(self) -> str:
        return ""

    def run(self, net: srl.Network, seconds: float, check: int, rounds: int) -> Result:
        began = time.perf_counter()
        events = srl.simulate(net, steps=check, record=SPIKES).events
        compiled = time.perf_counter() - began
        steps, times = round(seconds / DT), []
        for _ in range(rounds):
            began = time.perf_counter()
            srl.simulate(net, steps=steps, record=SPIKES)
            times.append((time.perf_counter() - began) / seconds)
        return Result(float(np.median(times)), 0.0, compiled, events)


class Cython:
    """Brian2's runtime with Cython; the first run pays for compilation."""

    name = "Brian2 Cython runtime"

    def available(self) -> str:
        try:
            import Cython  # noqa: F401
        except ImportError:
            return "not installed (Cython)"
        return "" if shutil.which("g++") or shutil.which("clang++") else "not installed (a C++ compiler)"

    def run(self, net: srl.Network, seconds: float, check: int, rounds: int) -> Result:
        b2.prefs.codegen.target = "cython"
        began = time.perf_counter()
        brian = srl.to_brian(net, record=False)
        built = time.perf_counter() - began
        brian.run(check)
        compiled, events = time.perf_counter() - began - built, brian.events
        steps, times = round(seconds / DT), []
        for _ in range(rounds):  # goes on from where the last run stopped: rates are stationary
            began = time.perf_counter()
            brian.run(steps)
            times.append((time.perf_counter() - began) / seconds)
        return Result(float(np.median(times)), built, compiled, events)


class Standalone(Cython):
    """Brian2 as a C++ program of its own: its loop's time as the program reports it, building and compiling apart."""

    name = "Brian2 C++ standalone"

    def available(self) -> str:
        return "" if shutil.which("g++") and shutil.which("make") else "not installed (g++ and make)"

    def run(self, net: srl.Network, seconds: float, check: int, rounds: int) -> Result:
        folder, seconds = Path(tempfile.mkdtemp()), max(seconds, check * DT)
        try:
            times, built, compiled, events = self._program(net, round(seconds / DT), folder, rounds)
        finally:
            b2.device.reinit()
            b2.set_device("runtime")
            shutil.rmtree(folder, ignore_errors=True)
        early = events.time < check
        events = Events(*(part[early] for part in (events.time, events.batch, events.unit, events.value)))
        return Result(float(np.median(times)) / seconds, built, compiled, events)

    def _program(self, net: srl.Network, steps: int, folder: Path, rounds: int) -> tuple[list[float], float, float, Any]:
        b2.set_device("cpp_standalone", directory=str(folder), build_on_run=False)
        device: Any = b2.device
        device.reinit()
        device.activate(directory=str(folder), build_on_run=False)
        began = time.perf_counter()
        brian = srl.to_brian(net, record=False).run(steps)
        built = time.perf_counter() - began
        device.build(directory=str(folder), compile=True, run=False)
        compiled, times = time.perf_counter() - began - built, []
        for _ in range(rounds):
            device.run(str(folder), with_output=False, run_args=[])
            times.append(float(device._last_run_time))
        return times, built, compiled, brian.events


def compare(units: int, synapses: int, rate: float, seconds: float, check: float, rounds: int) -> list[dict[str, Any]]:
    """One row a simulator; agreement is that of all spikes of the first ``check`` seconds with spikertrl's."""
    W = weights(units, synapses)
    began = time.perf_counter()
    net = network(W, 0.02)
    simulator(net)
    ready = time.perf_counter() - began
    found = set_rate(net, rate)
    rows, reference = [], None
    for peer in (Ours(), Cython(), Standalone()):
        row: dict[str, Any] = {"sweep": "lif", "peer": peer.name, "network": "lif", "claim": "simulation", "units": units}
        row |= {"synapses": units * synapses, "rate_hz": found, "steps": round(seconds / DT), "note": peer.available()}
        rows.append(row)
        if row["note"]:
            continue
        try:
            result = peer.run(net, seconds, round(check / DT), rounds)
        except Exception as error:  # a row, whatever a library raises
            row["note"] = f"failed: {type(error).__name__}: {str(error)[:120]}"
            continue
        row |= {
            "s_per_s": result.seconds,
            "built_s": result.built or ready,
            "first_call_s": result.compiled,
            "spikes": len(result.events),
        }
        reference = reference or result.events
        row["same_spikes"] = _same(result.events, reference)
    return rows


def _same(found: Any, expected: Any) -> float:
    """Share of the expected spikes that are found at the same step of the same neuron."""
    a, b = ({*zip(e.time.tolist(), e.unit.tolist(), strict=True)} for e in (found, expected))
    return len(a & b) / max(1, len(a | b))
