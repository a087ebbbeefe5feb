"""Parts of a script one by one, against Brian2: inputs of every kind, subgroups, messages with a state, regular operations."""

from __future__ import annotations

from typing import Any

import brian2 as b2
import numpy as np
import pytest
from brian2 import Hz, ms, mV

import spikertrl as srl

DT = 1e-4


def both(
    objects: list[Any], group: b2.NeuronGroup, steps: int = 300, watched: str = "v", **options: Any
) -> srl.ImportedNetwork:
    """Run both sides; spikes equal, the watched variable equal to rounding; returns the imported network."""
    monitor = b2.SpikeMonitor(group)
    state = b2.StateMonitor(group, watched, record=True, when="after_thresholds")
    brian = b2.Network(*objects, monitor, state)
    net = srl.from_brian(brian, **options)
    brian.run(steps * DT * b2.second)
    run = srl.simulate(net, net.brian_inputs(steps))
    step, _, unit = np.nonzero(run.messages[group.name])
    found = set(zip(step.tolist(), unit.tolist(), strict=True))
    wanted = set(zip(np.rint(np.asarray(monitor.t) / DT).astype(int).tolist(), np.asarray(monitor.i).tolist(), strict=True))
    assert found == wanted and len(wanted) > 5
    values = np.asarray(getattr(state, watched)).T
    np.testing.assert_allclose(run.states[group.name][watched][:, 0], values, rtol=1e-9, atol=1e-9 * np.abs(values).max())
    return net


def leaky(n: int = 4, **options: Any) -> b2.NeuronGroup:
    return b2.NeuronGroup(
        n, "dv/dt = -v/(10*ms) : 1", **{"threshold": "v > 1", "reset": "v = 0", "method": "exact", "name": "cells"} | options
    )


@pytest.mark.slow
def test_poisson_input_and_its_subgroup() -> None:
    group = leaky()
    certain = b2.PoissonInput(group[1:3], "v", N=3, rate=1 / (DT * b2.second), weight=0.02)  # three spikes in every step
    text = b2.PoissonInput(group, "v", N=1, rate=1 / (DT * b2.second), weight="0.02*(i + 1)/4")
    net = both([group, certain, text], group)
    start = net.inputs[certain.name].start
    assert net.brian_inputs(2)[:, 0, start : start + 2].tolist() == [[3.0, 3.0]] * 2 and net.inputs[text.name].size == 4


def test_poisson_input_draws_its_rate() -> None:
    group = leaky()
    net = srl.from_brian([group, b2.PoissonInput(group, "v", N=100, rate=50 * Hz, weight=0.02)])
    x = net.brian_inputs("1*second", batch=3, seed=1)
    assert x.shape == (10_000, 3, 4) and x.mean() == pytest.approx(100 * 50 * DT, rel=0.02)
    assert np.array_equal(x, net.brian_inputs(10_000, batch=3, seed=1)) and not np.array_equal(
        x, net.brian_inputs(10_000, batch=3, seed=2)
    )
    assert not np.array_equal(x[:, 0], x[:, 1])
    later = net.brian_inputs("1*second", batch=3, seed=1, start="1*second")  # noise of its own, and the same every time
    assert later.mean() == pytest.approx(100 * 50 * DT, rel=0.02) and not np.array_equal(x, later)
    assert np.array_equal(later, net.brian_inputs(10_000, batch=3, seed=1, start=10_000))
    for wrong in ({"start": -1}, {"start": 1.5}, {"start": [1, 2]}, {"batch": 0}, {"seed": None}, {"start": 3 * mV}):
        with pytest.raises(ValueError, match=r"start|batch|seed"):
            net.brian_inputs(5, **wrong)
    with pytest.raises(ValueError, match="duration"):
        net.brian_inputs(0)


