"""Networks taken to Brian2 give the same events: every shipped model, mixed delays, refractoriness, excitation and inhibition.

Where numbers differ, it is by roundings: sums over synapses and terms of an update are added in another order, and numpy's exp
and tanh are not always the C library's. ``test_one_step`` says so step by step, ``test_no_rounding_no_difference`` to the bit.
"""

from __future__ import annotations

import brian2 as b2
import numpy as np
import pytest

import spikertrl as srl
from brian_networks import CASES
from networks import CORE, SMOOTH, marked, stacked
from spikertrl import Model, Parameter, Port, State
from tolerances import ONE_STEP, VALUES64

STEPS = 1000


@pytest.fixture(autouse=True)
def numpy_target():
    old = b2.prefs.codegen.target
    b2.prefs.codegen.target = "numpy"
    yield
    b2.prefs.codegen.target = old


def same_events(run: srl.Run, brian: srl.BrianNetwork, fewest: int) -> None:
    """Every event at the same step and unit with the same value, and enough of them to mean something."""
    ours, theirs = run.events, brian.events
    found, expected = (set(zip(e.time.tolist(), e.unit.tolist(), strict=True)) for e in (theirs, ours))
    first = min(found ^ expected, default=None)
    assert first is None, f"first difference at (step, unit) {first}, {len(found ^ expected)} in all of {len(expected)}"
    assert len(ours) >= fewest and len(set(ours.unit.tolist())) > 0.2 * sum(p.size for p in run.net.populations.values())
    np.testing.assert_allclose(theirs.value, ours.value, rtol=VALUES64, atol=VALUES64)


def same_states(run: srl.Run, brian: srl.BrianNetwork) -> None:
    for name, population in run.net.populations.items():
        for state in population.model.states:
            ours, theirs = run.states[name][state][:, 0], recorded(brian, name, state)
            np.testing.assert_allclose(theirs, ours, rtol=0, atol=VALUES64 * np.abs(ours).max(), err_msg=f"{name}.{state}")
    for name, z in run.readouts.items():
        np.testing.assert_allclose(np.asarray(brian.states[name].z).T, z[:, 0], rtol=0, atol=VALUES64 * np.abs(z).max())
        assert np.abs(z).max() > 0


def recorded(brian: srl.BrianNetwork, name: str, state: str) -> np.ndarray:
    """A state (T, n) that Brian2 recorded."""
    return np.asarray(getattr(brian.states[name], brian.names[name].get(state, state))).T


def signal(steps: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).normal(0.3, 1.0, (steps, channels))


def bounded(net: srl.Network, name: str) -> None:
    """No chaos, which would multiply roundings, and nothing that grows over a thousand steps."""
    if name in CORE:
        net.theta *= 0.8 if name in SMOOTH else 1.0
        return
    for (group, parameter), (part, _) in net.wiring.layout.items():
        if group in net.populations and parameter in net.populations[group].model.parameters:  # a leak of 1 or more would grow
            net.theta[part] = np.ravel(net.populations[group].parameters[parameter])
        elif "<-" in group:
            net.theta[part] *= CALM.get(name, 1.0)


CALM = dict.fromkeys(SMOOTH, 0.1) | {"izhikevich": 0.5}


@pytest.mark.parametrize("name", marked(srl.models.names()))
def test_every_model(name: str) -> None:
    """x -> a -> b with analog input, recurrent, masked, delays 1 to 7 within one projection; events, states, readouts."""
    net, x = stacked(name, "egru" if name != "egru" else "lif"), signal(STEPS)
    bounded(net, name)
    run, brian = srl.simulate(net, x), srl.to_brian(net, x).run()
    same_events(run, brian, 1000)
    same_states(run, brian)
    assert brian.events.time.max() == STEPS - 1 or run.net.populations["a"].cell.spiking


