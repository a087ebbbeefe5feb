"""Spike for spike against Brian2: recurrent weights, delays, refractoriness, 1000 steps.

A Brian2 delay of k steps is a delay of k + 1 here, and the input x(t), delivered before the update of step t, is there a spike
sent at step t - 1. In both, a step then is: update, threshold, synapses, reset.
"""

from __future__ import annotations

from typing import NamedTuple

import brian2 as b2
import numpy as np
import pytest

import spikertrl as srl

UNITS, CHANNELS, STEPS, DT = 20, 6, 1000, 0.5e-3


class Wiring(NamedTuple):
    """Weights and delays (Brian2's, in steps) that both programs get, and input spikes (T, channels)."""

    w_in: np.ndarray
    w: np.ndarray
    mask: np.ndarray
    delay: np.ndarray
    x: np.ndarray


def wiring(excitation: float, recurrence: float, seed: int = 0) -> Wiring:
    rng = np.random.default_rng(seed)
    mask = rng.random((UNITS, UNITS)) < 0.3
    x = (rng.random((STEPS, CHANNELS)) < 0.12).astype(float)
    x[0] = 0.0  # Brian2 has no step before its first
    return Wiring(
        excitation * rng.random((UNITS, CHANNELS)),
        recurrence * rng.normal(size=(UNITS, UNITS)),
        mask,
        rng.integers(0, 5, (UNITS, UNITS)),
        x,
    )


def ours(name: str, port: str, wires: Wiring, **parameters: object) -> srl.Run:
    net = (
        srl.Network("float64", dt=DT)
        .add_input("x", CHANNELS, kind="event")
        .add_population("h", srl.models.load(name), UNITS, **parameters)
    )
    net.connect("x", "h", weight=wires.w_in).connect(
        "h", "h", mask=wires.mask, weight=wires.w, delay=wires.delay + 1
    ).initialize(0)
    assert net.projections[0].ports == (port,)
    return srl.simulate(net, wires.x)


def brian(group: b2.NeuronGroup, receive: str, unit: b2.Unit | float, wires: Wiring, watched: str) -> tuple[set, np.ndarray]:
    """Spikes as (step, unit) pairs, and one variable (T, n) after the update of each step."""
    times, channels = np.nonzero(wires.x)
    source = b2.SpikeGeneratorGroup(CHANNELS, channels, (times - 1) * DT * b2.second, dt=DT * b2.second)
    feed = b2.Synapses(source, group, f"weight : {'volt' if unit is b2.volt else '1'}", on_pre=receive, dt=DT * b2.second)
    feed.connect()
    feed.weight = wires.w_in[feed.j[:], feed.i[:]] * unit
    loop = b2.Synapses(group, group, feed.equations, on_pre=receive, dt=DT * b2.second)
    post, pre = np.nonzero(wires.mask)
    loop.connect(i=pre, j=post)
    loop.weight = wires.w[post, pre] * unit
    loop.delay = wires.delay[post, pre] * DT * b2.second
    spikes = b2.SpikeMonitor(group)
    state = b2.StateMonitor(group, watched, record=True, when="thresholds", dt=DT * b2.second)
    b2.Network(group, source, feed, loop, spikes, state, group.contained_objects).run(STEPS * DT * b2.second)
    steps = np.rint(np.asarray(spikes.t) / DT).astype(int)
    return set(zip(steps.tolist(), np.asarray(spikes.i).tolist(), strict=True)), np.asarray(getattr(state, watched)).T


@pytest.fixture(autouse=True)
def numpy_target():
    old = b2.prefs.codegen.target
    b2.prefs.codegen.target = "numpy"
    yield
    b2.prefs.codegen.target = old


def same(run: srl.Run, spikes: set, watched: str, values: np.ndarray) -> None:
    """Every spike, and the variable to rounding, which differs by the order of sums."""
    found = set(zip(run.events.time.tolist(), run.events.unit.tolist(), strict=True))
    first = min(found ^ spikes, default=None)
    assert first is None, f"first difference at (step, unit) {first}, {len(found ^ spikes)} in all of {len(spikes)}"
    assert 300 < len(spikes) < STEPS * UNITS / 3 and len({unit for _, unit in spikes}) == UNITS
    np.testing.assert_allclose(run.states["h"][watched][:, 0], values, rtol=1e-9, atol=1e-9 * np.abs(values).max())


def namespace(name: str, **changes: str) -> dict[str, object]:
    texts = {n: p.default for n, p in srl.models.load(name).parameters.items()} | changes
    return {n: eval(v, {}, {**vars(b2)}) if isinstance(v, str) else v for n, v in texts.items()}


def group_of(name: str, **changes: str) -> b2.NeuronGroup:
    """The model's own text in Brian2."""
    model = srl.models.load(name)
    group = b2.NeuronGroup(
        UNITS,
        model.equations,
        threshold=model.threshold,
        reset=model.reset,
        refractory=model.refractory or False,
        method=model.method,
        namespace=namespace(name, **changes),
        dt=DT * b2.second,
    )
    for state, record in model.states.items():
        if record.initial:
            setattr(group, state, eval(record.initial, {}, {**vars(b2)}))
    return group


@pytest.mark.parametrize("t_ref", ["0*ms", "2*ms", "3.5*ms"])
def test_lif(t_ref: str) -> None:
    wires = wiring(25e-3, 8e-3)
    run = ours("lif", "v", wires, t_ref=t_ref)
    spikes, v = brian(group_of("lif", t_ref=t_ref), "v_post += weight", b2.volt, wires, "v")
    same(run, spikes, "v", v)


def test_adex() -> None:
    wires = wiring(35e-3, 10e-3)
    spikes, v = brian(group_of("adex"), "v_post += weight", b2.volt, wires, "v")
    same(ours("adex", "v", wires), spikes, "v", v)


DISCRETE = {
    "alif": ("v", 0.8, "v = alpha*v + I - v_th*y; a = rho*a + y", "v - v_th - beta*a > 0", "v : 1\na : 1"),
    "cuba_lif": ("i", 0.12, "i_s = alpha_s*i_s + I; v = alpha*v + i_s - v_th*y", "v - v_th > 0", "v : 1\ni_s : 1"),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_update_models(name: str) -> None:
    """Update statements as a regular operation: y is set by the reset, and read and cleared by the next update."""
    port, strength, update, threshold, variables = DISCRETE[name]
    group = b2.NeuronGroup(
        UNITS, variables + "\ny : 1\nI : 1", threshold=threshold, reset="y = 1", namespace=namespace(name), dt=DT * b2.second
    )
    group.run_regularly(update.replace("; ", "\n") + "\nI = 0\ny = 0", when="groups", dt=DT * b2.second)
    wires = wiring(strength, strength / 4)
    spikes, v = brian(group, "I_post += weight", 1.0, wires, "v")
    same(ours(name, port, wires), spikes, "v", v)


def test_the_comparison_sees_what_it_compares() -> None:
    """One delay or the recurrent weights changed, and the spikes are others."""
    wires = wiring(25e-3, 8e-3)
    events = [ours("lif", "v", w).events for w in (wires, wires._replace(delay=wires.delay + 1), wires._replace(w=0 * wires.w))]
    found = [set(zip(e.time.tolist(), e.unit.tolist(), strict=True)) for e in events]
    assert len(found[0] ^ found[1]) > 20 and len(found[0] ^ found[2]) > 20