def test_poisson_groups_draw_their_rates() -> None:
    group = leaky()
    wave = b2.TimedArray(np.array([0, 200, 0]) * Hz, dt=20 * ms, name="wave")
    timed = b2.PoissonGroup(30, "wave(t)*(1 + int(i >= 15))", name="timed", namespace={"wave": wave})
    fixed = b2.PoissonGroup(2, np.array([0, 300]) * Hz, name="fixed")
    feeds = [b2.Synapses(g, group, on_pre="v += 0.1", name=f"from_{g.name}") for g in (timed, fixed)]
    for feed in feeds:
        feed.connect()
    net = srl.from_brian([group, timed, fixed, *feeds])
    x = net.brian_inputs("60*ms", batch=200)
    part = {name: x[:, :, i.start : i.start + i.size] for name, i in net.inputs.items()}
    assert part["fixed"][:, :, 0].sum() == 0 and part["fixed"][:, :, 1].mean() == pytest.approx(300 * DT, rel=0.05)
    assert part["timed"][:200].sum() == part["timed"][400:].sum() == 0
    assert part["timed"][200:400, :, :15].mean() == pytest.approx(200 * DT, rel=0.05)
    timed_at = net.inputs["timed"].start
    later = [net.brian_inputs(100, batch=200, start=start)[:, :, timed_at : timed_at + 15] for start in (300, 400)]
    assert later[0].mean() == pytest.approx(200 * DT, rel=0.05) and later[1].sum() == 0
    assert part["timed"][200:400, :, 15:].mean() == pytest.approx(400 * DT, rel=0.05)


@pytest.mark.slow
def test_spike_generator_with_a_period() -> None:
    group = leaky()
    source = b2.SpikeGeneratorGroup(3, [0, 1, 2, 0], [0, 0.1, 2.05, 3] * ms, period=5 * ms, name="source")
    feed = b2.Synapses(source, group, "w : 1", on_pre="v += w", name="feed")
    feed.connect()
    feed.w, feed.delay = "0.3 + 0.1*j", "j*0.2*ms"
    net = both([group, source, feed], group)
    whole = net.brian_inputs(200)
    assert whole.sum() == 16
    for cut in (1, 30, 50, 99, 130):
        np.testing.assert_array_equal(net.brian_inputs(200 - cut, start=cut), whole[cut:])
        np.testing.assert_array_equal(net.brian_inputs(200 - cut, start=cut * DT * b2.second), whole[cut:])


def test_timed_arrays_of_one_and_two_dimensions() -> None:
    rng = np.random.default_rng(0)
    space = {"one": b2.TimedArray(rng.random(30) * 20 * mV, dt=1 * ms, name="one"),
             "two": b2.TimedArray(rng.random((60, 5)) * 30 * mV, dt=0.5 * ms, name="two")}  # fmt: skip
    eqs = """
    dv/dt = (drive - v)/(10*ms) : volt
    drive = one(t) + two(t, i) + 5*mV*sin(2*pi*100*Hz*t + i) : volt
    """
    group = b2.NeuronGroup(5, eqs, threshold="v > 12*mV", reset="v = 0*mV", method="rk4", namespace=space, name="cells")
    net = both([group], group)
    assert {i.kind for i in net.inputs.values()} == {"analog"} and sum(i.size for i in net.inputs.values()) >= 6
    x = net.brian_inputs(10)
    first = next(iter(net.inputs.values()))
    first_run = srl.simulate(net, net.brian_inputs(170))  # and a second stretch goes on where the first ended
    rest = srl.simulate(net, net.brian_inputs(130, start=first_run.state), state=first_run.state)
    whole = srl.simulate(net, net.brian_inputs(300))
    for stretch, part in ((slice(170), first_run), (slice(170, None), rest)):
        np.testing.assert_array_equal(part.states["cells"]["v"], whole.states["cells"]["v"][stretch])
    silent = net.brian_inputs(10, replace={first.name: 0 * x[:, :, : first.size]})
    assert not silent[:, :, : first.size].any() and np.array_equal(silent[:, :, first.size :], x[:, :, first.size :])


