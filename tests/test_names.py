"""No name of a model can be taken for something of the generated code: any legal name gives the numbers of a plain one."""

from __future__ import annotations

import numpy as np
import pytest

import spikertrl as srl
from spikertrl import Model, Parameter, Port, State
from spikertrl.model import ModelError
from spikertrl.surrogates import Surrogate
from tolerances import VALUES64

# Python's and numpy's words, names in front of which the generator puts an underscore, and names of sympy and Brian2.
NASTY = (
    "s I phi k k1 y_ s_new v_new x0 z0 k0 n b T np math njit exp64 event_ psi apart deliver push advance linearise META "
    "range min max len print constants inf nan N float object E S Q O C beta gamma lambda_ Psi Event Select Test Max Min floor "
    "surrogate_gamma surrogate_width gamma_ width i j xi lastspike refractory_steps not_refractory spike theta A B P mV Hz self"
).split()


def unit(states: str, parameters: str, ports: str, temporary: str = "u", **changes: object) -> Model:
    """Leaky units with an event, whose text uses clip, abs and a temporary, under any names for their parts."""
    parts = list(zip(states.split(), parameters.split(), strict=True))
    total = " + ".join(f"abs(I_{port})" for port in ports.split())
    lines = [f"{v} = clip({w}*{v} + {temporary}, 0 - 9, {w} + 9) - 0.3*event({v} - 0.5)" for v, w in parts]
    given = {"update": "\n".join((f"{temporary} = {total}", *lines)), "states": {v: State() for v, _ in parts}}
    given |= {"message": " + ".join(f"{v}*event({v} - {w})" for v, w in parts), "ports": {p: Port() for p in ports.split()}}
    return Model("named", **given | {"parameters": {w: Parameter(0.6, trainable=True) for _, w in parts}} | changes)


def figures(model: Model) -> tuple[np.ndarray, float, np.ndarray]:
    """States, loss and gradient of a small network of a model."""
    net = srl.Network("float64").add_input("x", 2).add_population("h", model, 3).connect("x", "h").connect("h", "h")
    net.add_readout("z", "h", 2).initialize(1)
    x = np.random.default_rng(0).normal(size=(12, 1, 2))
    loss = srl.losses.squared_error(np.ones((12, 1, 2)))
    states = srl.simulate(net, x).states["h"][next(iter(model.states))]
    return states, *srl.gradient(net, srl.RTRL(), x, loss)


def assert_same(found: tuple, expected: tuple) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def plain(interpreted: None) -> tuple:
    states, value, gradient = expected = figures(unit("v", "w", "x"))
    assert np.ptp(states) > 0.5 and value > 0 and np.count_nonzero(gradient) > 15
    return expected


@pytest.mark.parametrize("first", range(0, len(NASTY), 14))
def test_nasty_names_give_the_numbers_of_plain_ones(first: int, interpreted: None) -> None:
    """Six states, six parameters and two ports at a time; sums may be taken in another order."""
    names = NASTY[first : first + 14]
    found = figures(unit(" ".join(names[:6]), " ".join(names[6:12]), " ".join(names[12:])))
    for one, other in zip(found, figures(unit("a b c d f g", "h l m o p q", "x z")), strict=True):
        np.testing.assert_allclose(one, other, rtol=VALUES64, atol=VALUES64)


@pytest.mark.parametrize(
    "names", ["s min x inf", "inf max s range", "surrogate_gamma range I s", "range surrogate_width k min"]
)
def test_as_state_as_parameter_as_port_and_as_temporary(names: str, plain: tuple) -> None:
    assert_same(figures(unit(*names.split())), plain)


def test_compiled_too() -> None:
    assert_same(figures(unit("s", "min", "x", "inf")), figures(unit("v", "w", "x")))


def test_parameters_of_a_surrogate_may_have_names_of_the_model(plain: tuple) -> None:
    """``w`` and ``range`` of the surrogate are not those of the unit."""
    psi = Surrogate("own", "w * max(0, 1 - abs(v) / range)", {"w": 0.7, "range": 1.0}, 1.0)
    assert_same(figures(unit("v", "w", "x", surrogate=psi)), plain)
    assert_same(figures(unit("range", "w", "x", surrogate=psi)), plain)


def test_refractory_units_with_names_of_the_generator(interpreted: None) -> None:
    """The form with differential equations: names of the code around it, and a state after the step under its own name."""

    def lif(v: str, tau: str) -> Model:
        return Model(
            "named_lif",
            equations=f"d{v}/dt = -{v}/{tau} : 1 (unless refractory)",
            threshold=f"{v} > 1",
            reset=f"{v} = 0",
            receive=f"{v} += I_x",
            refractory="3*ms",
            states={v: State()},
            ports={"x": Port()},
            parameters={tau: Parameter("10*ms", unit="second", trainable=True)},
        )

    expected = figures(lif("v", "tau"))
    assert np.ptp(expected[0]) > 0.1
    for names in (("s", "max"), ("surrogate_gamma", "range"), ("k", "s_new")):
        assert_same(figures(lif(*names)), expected)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("τ", "w", "x"), "'τ' is not a usable name; write 'tau': names are made of the letters a to z"),
        (("v", "µ", "x"), "'µ' is not a usable name"),
        (("v", "w", "ß"), "'I_ß' is not a usable name"),
        (("_v", "w", "x"), "'_v' is not a usable name"),
        (("lambda", "w", "x"), "'lambda' is not a usable name"),
        (("abs", "w", "x"), "name 'abs' is reserved; call it for example 'abs_'"),
        (("v", "dt", "x"), "name 'dt' is reserved"),
        (("v-", "w", "x"), "'v-' is not a usable name"),
    ],
)
def test_names_that_cannot_be_are_refused_with_words(names: tuple[str, str, str], message: str) -> None:
    with pytest.raises(ModelError, match=f"model 'named': {message}"):
        unit(*names)


@pytest.mark.parametrize("name", ["abs", "int", "dt", "pi", "lambda", "τ"])
def test_a_temporary_cannot_take_the_name_of_a_function(name: str) -> None:
    with pytest.raises(ModelError, match=rf"'{name} = .*' in update assigns '{name}'"):
        unit("v", "w", "x", name)


@pytest.mark.parametrize("name", ["i", "N", "inf", "xi", "spike", "not_refractory", "refractory_steps"])
def test_names_of_brian2_are_refused_where_brian2_reads(name: str) -> None:
    with pytest.raises(ModelError, match=f"name '{name}' is reserved"):
        Model("named", equations=f"d{name}/dt = -{name}/(5*ms) : 1", threshold=f"{name} > 1", receive=f"{name} += I_x",
              states={name: State()}, ports={"x": Port()})  # fmt: skip
