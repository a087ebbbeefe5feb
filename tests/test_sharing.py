"""Statements too large to be written out: the same numbers and gradients, by the chain rule through named parts."""

from __future__ import annotations

import numpy as np
import pytest

import spikertrl as srl
from spikertrl import Model, Port, State
from spikertrl.compile import compile_model, discretise, emit
from spikertrl.model import ModelError
from tolerances import EXACT64

DECAY = "0.5*v"


def gradients(model: Model) -> tuple[np.ndarray, float, np.ndarray]:
    net = srl.Network("float64").add_input("x", 2).add_population("h", model, 3).connect("x", "h").connect("h", "h")
    net.add_readout("z", "h", 2).initialize(1)
    for weights in net.view(net.theta)["h<-x"].values():
        weights *= 3.0
    x = np.random.default_rng(0).normal(size=(30, 1, 2))
    loss = srl.losses.squared_error(np.ones((30, 1, 2)))
    states = srl.simulate(net, x).states["h"]
    return np.concatenate(list(states.values())), *srl.gradient(net, srl.RTRL(), x, loss)


@pytest.mark.parametrize(("name", "change"), [("egru", {}), ("lif", {"reset_gradient": False}), ("adex", {})])
def test_parts_give_what_formulas_give(name: str, change: dict, monkeypatch: pytest.MonkeyPatch, interpreted: None) -> None:
    """Shipped models, cut into parts against their formulas."""
    model = srl.models.load(name)
    model = model.replace(**change).with_trainable(tuple(model.parameters)[:2])
    expected = gradients(model)
    monkeypatch.setattr(discretise, "is_large", lambda statements: True)
    cut = model.replace(name=f"{name}_in_parts")
    assert "_c0 = " in compile_model(cut, "float64").source
    for found, wanted in zip(gradients(cut), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=EXACT64, atol=EXACT64 * np.abs(wanted).max())


def nested(text: str, times: int) -> str:
    found = "I_x"
    for k in range(times):
        found = text.format(found, k=k)
    return f"v = {DECAY} + {found}"


LARGE = {
    "45 nested tanh": (nested("tanh({} + 0.1)", 45), lambda x: _repeat(lambda u, k: np.tanh(u + 0.1), 45, x)),
    "80 sums multiplied": (
        f"v = {DECAY} + " + "*".join(f"(1 + I_x/{k + 2}**2)" for k in range(80)),
        lambda x: np.prod([1 + x / (k + 2) ** 2 for k in range(80)], axis=0),
    ),
    "200 sums in four statements": (
        "p = 1\n" + "\n".join("p = p*" + "*".join(f"(1 + I_x/{k}**2)" for k in range(j + 2, 202, 4)) for j in range(4))
        + f"\nv = {DECAY} + p",
        lambda x: np.prod([1 + x / k**2 for k in range(2, 202)], axis=0),
    ),
    "12 squares": (
        "a0 = 0.9 + 0.001*I_x\n" + "\n".join(f"a{k} = a{k - 1}*a{k - 1} + 0.09" for k in range(1, 13)) + f"\nv = {DECAY} + a12",
        lambda x: _repeat(lambda u, k: u * u + 0.09, 12, 0.9 + 0.001 * x),
    ),
}  # fmt: skip


COMPILED = "45 nested tanh"  # the others show what stands in the text


def _repeat(f, times: int, u):
    for k in range(times):
        u = f(u, k)
    return u


@pytest.mark.parametrize("case", LARGE)
def test_large_statements_have_the_right_values_and_derivatives(case: str, request: pytest.FixtureRequest) -> None:
    """One unit for one step, against numpy at a complex place beside the weight, which gives the derivative."""
    if case != COMPILED:
        request.getfixturevalue("interpreted")
    update, f = LARGE[case]
    model = Model("large", update=update, message="v", states={"v": State()}, ports={"x": Port()})
    net = srl.Network("float64").add_input("x", 1).add_population("h", model, 1).connect("x", "h", weight=0.7)
    net = net.add_readout("z", "h", 1, weight=1.0, trainable=False).initialize(0)
    loss = srl.losses.squared_error(np.zeros((1, 1, 1)))
    value, gradient = srl.gradient(net, srl.BPTT(), np.ones((1, 1, 1)), loss)
    slope = np.imag(f(0.7 + 1e-30j)) / 1e-30  # without a difference, so without its rounding
    z = float(srl.simulate(net, np.ones((1, 1, 1))).z[0, 0, 0])
    assert z == pytest.approx(float(f(0.7)), rel=1e-9)
    assert gradient[0] * z / (2 * value) == pytest.approx(slope, rel=1e-9)


def test_nested_where_is_cut() -> None:
    """Eight choices inside each other: the Jacobian has one line a choice, not two to the eighth."""
    text = "I_x"
    for k in range(8):
        text = f"where(v > {k}, {text} + 1, I_x*{k + 2})"
    model = Model("choices", update=f"v = {text}", message="v", states={"v": State()}, ports={"x": Port()})
    x = np.array([-1.0, 0.5, 2.0, 3.5])[:, None, None]
    net = srl.Network("float64").add_input("x", 1).add_population("h", model, 1).connect("x", "h", weight=1.0).initialize(0)
    v, expected = 0.0, []
    for u in x[:, 0, 0]:
        value = u
        for k in range(8):
            value = value + 1 if v > k else u * (k + 2)
        v = value
        expected.append(v)
    np.testing.assert_array_equal(srl.simulate(net, x).states["h"]["v"][:, 0, 0], expected)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ("a = 9**9\nb = 9**a\nv = b*I_x", r"'b = 9\*\*a' has no value"),
        ("v = v + I_x/(I_x*0)", "'v = v . I_x/.I_x.0.' has no value: it divides by zero"),
        ("a = 2\nv = I_x/(a - 2)", r"'v = I_x/\(a - 2\)' has no value: it divides by zero"),
        ("a = 9**200\nb = a*a\nv = I_x*b", "'b = a.a' has no value"),
        ("a = 0\nv = I_x*log(a)", "'v = I_x.log.a.' has no value: it divides by zero or takes the logarithm of zero"),
    ],
)
def test_numbers_that_no_double_holds_are_refused_by_line(update: str, message: str) -> None:
    model = Model("huge", update=update, message="v", states={"v": State()}, ports={"x": Port()})
    with pytest.raises(ModelError, match=f"model 'huge': {message}"):
        compile_model(model, "float64")


def test_what_stands_in_one_formula_is_refused_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = "tanh(" * 30 + "v" + ")" * 30
    form = {"states": {"v": State()}, "ports": {"x": Port()}}
    with pytest.raises(ModelError, match=r"in message is too large; compute it in the step"):
        compile_model(Model("deep", update="v = I_x", message=deep, **form), "float64")
    with pytest.raises(ModelError, match=r"'dv/dt = .* in equations is too large for Brian2; write the step with integrate="):
        equations = f"dv/dt = -{deep}/(5*ms) : 1"
        compile_model(Model("deep", equations=equations, threshold="v > 1", receive="v += I_x", **form), "float64")
    monkeypatch.setattr(emit, "LINES", 150)
    many = "\n".join(f"a{k} = tanh(a{k - 1} + I_x)*exp(-v)" if k else "a0 = v" for k in range(120))
    with pytest.raises(ModelError, match=r"model 'deep': the step and its derivatives take \d+ lines, more than 150"):
        compile_model(Model("deep", update=f"{many}\nv = a119", message="v", **form), "float64")