def test_a_message_that_carries_a_state() -> None:
    eqs = "dv/dt = (1.5 - v)/(10*ms) : 1\ndu/dt = (1 - u)/(50*ms) : 1\ndg/dt = -g/(5*ms) : 1"
    group = b2.NeuronGroup(6, eqs, threshold="v + 0.1*g > 1", reset="v = 0; u *= 0.6", method="euler", name="cells")
    group.v, group.u = "i/6.0", 1
    S = b2.Synapses(group, group, "w : 1", on_pre="g_post += w*u_pre", name="S")
    S.connect(condition="i != j")
    S.w = "0.5*rand()"
    monitor = b2.StateMonitor(group, "g", record=True, when="after_thresholds")
    brian = b2.Network(group, S, monitor)
    net = srl.from_brian(brian, trainable=[S.w])
    assert net.populations["cells"].model.message == "u * spike"
    brian.run(300 * DT * b2.second)
    run = srl.simulate(net, net.brian_inputs(300))
    assert set(np.unique(run.messages["cells"]).tolist()) > {0.0} and (run.messages["cells"] != 0).sum() > 10
    np.testing.assert_allclose(run.states["cells"]["g"][:, 0], np.asarray(monitor.g).T, rtol=1e-9, atol=1e-12)
    target = np.ones((300, 1, 1))
    net.add_readout("z", "cells", 1, decay=0.9)
    grads = [srl.gradient(net, r, net.brian_inputs(300), srl.losses.squared_error(target))[1] for r in (srl.RTRL(), srl.BPTT())]
    assert np.abs(grads[0]).max() > 1e-3
    np.testing.assert_allclose(grads[0], grads[1], rtol=1e-10, atol=1e-12)


def test_regular_operations_before_and_after_the_update() -> None:
    group = b2.NeuronGroup(
        4, "dv/dt = (I - v)/(10*ms) : 1\nI : 1\nhigh : 1", threshold="v > 1 + 0.1*int(i > 1)", reset="v = 0",
        method="euler", name="cells",
    )  # fmt: skip
    group.run_regularly("high = clip(high + 0.01*v, 0, 2)", when="after_groups")
    group.run_regularly("I = 1.2 + 0.2*i - 0.1*high", when="start")
    both([group], group)


def test_constants_over_a_step_and_shared_parameters() -> None:
    eqs = """
    dv/dt = (pull - v)/tau : 1
    pull = 1.5 + 0.1*i - 0.1*v : 1 (constant over dt)
    tau : second (shared, constant)
    """
    group = b2.NeuronGroup(3, eqs, threshold="v > 1", reset="v = 0", method="euler", name="cells")
    group.tau = 5 * ms
    both([group], group)


def test_a_group_without_threshold_sends_its_first_variable() -> None:
    """The way to train on a membrane: a readout hears it as a graded message."""
    group = b2.NeuronGroup(2, "dv/dt = (1 - v)/(10*ms) : 1", method="exact", name="membrane")
    net = srl.from_brian([group])
    run = srl.simulate(net, net.brian_inputs(50))
    np.testing.assert_allclose(
        run.messages["membrane"][:, 0], 1 - np.exp(-np.arange(1, 51) * DT / 0.01)[:, None] * np.ones(2), rtol=1e-12
    )


@pytest.mark.slow
def test_words_of_our_own_are_renamed() -> None:
    """Names that mean something here are legal in Brian2."""
    eqs = "dy/dt = (bias - y)/tau : 1 (unless refractory)\nbias : 1 (constant)\ntau : second (constant)"
    group = b2.NeuronGroup(3, eqs, threshold="y > 1", reset="y = 0", refractory="tau/5", method="exact", name="cells")
    group.bias, group.tau = "1.5 + 0.1*i", "(5 + i)*ms"
    monitor = b2.SpikeMonitor(group)
    brian = b2.Network(group, monitor)
    net = srl.from_brian(brian)
    brian.run(300 * DT * b2.second)
    assert net.populations["cells"].cell.memory == ("y_",)
    assert int((srl.simulate(net, net.brian_inputs(300)).messages["cells"] != 0).sum()) == monitor.num_spikes > 5


