"""The JAX reference itself: finite differences where smooth, psi where not, the order of a step, and that everything spikes."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_cells import CELLS, PSI, make_event, select
from jax_losses import Loss, activity, add, cross_entropy, squared_error
from jax_reference import (
    NetworkSpec,
    ProjectionSpec,
    ReadoutSpec,
    population,
    reference_gradient,
    reference_run,
    reference_value,
    si,
)
from networks import SMOOTH, marked
from spikertrl import models, surrogates

EVENTS = tuple(sorted(set(CELLS) - set(SMOOTH)))
T, B, IN, N, OUT = 10, 3, 3, 6, 2


def network(name: str, seed: int = 0, delay: int | np.ndarray = 1, **replace: object) -> tuple[NetworkSpec, dict, np.ndarray]:
    """One population behind an input, half of its own synapses masked, random parameters, and an input x (T, B, IN)."""
    model = models.load(name).replace(**replace)
    rng = np.random.default_rng(seed)
    mask = rng.random((N, N)) < 0.5
    recurrent = ProjectionSpec("h<-h", "h", "h", model.ports_for("recurrent"), mask, delay)
    forward = ProjectionSpec("h<-x", "x", "h", model.ports_for("input"), np.ones((N, IN), bool), 0)
    spec = NetworkSpec({"x": IN}, {"h": population(model, N)}, (forward, recurrent), (ReadoutSpec("z", "h", OUT, 0.8),))
    params = {}
    for p in spec.projections:
        params[p.name] = {g: si(model.ports[g].scale) * rng.normal(0, 1.0, p.mask.shape) for g in p.ports}
    own = {f"bias_{g}": rng.normal(0, 0.3, N) for g, port in model.ports.items() if port.bias}
    own |= {q: si(model.parameters[q].default) + rng.normal(0, 0.1, N) for q in model.trainable}
    params |= {"h": own, "z": {"weight": rng.normal(0, 1, (OUT, N)), "bias": rng.normal(0, 1, OUT)}}
    return spec, params, rng.normal(0.3, 1.0, (T, B, IN))


shipped = functools.cache(network)


@functools.cache
def loss_for(seed: int = 1) -> Loss:
    labels = np.random.default_rng(seed).integers(0, OUT, (T, B))
    return add(cross_entropy(labels), squared_error(np.ones((T, B, OUT)), at="last"))


def flatten(nested: dict) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(nested)])


@pytest.mark.parametrize("delay", [1, 3])
@pytest.mark.parametrize("name", marked(SMOOTH))
def test_smooth_models_match_finite_differences(name: str, delay: int) -> None:
    spec, params, x = network(name, delay=delay)
    loss = loss_for()
    _, grads = reference_gradient(spec, params, x, loss)
    direction = jax.tree.map(lambda a: np.random.default_rng(a.size).normal(size=a.shape), params)
    step = 1e-5
    ends = [jax.tree.map(lambda a, d, k=k: a + k * step * d, params, direction) for k in (-2, -1, 1, 2)]
    far_low, low, high, far_high = (reference_value(spec, end, x, loss) for end in ends)
    slope = (8 * (high - low) - (far_high - far_low)) / (12 * step)
    assert abs(slope) > 1e-2
    assert flatten(grads) @ flatten(direction) == pytest.approx(slope, rel=1e-8)


@pytest.mark.parametrize("name", sorted(PSI))
def test_event_differentiates_to_psi(name: str) -> None:
    record = getattr(surrogates, name)()
    with jax.enable_x64(True):
        event = make_event(name, record.parameters)
        v = jnp.asarray([-3.0, -0.6, -0.3, -0.01, 0.0, 0.01, 0.3, 0.6, 3.0])
        assert event(v).tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1]
        slopes = np.asarray(jax.vmap(jax.grad(event))(v))
    np.testing.assert_allclose(slopes, [record(float(u)) for u in v], rtol=1e-14)
    assert slopes.max() > 0


def test_select_is_exact_and_differentiates_as_documented() -> None:
    with jax.enable_x64(True):
        event = make_event("triangle", {"gamma": 0.7, "width": 1.0})
        for v in (-0.25, 0.25):
            spike, psi = float(v > 0), 0.7 * 0.75
            found = jax.grad(lambda v, a, b: select(event(v), a, b), argnums=(0, 1, 2))(v, 3.0, 0.1)
            np.testing.assert_allclose(found, (psi * (3.0 - 0.1), spike, 1 - spike), rtol=1e-14)
            assert select(event(v), 3.0, 0.1) == (3.0 if spike else 0.1)


@pytest.mark.parametrize("name", marked(EVENTS))
def test_event_models_speak_and_learn(name: str) -> None:
    spec, params, x = shipped(name)
    _, messages, states = reference_run(spec, params, x)
    share = np.mean(messages["h"] != 0)
    assert 0.02 < share < 0.9, share
    assert all(np.isfinite(s).all() for s in states["h"].values())
    _, grads = reference_gradient(spec, params, x, loss_for())
    for p in spec.projections:
        for port, g in grads[p.name].items():
            assert np.isfinite(g).all() and np.abs(g).max() > 1e-4 and not g[~p.mask].any(), (p.name, port)
    assert all(np.abs(g).max() > 1e-4 for g in grads["h"].values())


@pytest.mark.parametrize("name", marked(n for n in EVENTS if n != "threshold_rnn"))
def test_reset_gradient_changes_the_gradient_only(name: str) -> None:
    specs = shipped(name), network(name, reset_gradient=False)
    with_reset, without = (reference_gradient(*spec, loss_for()) for spec in specs)
    assert with_reset[0] == without[0]
    assert np.abs(flatten(with_reset[1]) - flatten(without[1])).max() > 1e-6 * np.abs(flatten(with_reset[1])).max()


@pytest.mark.parametrize("name", sorted(set(CELLS) - {"lif", "adex", "izhikevich"}))
def test_cells_follow_the_text_of_the_models(name: str) -> None:
    model = models.load(name)
    spec = shipped(name)[0]
    rng = np.random.default_rng(2)
    known = {"event": lambda v: (v > 0) * 1.0} | {name: getattr(np, name) for name in ("tanh", "exp", "sin", "cos", "sqrt")}
    known |= {"sigmoid": lambda v: 1 / (1 + np.exp(-v))}
    known |= {f"I_{g}": rng.normal(size=N) for g in model.ports} | dict(spec.populations["h"].parameters)
    known |= {s: rng.normal(size=N) for s in model.states}
    arrived = {f"bias_{g}": known[f"I_{g}"] for g in model.ports}
    start = population(model, N, {s: known[s] for s in model.states})
    one = NetworkSpec({"x": 1}, {"h": start}, (), ())
    _, messages, states = reference_run(one, {"h": arrived}, np.zeros((1, 1, 1)))
    known["y"] = eval(model.message, dict(known))
    exec("\n".join(line.strip() for line in model.update.splitlines()), known)
    for s in model.states:
        np.testing.assert_allclose(states["h"][s][0, 0], known[s], rtol=1e-13)
    np.testing.assert_allclose(messages["h"][0, 0], eval(model.message, known), rtol=1e-13)


def test_lif_waits_and_holds_its_voltage() -> None:
    spec = NetworkSpec(
        {"x": 1},
        {"h": population(models.load("lif"), 1, t_ref=3e-3)},
        (ProjectionSpec("h<-x", "x", "h", ("v",), np.ones((1, 1), bool), 0),),
        (),
    )
    _, messages, states = reference_run(spec, {"h": {}, "h<-x": {"v": np.array([[30e-3]])}}, np.ones((9, 1, 1)))
    decay = np.exp(-1 / 20)
    assert messages["h"][:, 0, 0].tolist() == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    np.testing.assert_allclose(states["h"]["v"][:5, 0, 0], [30e-3 * decay, 0, 0, 0, 30e-3 * decay], rtol=1e-13)
    assert states["h"]["wait"][:6, 0, 0].tolist() == [0, 2, 1, 0, 0, 2]


def test_delays_per_synapse() -> None:
    rng = np.random.default_rng(3)
    delay = rng.choice([1, 2, 7], (N, N))
    spec, params, x = network("egru", delay=delay)
    forward, recurrent = spec.projections
    parts = [
        ProjectionSpec(f"h<-h{d}", "h", "h", recurrent.ports, recurrent.mask & (delay == d), int(d)) for d in np.unique(delay)
    ]
    split = NetworkSpec(spec.inputs, spec.populations, (forward, *parts), spec.readouts)
    value, grads = reference_gradient(spec, params, x, loss_for())
    other, pieces = reference_gradient(split, params | {p.name: params["h<-h"] for p in parts}, x, loss_for())
    assert other == pytest.approx(value, rel=1e-13)
    for port in recurrent.ports:
        np.testing.assert_allclose(sum(pieces[p.name][port] for p in parts), grads["h<-h"][port], rtol=1e-10, atol=1e-14)
    assert value != reference_value(*shipped("egru"), loss_for())


def test_an_impulse_arrives_when_it_should() -> None:
    model = models.load("rnn")
    one = np.ones((1, 1), bool)
    chain = (ProjectionSpec("a<-x", "x", "a", ("h",), one, 2), ProjectionSpec("b<-a", "a", "b", ("h",), one, 3))
    spec = NetworkSpec({"x": 1}, {n: population(model, 1) for n in "ab"}, chain, (ReadoutSpec("z", "b", 1, 0.5),))
    params = {p.name: {"h": np.ones((1, 1))} for p in chain} | {"z": {"weight": np.ones((1, 1)), "bias": np.zeros(1)}}
    x = np.zeros((8, 1, 1))
    x[0] = 1.0
    readouts, messages, _ = reference_run(spec, params, x)
    assert np.flatnonzero(messages["a"]).tolist() == [2] and np.flatnonzero(messages["b"]).tolist() == [5]
    np.testing.assert_allclose(readouts["z"][5:, 0, 0], np.tanh(np.tanh(1)) * np.array([1, 0.5, 0.25]))
    with pytest.raises(ValueError, match="delays start at 1"):
        NetworkSpec({"x": 1}, spec.populations, (ProjectionSpec("b<-a", "a", "b", ("h",), one, 0),), ())


def test_activity_penalty() -> None:
    spec, params, x = shipped("alif")
    share = np.mean(reference_run(spec, params, x)[1]["h"] != 0, axis=(1, 2))
    value, down = reference_gradient(spec, params, x, activity("h", 0.0, 2.0))
    assert value == pytest.approx(2.0 * np.mean(share**2))
    _, up = reference_gradient(spec, params, x, activity("h", 1.0, 2.0))
    assert down["h<-x"]["v"].sum() > 0 > up["h<-x"]["v"].sum()


def test_every_shipped_model_has_a_cell() -> None:
    assert set(models.names()) == set(CELLS)
    for name, cell in CELLS.items():
        model = models.load(name)
        assert cell.ports == tuple(model.ports)
        assert tuple(s for s in cell.states if s != "wait") == tuple(model.states)