@pytest.mark.parametrize("name", ["lif", "adex", "egru"])
def test_one_step(name: str) -> None:
    """Each of 1000 steps, started from Brian2's own states and messages, differs by a few roundings and no more."""
    net, x = stacked(name, "threshold_rnn"), signal(STEPS)
    brian = srl.to_brian(net, x).run()
    w = net.wiring
    y = np.zeros((STEPS + w.history, w.n_units))
    y[brian.events.time + w.history, brian.events.unit] = brian.events.value
    state = srl.simulate(net, x[:STEPS, None].transpose(1, 0, 2)).state  # one step of 1000 lanes, to be overwritten
    for label, population in net.populations.items():
        refractory = "refractory_steps" in population.cell.states
        for j, s in enumerate(population.cell.states):
            start = population.initial.get(s, np.zeros(population.size))
            if s != "refractory_steps":
                state.states[label][:, j] = np.vstack([start, recorded(brian, label, s)[:-1]])
        if refractory:
            state.states[label][:, -1] = _counters(y[w.history :, population.start : population.start + population.size], 2)
    sent = np.stack([y[t : t + w.history] for t in range(STEPS)], axis=1)  # (history, lane = step, unit)
    late = np.vstack([np.zeros((w.history, x.shape[1])), x])
    given = np.stack([late[t : t + w.history] for t in range(STEPS)], axis=1)
    state.past.values[...] = np.concatenate([given, sent], axis=2)
    for h in range(w.history):
        for lane in range(STEPS):
            fired = np.flatnonzero(state.past.values[h, lane])
            state.past.fired[h, lane, : len(fired)], state.past.n_fired[h, lane] = fired, len(fired)
    run = srl.simulate(net, x[None], state=state)
    for label, population in net.populations.items():
        for s in population.model.states:
            ours, theirs = run.states[label][s][0], recorded(brian, label, s)
            assert np.abs(ours - theirs).max() <= ONE_STEP * np.abs(theirs).max(), f"{label}.{s}"
            assert np.ptp(theirs) > 0


def _counters(y: np.ndarray, steps: int) -> np.ndarray:
    """Refractory steps still to wait before each step, from the spikes (T, n)."""
    left = np.zeros_like(y)
    for t in range(1, len(y)):
        fired = y[t - 2] if t > 1 else np.zeros(y.shape[1])
        left[t] = np.where(fired > 0, steps - 1, np.maximum(left[t - 1] - 1, 0))
    return left


def test_no_rounding_no_difference() -> None:
    """Weights that are multiples of 1/1024 make every sum exact: then both agree in every bit, over all delays."""
    net = stacked("threshold_rnn", "threshold_rnn")
    net.theta[...] = np.rint(net.theta * 1024) / 1024
    x = np.rint(signal(STEPS) * 16) / 16
    run, brian = srl.simulate(net, x), srl.to_brian(net, x).run()
    same_events(run, brian, 1000)
    for name in ("a", "b"):
        assert np.array_equal(recorded(brian, name, "v"), run.states[name]["v"][:, 0])
    assert np.array_equal(np.asarray(brian.states["fast"].z).T, run.readouts["fast"][:, 0])


def mixed() -> tuple[srl.Network, np.ndarray]:
    """Excitatory and inhibitory refractory neurons, adaptive ones, a discrete one, delays 1 to 20; event input."""
    rng = np.random.default_rng(0)
    net = srl.Network("float64", dt="0.5*ms").add_input("x", 10, kind="event").add_input("late", 4, kind="event")
    lif = srl.models.lif
    net.add_population("e", lif, 40, t_ref=np.arange(40) % 8 * 0.5e-3 * b2.second, v_reset="5*mV")
    net.add_population("i", lif, 10, tau="10*ms", t_ref="1*ms").add_population("slow wave", srl.models.adex, 8)
    net.add_population("d", srl.models.cuba_lif, 6, v_th=rng.uniform(0.5, 1.5, 6))

    def weights(mean: float):
        return lambda rng, shape: mean * rng.random(shape)

    net.connect("x", "e", weight=weights(24e-3)).connect("x", "i", weight=weights(12e-3), delay=3)
    net.connect("late", "slow wave", weight=weights(30e-3), delay="2*ms").connect(
        "late", "e", weight=weights(5e-3), name="second"
    )
    delays = {n: rng.integers(1, 21, s) for n, s in (("ee", (40, 40)), ("ie", (10, 40)), ("ei", (40, 10)), ("we", (8, 40)))}
    net.connect("e", "e", density=0.2, weight=weights(6e-3), delay=delays["ee"])
    net.connect("e", "i", density=0.5, weight=weights(4e-3), delay=delays["ie"])
    net.connect("i", "e", density=0.5, weight=weights(-8e-3), delay=delays["ei"])
    net.connect("i", "i", weight=weights(-3e-3)).connect("e", "slow wave", weight=weights(5e-3), delay=delays["we"])
    net.connect("slow wave", "d", weight=weights(1.0)).connect("e", "d", weight=weights(0.1), delay=2)
    net.connect("d", "e", weight=weights(-2e-3), name="back").add_readout("z", "e", 2, decay=0.9).initialize(3)
    x = (np.random.default_rng(2).random((2000, 14)) < 0.06) * 1.0
    x[0] = 1.0  # Brian2's usual order has no step before its first; this one needs none
    return net, x


