"""Networks in which roundings grow: their import parts from Brian2 when Brian2 parts from itself."""

from __future__ import annotations

import brian2 as b2
import numpy as np
import pytest

import spikertrl as srl

STEPS, UNITS, ULP = 1500, 12, 2.0**-52


def simulated(seed: int, ulps: int) -> tuple[np.ndarray, b2.Network]:
    """Which of twelve quadratic neurons spiked when; all start ``ulps`` units of the last place above a drawn potential.

    They excite and inhibit each other after delays of their own, read a column each of a TimedArray, are reset by a difference
    and have a refractory time of 0 s; runge-kutta of fourth order.
    """
    rng = np.random.default_rng([seed, 4])
    b2.defaultclock.dt = 0.2 * b2.ms
    drawn = b2.TimedArray(rng.normal(0, 0.5, (160, UNITS)) * b2.mV, dt=1 * b2.ms)
    group = b2.NeuronGroup(
        UNITS,
        "dv/dt = (v*(v - 12*mV)/(25*mV) + 8*mV + x + drawn(t, i))/(4*ms) : volt (unless refractory)\ndx/dt = -x/(5*ms) : volt",
        threshold="v > 25*mV", reset="v -= 25*mV", refractory=0 * b2.second, method="rk4", namespace={"drawn": drawn},
    )  # fmt: skip
    group.v = rng.uniform(0, 20, UNITS) * 1e-3 * (1 + ulps * ULP) * b2.volt
    synapses = b2.Synapses(group, group, "w : volt", on_pre="v_post += w")
    i, j = np.nonzero(rng.random((UNITS, UNITS)) < 0.6)
    synapses.connect(i=i, j=j)
    synapses.w = rng.normal(1, 7, len(i)) * b2.mV
    synapses.delay = rng.uniform(0, 3, len(i)) * b2.ms
    monitor = b2.SpikeMonitor(group)
    network = b2.Network(group, synapses, monitor)
    imported = srl.from_brian(network) if not ulps else None
    network.run(STEPS * b2.defaultclock.dt)
    fired = np.zeros((STEPS, UNITS), bool)
    fired[np.rint(np.asarray(monitor.t) / 2e-4).astype(int), np.asarray(monitor.i)] = True
    return fired, imported


def parted(a: np.ndarray, b: np.ndarray) -> int:
    """The first step at which spikes differ."""
    return int(np.append(np.flatnonzero((a != b).any(1)), STEPS)[0])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 2, 5])
def test_an_import_parts_when_brian_parts_from_itself(seed: int) -> None:
    """One unit of the last place at the start is as much as another order of sums: both take as long to become a spike."""
    spikes, imported = simulated(seed, 0)
    run = srl.simulate(imported, imported.brian_inputs(STEPS))
    (messages,) = run.messages.values()
    twins = [parted(spikes, simulated(seed, ulps)[0]) for ulps in (1, -1, 2)]
    assert max(twins) < STEPS, "this network must be chaotic"
    assert 0.6 * min(twins) < parted(spikes, messages[:, 0] != 0) < STEPS
