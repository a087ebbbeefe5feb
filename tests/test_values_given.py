"""Values at the door of a network: the right dimension at every place, finite, and numbers that are numbers."""

from __future__ import annotations

import brian2 as b2
import numpy as np
import pytest
from scipy import sparse

import spikertrl as srl
from spikertrl import Model, Parameter, Port, State
from spikertrl.units import seconds, steps
from tolerances import VALUES64

NAN = float("nan")
CURRENT = Model(
    "current",
    equations="dv/dt = -v/tau : volt",
    threshold="v > v_th",
    reset="v = 0*volt",
    receive="v += I_x*r",
    states={"v": State(unit="volt")},
    ports={"x": Port(unit="amp", bias=True, scale="1*nA")},
    parameters={
        "tau": Parameter("20*ms", unit="second"),
        "v_th": Parameter("10*mV", unit="volt"),
        "r": Parameter("100*Mohm", unit="ohm"),
    },
)


def net(**population: object) -> srl.Network:
    return srl.Network("float64", dt="1*ms").add_input("x", 2).add_population("h", CURRENT, 3, **population)


def adex(**parameters: object) -> srl.Network:
    return srl.Network("float64").add_population("h", srl.models.adex, 2, **parameters)


def drawn_nan(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, NAN)


GIVEN = {
    "text": "0.3*nA",
    "quantity": 0.3 * b2.nA,
    "another unit of the dimension": 300 * b2.pA,
    "plain number in base units": 0.3e-9,
    "array": np.full((3, 2), 0.3e-9),
    "quantities": np.full((3, 2), 0.3) * b2.nA,
    "drawn with a unit": lambda rng, shape: np.full(shape, 0.3) * b2.nA,
    "sparse": sparse.csr_matrix(np.full((3, 2), 0.3e-9)),
    "by port": {"x": "0.3*nA"},
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=list(GIVEN))
def test_weights_are_converted(given: object) -> None:
    found = net().connect("x", "h", weight=given).initialize(0)
    np.testing.assert_allclose(found.view(found.theta)["h<-x"]["x"], 0.3e-9, rtol=VALUES64)


@pytest.mark.parametrize("given", ["20*pA", 20 * b2.pA, 20e-12, lambda rng, size: np.full(size, 20) * b2.pA])
def test_biases_are_converted(given: object) -> None:
    found = net(bias=given).connect("x", "h").initialize(0)
    np.testing.assert_allclose(found.view(found.theta)["h"]["bias_x"], 20e-12, rtol=VALUES64)