def test_input_that_does_not_fit_is_refused() -> None:
    group = leaky()
    source = b2.PoissonGroup(3, 10 * Hz, name="source")
    feed = b2.Synapses(source, group, on_pre="v += 0.1", name="feed")
    feed.connect()
    net = srl.from_brian([group, source, feed])
    with pytest.raises(ValueError, match="replace names 'sauce'; inputs here"):
        net.brian_inputs(5, replace={"sauce": np.zeros((5, 3))})
    with pytest.raises(ValueError, match=r"has shape \(5, 1, 2\); legal: \(5, 1, 3\)"):
        net.brian_inputs(5, replace={"source": np.zeros((5, 2))})
    net.add_input("mine", 2)
    with pytest.raises(ValueError, match="'mine' does not come from Brian2"):
        net.brian_inputs(5)
    assert net.brian_inputs(5, replace={"mine": np.ones((5, 2))}).shape == (5, 1, 5)


def test_surrogates_and_scales_of_each_group_and_float32() -> None:
    first, second = leaky(name="first"), leaky(name="second", reset="v = -1")
    S = b2.Synapses(first, second, "w : 1", on_pre="v_post += w", name="S")
    S.connect()
    chosen = {first: srl.surrogates.boxcar(0.7, 0.3), "second": srl.surrogates.triangle(0.2, 0.4)}
    net = srl.from_brian([first, second, S], [S.w], surrogate=chosen, threshold_scale={second: 3.0}, dtype="float32")
    assert [p.model.surrogate.name for p in net.populations.values()] == ["boxcar", "triangle"]
    assert [p.parameters["threshold_scale"] for p in net.populations.values()] == [1.0, 3.0]
    usual = srl.from_brian([first, second, S])
    assert [p.parameters["threshold_scale"] for p in usual.populations.values()] == [
        1.0,
        2.0,
    ]  # from the reset to the threshold
    assert net.theta.dtype == np.float32 and usual.theta.dtype == np.float64
    with pytest.raises(ValueError, match="wrong unit"):
        srl.from_brian([first], threshold_scale=3 * mV)


@pytest.mark.slow
def test_numbers_of_synapses_in_a_weight() -> None:
    eqs = "dv/dt = (1.2 - v + g)/(20*ms) : 1 (unless refractory)\ndg/dt = -g/(5*ms) : 1"
    options = {"threshold": "v > 1", "reset": "v = 0", "refractory": "(2 + i)*ms", "method": "exact", "name": "cells"}
    group = b2.NeuronGroup(10, eqs, **options)
    S = b2.Synapses(group[:6], group[2:], "w : 1", on_pre="g_post += w/N_incoming*N_outgoing\nv_post -= 0.01*w", name="S")
    S.connect(p=0.5)
    S.w, S.delay = "rand()", 1.5 * ms
    net = both([group, S], group, steps=600)
    assert net.projections[0].ports == ("g", "v")


def test_a_conductance_based_neuron() -> None:
    """Hodgkin and Huxley's gates, by exponential Euler."""
    eqs = """
    dv/dt = (0.1*(-65 - v) + 100*m**3*h*(50 - v) + 30*n**4*(-90 - v) + I)/ms : 1
    dm/dt = (0.32*(-50 - v)/(exp((-50 - v)/4) - 1)*(1 - m) - 0.28*(v + 23)/(exp((v + 23)/5) - 1)*m)/ms : 1
    dn/dt = (0.032*(-48 - v)/(exp((-48 - v)/5) - 1)*(1 - n) - 0.5*exp((-53 - v)/40)*n)/ms : 1
    dh/dt = (0.128*exp((-46 - v)/18)*(1 - h) - 4*h/(1 + exp((-23 - v)/5)))/ms : 1
    I : 1 (constant)
    """
    group = b2.NeuronGroup(3, eqs, threshold="v > -20", refractory=3 * ms, method="exponential_euler", name="cells")
    group.v, group.I, group.h = -65, "4 + 3*i", 1
    net = both([group], group)
    assert net.populations["cells"].cell.memory == ("h", "m", "n", "v")