def test_mixed_populations() -> None:
    net, x = mixed()
    run, brian = srl.simulate(net, x), srl.to_brian(net, x).run()
    same_events(run, brian, 2000)
    same_states(run, brian)
    counts = [len(run.events.of(0, p.start, p.start + p.size)) for p in net.populations.values()]
    assert min(counts) > 100
    assert run.events.time.min() <= 1


USER = {
    "scaled input": {"receive": "v += 2*I_v; u += I_v"},
    "graded message": {"message": "v*event(v - 1)"},
    "other threshold": {"message": "event(u + v - 1.5)", "threshold": "v > 1"},
    "two conditions": {"threshold": "v >= 1 or u > 1.5"},
    "message of the spike": {"message": "u*spike", "threshold": "v > 1 and u > 0.2", "threshold_scale": "0.5"},
    "reset by message": {"reset": "v -= y"},
    "refractory": {"refractory": "3*ms", "equations": "dv/dt = (u - v)/tau : 1 (unless refractory)\ndu/dt = -u/(2*tau) : 1"},
    "graded and refractory": {
        "refractory": "3*ms",
        "message": "v*event(v - 1)",
        "receive": "v += I_v",
        "equations": "dv/dt = (u - v)/tau : 1 (unless refractory)\ndu/dt = (0.3 - u)/(2*tau) : 1",
    },
    "bias": {"ports": {"v": Port(bias=True)}},
    "functions": {"receive": "v += where(I_v > 0, sigmoid(I_v) - 0.5, clip(I_v, -0.5, 0))"},
    "held": {"reset": "v = 0; n += 1; v -= 0.01*n", "states": {"v": State(), "u": State(), "n": State(discrete=True)}},
}


SLOW = ("bias", "functions", "graded message", "other threshold", "scaled input")  # to compile


@pytest.mark.parametrize("case", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in USER])
def test_users_own_equations(case: str) -> None:
    """What a user may write: input that is scaled or clipped, graded messages, resets by message, reserved names."""
    fields = {
        "equations": "dv/dt = (u - v)/tau : 1\ndu/dt = -u/(2*tau) : 1",
        "threshold": "v > 1",
        "reset": "v = 0",
        "receive": "u += I_v",
        "method": "euler",
        "states": {"v": State(), "u": State(0.5)},
        "ports": {"v": Port()},
        "parameters": {"tau": Parameter("10*ms", unit="second")},
    }
    model = Model("mine", **fields | USER[case])
    net = srl.Network("float64").add_input("x", 3).add_population("h", model, 12, tau=np.linspace(5, 20, 12) * b2.ms)
    net.connect("x", "h", weight=lambda rng, shape: rng.normal(0.3, 0.5, shape))
    net.connect("h", "h", density=0.4, delay=np.random.default_rng(0).integers(1, 5, (12, 12)))
    net.add_readout("z", "h", 2).initialize(0)
    if case == "bias":
        net.view(net.theta)["h"]["bias_v"][...] = 0.02
    x = signal(400)
    run, brian = srl.simulate(net, x), srl.to_brian(net, x).run()
    same_events(run, brian, 30)
    same_states(run, brian)


IMPORTED = ["conductances", *(pytest.param(name, marks=pytest.mark.slow) for name in ("jeffress", "adaptive_threshold"))]


@pytest.mark.parametrize("name", IMPORTED)
def test_imported_and_back(name: str) -> None:
    """A network imported from Brian2 goes back there as a state update in statements."""
    b2.seed(1)
    dt, b2.defaultclock.dt = b2.defaultclock.dt, 0.1 * b2.ms
    net = srl.from_brian(b2.Network(*CASES[name]().objects))
    b2.defaultclock.dt = dt
    x = net.brian_inputs(STEPS)
    run, brian = srl.simulate(net, x), srl.to_brian(net, x).run()
    same_events(run, brian, 60)
    same_states(run, brian)


def test_graded_event_input_and_reserved_names() -> None:
    """Events with values need a TimedArray; a model whose names Brian2 keeps for itself or for synapses is renamed."""
    model = Model(
        "names", update="q = 0.8*q + I_v; N = where(q > 0, q, 0); i = 0.9*i + N - w_v*y", message="i*event(i - w_v)",
        states={"q": State(), "i": State()}, ports={"v": Port()}, parameters={"w_v": Parameter(0.7, trainable=True)},
    )  # fmt: skip
    net = srl.Network("float64").add_input("x", 3, kind="event").add_population("h", model, 10, initial={"i": 2.0})
    net.connect("x", "h", delay=np.arange(30).reshape(10, 3) % 4).connect("h", "h", delay=4).initialize(0)
    x = signal(STEPS) * (np.random.default_rng(5).random((STEPS, 3)) < 0.2)
    run, brian = srl.simulate(net, x), srl.to_brian(net, x).run()
    assert brian.names["h"] == {n: f"{n}_state" for n in ("i", "N", "w_v")}
    same_events(run, brian, 500)
    same_states(run, brian)


