"""The third form of a model: the state update as statements, in Brian2's order of a step."""

from __future__ import annotations

import numpy as np
import pytest

import spikertrl as srl
from spikertrl.model import Model, ModelError, Parameter, Port, State
from tolerances import ALIVE, EXACT64


def by_statements(**changes: object) -> Model:
    """``lif`` with its update written down."""
    parts = {
        "integrate": "_v = v_rest + (v - v_rest)*exp(-dt*int(not_refractory)/tau)\nv = _v",
        "threshold": "v > v_th",
        "threshold_scale": "dv",
        "reset": "v = v_reset",
        "refractory": "t_ref",
        "receive": "v += I_v",
        "states": {"v": State(unit="volt", unless_refractory=True)},
        "ports": {"v": Port(unit="volt")},
        "parameters": dict(srl.models.lif.parameters),
    }
    return Model("lif_by_statements", **parts | changes)


def network(model: Model) -> srl.Network:
    net = srl.Network("float64").add_input("x", 4, kind="event")
    net.add_population("h", model, 8, trainable=("tau", "v_th"), surrogate=srl.surrogates.triangle(0.4, 0.9))
    rng = np.random.default_rng(0)
    net.connect("x", "h", weight=25e-3 * rng.random((8, 4)))
    net.connect("h", "h", weight=8e-3 * rng.normal(size=(8, 8)), delay=rng.integers(1, 6, (8, 8)))
    return net.add_readout("z", "h", 2, decay=0.8).initialize(1)


def test_statements_and_equations_are_the_same_model() -> None:
    x = (np.random.default_rng(1).random((120, 2, 4)) < 0.3) * 1.0
    loss = srl.losses.squared_error(np.ones((120, 2, 2)))
    nets = [network(model) for model in (srl.models.lif, by_statements())]
    runs = [srl.simulate(net, x) for net in nets]
    assert len(runs[0].events) > 30
    for name in ("time", "batch", "unit"):
        assert np.array_equal(getattr(runs[0].events, name), getattr(runs[1].events, name))
    grads = [srl.gradient(net, srl.RTRL(), x, loss)[1] for net in nets]
    assert np.abs(grads[0]).max() > ALIVE
    np.testing.assert_allclose(grads[1], grads[0], rtol=EXACT64, atol=EXACT64 * np.abs(grads[0]).max())


def test_a_message_may_speak_of_the_spike() -> None:
    model = by_statements(message="3*spike")
    run = srl.simulate(network(model), (np.random.default_rng(1).random((120, 1, 4)) < 0.3) * 1.0)
    assert set(np.unique(run.messages["h"])) == {0.0, 3.0}


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"equations": "dv/dt = -v/tau : volt"}, "only one of them"),
        ({"threshold": "", "threshold_scale": ""}, "need threshold="),
        ({"integrate": "v = unheard"}, "undefined name 'unheard' in integrate"),
        ({"threshold": "", "message": "spike", "threshold_scale": ""}, "undefined name 'spike'"),
        ({"states": {"v": State(unit="volt"), "u": State()}}, "state 'u' is never assigned"),
    ],
)
def test_contradictions_are_named(changes: dict, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        by_statements(**changes)


def test_update_statements_have_no_scale() -> None:
    with pytest.raises(ModelError, match="threshold_scale= belongs to models with equations="):
        Model("m", update="v = I_v", message="event(v)", threshold_scale="2", states={"v": State()}, ports={"v": Port()},
              parameters={"a": Parameter(1.0)})  # fmt: skip
