"""Quadratic neurons, near and past the point where they run away: what differs from Brian2 is rounding, and infinity is said.

A reset that subtracts does not bring back a quadratic neuron that is far above its threshold: it grows without bound within
a few steps. Brian2 goes on with infinity, which is above every threshold, and counts a spike at every step.
"""

from __future__ import annotations

import brian2 as b2
import numpy as np
import pytest
from brian2 import ms, mV, second

import spikertrl as srl
from spikertrl.simulation import SimulationDiverged
from tolerances import EVERY_STEP, VALUES64

DT, STEPS, N = 1e-4, 200, 12


def quadratic(weight: float, ulp: int = 0) -> tuple[b2.Network, b2.StateMonitor, b2.SpikeMonitor]:
    """rk4, a TimedArray of two dimensions read by i, a refractory time of 0, delays; ``ulp``: steps from the start values."""
    b2.seed(1)
    rng = np.random.default_rng(1)
    drive = b2.TimedArray(rng.normal(20, 200, (60, N)) * mV, dt=0.5 * ms, name="drive")
    eqs = """
    dv/dt = (a*(v + 65*mV)*(v + 45*mV)/mV + drive(t, i))/tau : volt (unless refractory)
    tau : second (constant)
    a : 1 (constant)
    """
    cells = b2.NeuronGroup(N, eqs, threshold="v > -30*mV", reset="v -= 25*mV", refractory=0 * second, method="rk4",
                           namespace={"drive": drive}, name="cells")  # fmt: skip
    cells.v = rng.uniform(-70, -50, N) * (1 + ulp * 2.0**-52) * mV
    cells.tau, cells.a = rng.uniform(5, 20, N) * ms, rng.uniform(0.02, 0.5, N)
    among = b2.Synapses(cells, cells, "w : volt", on_pre="v_post += w", name="among")
    among.connect(p=0.4)
    among.w, among.delay = f"{weight}*mV*randn()", "2*ms*rand()"
    v = b2.StateMonitor(cells, "v", record=True, when="after_thresholds")
    spikes = b2.SpikeMonitor(cells)
    return b2.Network(cells, among, v, spikes), v, spikes


def spike_table(spikes: b2.SpikeMonitor) -> np.ndarray:
    found = np.zeros((STEPS, N), bool)
    found[np.rint(np.asarray(spikes.t) / DT).astype(int), np.asarray(spikes.i)] = True
    return found


@pytest.mark.slow
def test_what_differs_is_rounding() -> None:
    """The same spikes, and voltages that differ no more than Brian2's own do when they start one unit in the last place off."""
    brian, v, spikes = quadratic(3.0)
    net = srl.from_brian(brian)
    brian.run(STEPS * DT * second)
    again, moved, _ = quadratic(3.0, ulp=1)
    again.run(STEPS * DT * second)
    run = srl.simulate(net, net.brian_inputs(STEPS))
    np.testing.assert_array_equal(run.messages["cells"][:, 0] != 0, spike_table(spikes))
    assert len(spikes) > 10
    known = np.asarray(v.v).T
    scale = np.abs(known).max()
    ours, own = (np.abs(x - known) for x in (run.states["cells"]["v"][:, 0], np.asarray(moved.v).T))
    assert 0 < ours.max() < min(EVERY_STEP * own.max(), VALUES64 * scale)
    assert ours[np.flatnonzero(ours.max(1))[0]].max() <= 4 * np.spacing(scale), "it begins with a last place, not with a jump"


@pytest.mark.slow
def test_a_neuron_that_runs_away_is_said_at_the_step_where_brian_has_infinity() -> None:
    brian, v, spikes = quadratic(30.0)
    net = srl.from_brian(brian)
    with np.errstate(over="ignore", invalid="ignore"):
        brian.run(STEPS * DT * second)
    finite = np.isfinite(np.asarray(v.v)).all(0)
    step = int(np.argmin(finite))
    unit = int(np.argmin(np.isfinite(np.asarray(v.v))[:, step]))
    assert 20 < step < STEPS - 20 and spike_table(spikes)[step + 1 :, unit].all(), "Brian2 counts its spikes for ever"
    with pytest.raises(SimulationDiverged, match=f"state v of population 'cells', unit {unit}, lane 0 is inf at step {step};"):
        srl.simulate(net, net.brian_inputs(STEPS))
    run = srl.simulate(net, net.brian_inputs(step))
    np.testing.assert_array_equal(run.messages["cells"][:, 0] != 0, spike_table(spikes)[:step])