def test_go_on_in_brian() -> None:
    """The result is a plain network: one may add objects, change weights, run again."""
    net, x = mixed()
    brian = srl.to_brian(net, x[:200], record={"e": "v", "z": ["z"]})
    assert set(brian.states) == {"e", "z"} and brian.states["e"].record_variables == ["v"]
    rate = b2.PopulationRateMonitor(brian.groups["e"])
    brian.network.add(rate)
    brian.run()
    before = len(brian.events)
    assert before > 100 and len(rate.t) == 200
    brian.synapses["e<-x"].w_v = "w_v*2"
    brian.run(200)  # x is over: silence
    assert len(rate.t) == 400 and len(brian.events) >= before
    net.connect("d", "i", mask=np.zeros((10, 6)))  # a connection without synapses
    silent = srl.to_brian(net, record=False).run(50)
    assert len(silent.events) == 0 and not silent.states
    with pytest.raises(ValueError, match=r"run\(steps\)"):
        srl.to_brian(net).run()


def test_it_sees_what_it_compares() -> None:
    """Another delay, or other weights, and the events are others."""
    x = signal(200)
    run = srl.simulate(stacked("lif", "threshold_rnn"), x)
    for change in ("delay", "weight"):
        other = stacked("lif", "threshold_rnn")
        if change == "delay":
            other.projections[2].delay = other.projections[2].delay % 7 + 1
        else:
            other.view(other.theta)["a<-a"]["v"].data *= 0
        events = srl.to_brian(other, x, record=False).run().events
        pairs = [set(zip(e.time.tolist(), e.unit.tolist(), strict=True)) for e in (run.events, events)]
        assert len(pairs[0] ^ pairs[1]) > 20


def test_refusals() -> None:
    net, x = mixed()
    with pytest.raises(ValueError, match=r"one lane at a time, x has 2; give x\[:, lane\]"):
        srl.to_brian(net, np.stack([x, x], axis=1))
    with pytest.raises(srl.network.NetworkError, match="cannot record 'nobody'; populations and readouts"):
        srl.to_brian(net, record={"nobody": "v"})
    with pytest.raises(srl.network.NetworkError, match=r"has no variables \['u'\] to record; it has \['v', 'y'\]"):
        srl.to_brian(net, record={"e": ["u"]})
    above = srl.Network("float64").add_population("h", srl.models.lif, 3, initial={"v": np.array([0, 30, 0]) * b2.mV})
    with pytest.raises(srl.network.NetworkError, match=r"units \[1\] start above threshold"):
        srl.to_brian(above)


def test_parameters_that_nobody_drew_are_those_of_every_first_use() -> None:
    nets = [srl.Network("float64").add_population("h", srl.models.lif, 3, tau=lambda rng, n: rng.random(n)) for _ in range(2)]
    exported = srl.to_brian(nets[0])
    nets[1].initialize(0)
    assert np.array_equal(exported.groups["h"].tau / b2.second, nets[1].populations["h"].parameters["tau"])


@pytest.mark.slow
def test_standalone(tmp_path) -> None:
    """The same networks as C++ programs, models compiled while that device is active included."""
    try:
        for k, fewest in enumerate((2000, 1000)):
            b2.set_device("cpp_standalone", directory=str(tmp_path / str(k)), build_on_run=False)
            b2.device.reinit()
            b2.device.activate(directory=str(tmp_path / str(k)), build_on_run=False)
            if k == 0:
                discretise_afresh()
            net, x = mixed() if k == 0 else (stacked("egru", "lif"), signal(STEPS))
            brian = srl.to_brian(net, x).run()
            b2.device.build(directory=str(tmp_path / str(k)))
            same_events(srl.simulate(net, x), brian, fewest)
    finally:
        b2.device.reinit()
        b2.set_device("runtime")


def discretise_afresh() -> None:
    """Make Brian2 discretise a model now."""
    from spikertrl.brian.write import text as export_text

    export_text._steps.clear()
    export_text.discrete_step(srl.models.lif)
