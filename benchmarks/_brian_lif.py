"""Plain simulation of sparse recurrent networks of spiking neurons, spikes only: spikertrl, and Brian2 at run time and as C++.

Every neuron has its own constant drive; four fifths excite, one fifth inhibits; every neuron hears the same number of others.
The drive is found by bisection so that the mean rate is about the wanted one. dt = 0.1 ms, float64. The kinds:

- ``lif``: voltages jump, inhibition is five times as strong, a delay of 1.5 ms;
- ``delays``: the same, and every synapse has a delay of its own, 0.1 to 2 ms;
- ``coba``: excitatory and inhibitory conductances that decay (benchmark 1 of Brette et al. 2007), a delay of 1.5 ms;
- ``coba_delays``: the same, and every synapse has a delay of its own, 0.1 to 2 ms.

All build first; then they take turns, round after round.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brian2 as b2
import numpy as np
from scipy import sparse

import spikertrl as srl
from spikertrl.model import Model, Parameter, Port, State
from spikertrl.simulation.recording import Events
from spikertrl.simulation.run import simulator

Rows = list[dict[str, Any]]
DT = 1e-4
SPIKES = srl.Record(states=False, messages=False)


COBA = Model(
    name="coba",
    summary="leaky integrate-and-fire neuron with two conductances that decay",
    equations="""
    dv/dt = (g_e*(e_e - v) + g_i*(e_i - v) + v_rest - v)/tau : volt (unless refractory)
    dg_e/dt = -g_e/tau_e : 1
    dg_i/dt = -g_i/tau_i : 1
    """,
    threshold="v > v_th",
    reset="v = v_reset",
    refractory="t_ref",
    receive="g_e += I_e; g_i += I_i",
    method="exponential_euler",
    message="event((v - v_th)/dv)",
    states={
        "v": State("-60*mV", unit="volt", meaning="membrane voltage"),
        "g_e": State(meaning="excitatory conductance, in units of the leak"),
        "g_i": State(meaning="inhibitory conductance, in units of the leak"),
    },
    ports={
        "e": Port(kind="both", meaning="step of the excitatory conductance"),
        "i": Port(kind="both", meaning="step of the inhibitory conductance"),
    },
    parameters={
        "tau": Parameter("20*ms", unit="second", meaning="membrane time constant"),
        "tau_e": Parameter("5*ms", unit="second", meaning="time constant of excitation"),
        "tau_i": Parameter("10*ms", unit="second", meaning="time constant of inhibition"),
        "e_e": Parameter("0*mV", unit="volt", meaning="reversal voltage of excitation"),
        "e_i": Parameter("-80*mV", unit="volt", meaning="reversal voltage of inhibition"),
        "v_rest": Parameter("-60*mV", unit="volt", meaning="resting voltage"),
        "v_reset": Parameter("-60*mV", unit="volt", meaning="voltage after a spike"),
        "v_th": Parameter("-50*mV", unit="volt", meaning="threshold"),
        "t_ref": Parameter("5*ms", unit="second", meaning="refractory period"),
        "dv": Parameter("20*mV", unit="volt", meaning="voltage scale of the pseudo-derivative"),
    },
    surrogate=srl.surrogates.triangle(0.3, 1.0),
    reference="Brette et al. (2007), Simulation of networks of spiking neurons, J. Comput. Neurosci. 23:349-398",
)
KINDS = ("lif", "delays", "coba", "coba_delays")
# Resting voltages (V) between which the wanted rate lies.
DRIVES = {"lif": (0.018, 0.04), "delays": (0.018, 0.04), "coba": (-0.06, 0.0)}


@dataclass(frozen=True)
class Ready:
    """Seconds to build and to compile (with all that is paid once), the spikes of the check; ``turn()``: seconds of a run."""

    built: float
    compiled: float
    events: Any
    turn: Callable[[], float]


def sources(units: int, synapses: int) -> sparse.csr_matrix:
    """Whom every unit hears (post, pre), a fixed number a row, each entry 1."""
    rng = np.random.default_rng(3)
    heard = np.concatenate([np.sort(rng.choice(units, synapses, replace=False)) for _ in range(units)])
    return sparse.csr_matrix((np.ones(units * synapses), heard, np.arange(units + 1) * synapses), (units, units))


def network(kind: str, units: int, synapses: int) -> srl.Network:
    """Drives are spread by 2 mV; nothing is trained. Weights are those of a thousand (lif) or eighty (coba) synapses a unit."""
    cell, heard, rng, last = kind.split("_")[0], sources(units, synapses), np.random.default_rng(4), round(0.8 * units)
    own, coba = kind.endswith("delays"), cell == "coba"
    low, high = (-0.06, -0.0501) if coba else (0, 0.0199)
    start, rest = rng.uniform(low, high, units) * b2.volt, rng.uniform(-2e-3, 2e-3, units) * b2.volt
    net = srl.Network("float64", dt=DT)
    net.add_population("h", COBA if coba else srl.models.lif, units, v_rest=rest, initial={"v": start})

    def connect(name: str, mask: sparse.csr_matrix, value: np.ndarray | float, port: str) -> None:
        def over(values: Any) -> sparse.csr_matrix:
            return sparse.csr_matrix((np.broadcast_to(values, mask.nnz).copy(), mask.indices, mask.indptr), mask.shape)

        delay: Any = over(rng.integers(1, 21, mask.nnz)) if own else "1.5*ms"
        net.connect("h", "h", mask=mask, weight=over(value), delay=delay, trainable=False, ports=port, name=name)

    if coba:
        kept = sparse.csr_matrix(np.repeat([1.0, 0.0], [last, units - last]))
        excite = sparse.csr_matrix(heard.multiply(kept))
        excite.eliminate_zeros()
        connect("excite", excite, 0.6 * 80 / synapses, "e")
        inhibit = sparse.csr_matrix(heard - excite)
        inhibit.eliminate_zeros()
        connect("inhibit", inhibit, 6.7 * 80 / synapses, "i")
    else:
        connect("all", heard, np.where(heard.indices < last, 1.0, -5.0) * 1e-4 * 1000 / synapses, "v")
    return net.initialize(0)


def mean_rate(net: srl.Network, seconds: float = 0.2) -> float:
    """Hz, after the first 50 ms."""
    events = srl.simulate(net, steps=round((seconds + 0.05) / DT), record=SPIKES).events
    return float((events.time * DT >= 0.05).sum() / seconds / net.wiring.n_units)


def set_rate(net: srl.Network, rate: float, low: float, high: float) -> float:
    """Shift all drives so that the mean rate is about the wanted one; return the rate found."""
    rest = net.populations["h"].parameters["v_rest"]
    spread = rest - rest.mean()
    for _ in range(7):
        rest[...] = spread + (low + high) / 2
        low, high = (low, (low + high) / 2) if mean_rate(net) > rate else ((low + high) / 2, high)
    rest[...] = spread + high
    return mean_rate(net)


def timed(what: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


class Ours:
    """``simulate`` with spikes only."""

    name = "spikertrl simulate"

    def available(self) -> str:
        return ""

    def prepare(self, net: srl.Network, steps: int, check: int) -> Ready:
        began = time.perf_counter()
        events = srl.simulate(net, steps=check, record=SPIKES).events
        compiled = time.perf_counter() - began
        return Ready(0.0, compiled, events, lambda: timed(lambda: srl.simulate(net, steps=steps, record=SPIKES)))


class Standalone:
    """Brian2 as a C++ program of its own: its loop's time as the program reports it, building and compiling apart."""

    name = "Brian2 C++ standalone"

    def available(self) -> str:
        return "" if shutil.which("g++") and shutil.which("make") else "not installed (g++ and make)"

    def prepare(self, net: srl.Network, steps: int, check: int) -> Ready:
        self.folder = Path(tempfile.mkdtemp())
        b2.set_device("cpp_standalone", directory=str(self.folder), build_on_run=False)
        device: Any = b2.device
        try:
            device.reinit()
            device.activate(directory=str(self.folder), build_on_run=False)
            began = time.perf_counter()
            brian = srl.to_brian(net, record=False).run(max(steps, check))
            built = time.perf_counter() - began
            device.build(directory=str(self.folder), compile=True, run=False)
            compiled = time.perf_counter() - began - built
            device.run(str(self.folder), with_output=False, run_args=[])
            found = brian.events
        finally:
            device.reinit()
            b2.set_device("runtime")
        early = found.time < check
        events = Events(*(part[early] for part in (found.time, found.batch, found.unit, found.value)))
        return Ready(built, compiled, events, lambda: self._again() * steps / max(steps, check))

    def _again(self) -> float:
        subprocess.run(["./main"], cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        return float((self.folder / "results" / "last_run_info.txt").read_text().split()[0])

    def release(self) -> None:
        shutil.rmtree(getattr(self, "folder", ""), ignore_errors=True)


class Cython:
    """Brian2's runtime with Cython; the first run pays for compilation."""

    name = "Brian2 Cython runtime"

    def available(self) -> str:
        try:
            import Cython  # noqa: F401
        except ImportError:
            return "not installed (Cython)"
        return "" if shutil.which("g++") or shutil.which("clang++") else "not installed (a C++ compiler)"

    def prepare(self, net: srl.Network, steps: int, check: int) -> Ready:
        b2.prefs.codegen.target = "cython"
        began = time.perf_counter()
        brian = srl.to_brian(net, record=False)
        built = time.perf_counter() - began
        brian.run(check)
        compiled = time.perf_counter() - began - built
        # a turn goes on from where the last one stopped: rates are stationary
        return Ready(built, compiled, brian.events, lambda: timed(lambda: brian.run(steps)))


def compare(kind: str, units: int, synapses: int, rate: float, seconds: float, check: float, rounds: int) -> Rows:
    """One row a simulator; agreement is that of all spikes of the first ``check`` seconds with spikertrl's."""
    began = time.perf_counter()
    net = network(kind, units, synapses)
    simulator(net)
    ready = time.perf_counter() - began
    found, steps = set_rate(net, rate, *DRIVES[kind.split("_")[0]]), round(seconds / DT)
    rows, reference, turns = [], None, []
    standalone = Standalone()
    for peer in (Ours(), standalone, Cython()):
        row: dict[str, Any] = {"sweep": kind, "peer": peer.name, "network": kind, "claim": "simulation", "units": units}
        row |= {"synapses": units * synapses, "rate_hz": found, "steps": steps, "note": peer.available()}
        rows.append(row)
        if row["note"]:
            continue
        try:
            made = peer.prepare(net, steps, round(check / DT))
        except Exception as error:  # a row, whatever a library raises
            row["note"] = f"failed: {type(error).__name__}: {str(error)[:120]}"
            continue
        row |= {"built_s": made.built or ready, "first_call_s": made.compiled, "spikes": len(made.events)}
        reference = reference or made.events
        row["same_spikes"] = _same(made.events, reference)
        turns.append((row, made.turn, []))
    for _ in range(rounds):
        for _, turn, times in turns:
            times.append(turn() / seconds)
    for row, _, times in turns:
        row["s_per_s"], row["s_per_s_min"] = float(np.median(times)), min(times)
    standalone.release()
    return rows


def _same(found: Any, expected: Any) -> float:
    """Share of the expected spikes that are found at the same step of the same neuron."""
    a, b = ({*zip(e.time.tolist(), e.unit.tolist(), strict=True)} for e in (found, expected))
    return len(a & b) / max(1, len(a | b))