WRONG = {
    "weight in ms": (lambda: net().connect("x", "h", weight=3 * b2.ms), "connect 'h<-x': weight .*has the wrong unit"),
    "weight in mV as text": (lambda: net().connect("x", "h", weight="3*mV"), "has the wrong unit"),
    "weight drawn in mV": (
        lambda: net().connect("x", "h", weight=lambda rng, shape: np.ones(shape) * b2.mV).initialize(0),
        "weight of 'h<-x' = .* has the wrong unit",
    ),
    "weight by port in mV": (lambda: net().connect("x", "h", weight={"x": 1 * b2.mV}), "of port 'x'.* has the wrong unit"),
    "weight of another port": (lambda: net().connect("x", "h", weight={"y": 1.0}), r"for the ports \['y'\]; .* for \['x'\]"),
    "weight nan": (lambda: net().connect("x", "h", weight=NAN), "connect 'h<-x': weight .*must be finite, got nan"),
    "weight inf at a place": (
        lambda: net().connect("x", "h", weight=[[0, 0], [0, np.inf], [0, 0]]),
        r"must be finite, got inf at \(1, 1\)",
    ),
    "weight sparse nan": (lambda: net().connect("x", "h", weight=sparse.csr_matrix(np.full((3, 2), NAN))), "must be finite"),
    "weight drawn nan": (lambda: net().connect("x", "h", weight=drawn_nan).initialize(0), "must be finite"),
    "weight of another shape": (lambda: net().connect("x", "h", weight=np.ones((2, 3))), r"shape \(2, 3\); legal: .*\(3, 2\)"),
    "weight as words": (lambda: net().connect("x", "h", weight="large"), "'large', which is no unit"),
    "weight complex": (lambda: net().connect("x", "h", weight=np.full((3, 2), 1j)), "must be a number, an array of numbers"),
    "mask nan": (lambda: net().connect("x", "h", mask=np.full((3, 2), NAN)), "mask must hold finite numbers"),
    "mask of words": (lambda: net().connect("x", "h", mask=np.full((3, 2), "a")), "mask must hold finite numbers"),
    "bias in mV": (lambda: net(bias=3 * b2.mV), "h.bias_x = .* has the wrong unit"),
    "bias nan": (lambda: net(bias=NAN), "h.bias_x must be finite, got nan"),
    "bias drawn in mV": (
        lambda: net(bias=lambda rng, n: np.ones(n) * b2.mV).connect("x", "h").initialize(0),
        "h.bias_x = .* has the wrong unit",
    ),
    "parameter nan": (lambda: net(tau=NAN * b2.ms), "h.tau must be finite, got nan"),
    "parameter inf for a unit": (lambda: net(v_th=[1, np.inf, 1] * b2.mV), "h.v_th must be finite, got inf at 1"),
    "parameter drawn in ms": (
        lambda: net(v_th=lambda rng, n: np.ones(n) * b2.ms).connect("x", "h").initialize(0),
        "h.v_th = .* has the wrong unit",
    ),
    "parameter drawn nan": (
        lambda: net(v_th=lambda rng, n: np.full(n, NAN)).connect("x", "h").initialize(0),
        "h.v_th must be finite",
    ),
    "parameter drawn too short": (
        lambda: net(v_th=lambda rng, n: np.ones(n - 1)).connect("x", "h").initialize(0),
        r"h.v_th has shape \(2,\)",
    ),
    "initial value nan": (lambda: net(initial={"v": NAN * b2.mV}), "h.v must be finite"),
    "delay in mV": (lambda: net().connect("x", "h", delay=3 * b2.mV), "delay must be a time or whole steps"),
    "delay of a billion steps": (lambda: net().connect("x", "h", delay=10**9), r"is 1e\+09 steps .*; at most 1000000"),
    "delay nan": (lambda: net().connect("x", "h", delay=NAN), "whole steps"),
    "readout weight in mV": (lambda: net().add_readout("z", "h", 2, weight=3 * b2.mV), "readout 'z': weight = .* wrong unit"),
    "readout weight nan": (lambda: net().add_readout("z", "h", 2, weight=NAN), "readout 'z': weight must be finite"),
    "readout weight of another shape": (lambda: net().add_readout("z", "h", 2, weight=np.ones((3, 2))), r"legal: .*\(2, 3\)"),
    "size True": (lambda: srl.Network().add_input("x", True), "size must be a positive integer, got True"),
    "size 1e3": (lambda: srl.Network().add_population("h", CURRENT, 1e3), "size must be a positive integer, got 1000.0"),
    "dt inf": (lambda: srl.Network(dt=np.inf), "positive and finite"),
    "dt of words": (lambda: srl.Network(dt=[1]), "cannot read the time"),
    "time constant 0": (lambda: net(tau="0*ms"), "population 'h': current divides by tau, which is 0 for tau = 0"),
    "adex without tau_w": (lambda: adex(tau_w="0*ms"), "adex divides by tau_w, which is 0 for tau_w = 0"),
    "adex without delta": (
        lambda: adex(delta_t=[1, 0] * b2.mV),
        "adex divides by delta_t, which is 0 for delta_t = 0",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_refused_at_the_door(case: str) -> None:
    build, message = WRONG[case]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        build()


def test_no_delay_from_an_input_may_be_said_with_a_unit() -> None:
    found = net().connect("x", "h", delay="0*ms").connect("h", "h", delay=2 * b2.ms)
    assert [p.delay for p in found.projections] == [0, 2]
    assert seconds("0*ms", zero=True) == 0.0 and steps(np.array([0, 3]) * b2.ms, 1e-3, "delay").tolist() == [0, 3]
    with pytest.raises(ValueError, match="at least 1 step"):
        net().connect("h", "h", delay="0*ms")
    with pytest.raises(ValueError, match="a time must be positive"):
        srl.Network(dt="0*ms")


def test_whole_numbers_of_numpy_are_sizes() -> None:
    assert srl.Network().add_input("x", np.int32(4)).inputs["x"].size == 4


def test_default_parameters_are_finite() -> None:
    for value in (NAN, np.inf, True, None):
        with pytest.raises(ValueError, match="model 'current': parameter 'r': default must be a finite number"):
            CURRENT.replace(parameters=dict(CURRENT.parameters) | {"r": Parameter(value, unit="ohm")})
