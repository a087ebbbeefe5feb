"""Arithmetic of generated cells: accurate, no call in the loop, and compiled to vector instructions."""

import re

import numba
import numpy as np
import pytest

import spikertrl as srl
from spikertrl.compile import compile_model
from spikertrl.compile.cell_math import exp

SERIES = 5e-13  # what the tenth order of the exponential series leaves out, and a dozen roundings


@numba.njit
def exponentials(x, found):
    for i in range(len(x)):
        found[i] = exp(x[i])


def test_the_exponential_is_exact_enough_for_single_precision():
    x = np.concatenate((np.linspace(-700, 700, 100_001), np.logspace(-300, 0, 1_000), [0.0]))
    found = np.empty_like(x)
    exponentials(x, found)
    np.testing.assert_allclose(found, np.exp(x), rtol=SERIES)
    assert found[-1] == 1.0


def test_the_exponential_of_what_is_no_number_or_too_large():
    found = np.empty(5)
    exponentials(np.array([np.nan, np.inf, -np.inf, 1e6, -1e6]), found)
    assert np.isnan(found[0])
    with np.errstate(over="ignore"):
        assert found[1:].astype(np.float32).tolist() == [np.inf, 0.0, np.inf, 0.0]


@pytest.mark.parametrize("name", ["egru", "gru", "lif", "alif"])
def test_loops_over_units_become_vector_instructions(name):
    cell = compile_model(srl.models.load(name), "float32")
    loop = numba.njit(error_model="numpy")(cell.linearise.py_func.__globals__["_linearise"].py_func)
    S, G, Q, n = len(cell.memory), len(cell.ports), len(cell.trainable), 32
    shapes = (2, len(cell.states), n), (2, G, n), (len(cell.phi), n), (max(cell.n_constants, 1), n)
    s, inputs, phi, k = (np.ones(shape, np.float32) for shape in shapes)
    made = [np.zeros((2, count, n), np.float32) for count in (S * S, S * G, S * Q, S, Q)]
    loop(s, inputs, phi, k, np.zeros_like(s), np.zeros((2, n), np.float32), *made)
    (text,) = loop.inspect_llvm().values()
    for array in (*loop.py_func.__code__.co_varnames[:4], "_A"):
        assert re.search(rf"noalias [^%]*%arg\.{array}\.4", text), array
    assert re.search(r"fmul <\d+ x float>", text)


@pytest.mark.parametrize("model", ["egru", "rnn"])
def test_what_is_no_number_stays_so(model):
    """The cell alone: a network says so before, or after."""
    cell = compile_model(srl.models.load(model), "float32")
    values = {**cell.defaults, "surrogate.gamma": 1.0, "surrogate.width": 1.0}
    phi = np.repeat(np.array([[values[name]] for name in cell.phi], np.float32), 5, axis=1)
    constants, message = np.zeros((cell.n_constants, 5), np.float32), np.zeros((1, 5), np.float32)
    cell.constants(phi, np.float32(1e-3), constants)
    state, current = np.zeros((1, len(cell.states), 5), np.float32), np.full((1, len(cell.ports), 5), 0.5, np.float32)
    current[..., 2] = np.nan
    after = np.zeros_like(state)
    cell.advance(state, current, phi, constants, after, message)
    assert np.isnan(after[0, 0]).tolist() == [False, False, True, False, False]


FUNCTIONS = {  # of one input: text, and the same in double precision; "exact": correctly rounded, but for rare ties
    "sigmoid": ("sigmoid(I_i)", lambda x: 1 / (1 + np.exp(-x)), "exact"),
    "exp": ("exp(I_i)", np.exp, "exact"),
    "tanh": ("tanh(I_i)", np.tanh, "exact"),
    "sign": ("sign(I_i)", np.sign, "equal"),
    "event": ("event(I_i)", lambda x: (x > 0) * 1.0, "equal"),
    "clip": ("clip(I_i, -0.5, 2)", lambda x: np.clip(x, -0.5, 2.0), "equal"),
    "abs": ("abs(I_i)", np.abs, "equal"),
    "where": ("where(I_i > -0.5, I_i, 3)", lambda x: np.where(x > -0.5, x, 3.0), "equal"),
    "whole": ("int(I_i <= 2)", lambda x: (x <= 2) * 1.0, "equal"),
    "square": ("I_i**2", np.square, "exact"),
    "inverse": ("1/(I_i**2 + 1)", lambda x: 1 / (x**2 + 1), "close"),
    "root": ("sqrt(abs(I_i) + 1)", lambda x: np.sqrt(np.abs(x) + 1), "close"),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_function_of_a_cell_is_as_exact_as_its_type(dtype):
    """In single precision rounded once, at the very end: all but a few in ten thousand equal the double rounded."""
    cell = srl.Model(
        "functions",
        update="\n".join(f"{name}_ = {text}" for name, (text, _, _) in FUNCTIONS.items()),
        message="square_",
        states={f"{name}_": srl.State() for name in FUNCTIONS},
        ports={"i": srl.Port()},
    )
    net = srl.Network(dtype).add_input("x", 1).add_population("h", cell, 1).connect("x", "h", weight=1.0).initialize(0)
    edges = [0.0, -0.0, 1e-2, -1e-2, 9.999e-3, -0.5, 2.0, np.nextafter(np.float32(2), np.float32(3))]
    x = np.concatenate((np.linspace(-12, 12, 20_001), np.logspace(-8, 1, 2_001), edges)).astype(np.float32)
    states = srl.simulate(net, x.reshape(1, -1, 1)).states["h"]
    rounding = np.finfo(dtype).eps
    for name, (_, exact, kind) in FUNCTIONS.items():
        found, expected = states[f"{name}_"].reshape(-1), exact(x.astype(float))
        assert found.dtype == np.dtype(dtype)
        if kind == "equal":
            np.testing.assert_array_equal(found, expected, err_msg=name)
            continue
        np.testing.assert_allclose(found, expected, rtol=4 * rounding, atol=0, err_msg=name)
        if kind == "exact" and dtype == "float32":
            assert (found != expected.astype(np.float32)).mean() < 5e-4, name
