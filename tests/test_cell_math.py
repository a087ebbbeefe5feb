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
    loop = numba.njit(error_model="numpy")(cell.linearise.py_func)
    S, G, Q, n = len(cell.memory), len(cell.ports), len(cell.trainable), 32
    shapes = (2, len(cell.states), n), (2, G, n), (len(cell.phi), n), (max(cell.n_constants, 1), n)
    s, inputs, phi, k = (np.ones(shape, np.float32) for shape in shapes)
    made = [np.zeros((2, count, n), np.float32) for count in (S * S, S * G, S * Q, S, Q)]
    loop(s, inputs, phi, k, np.zeros_like(s), np.zeros((2, n), np.float32), *made)
    (text,) = loop.inspect_llvm().values()
    for array in (*cell.linearise.py_func.__code__.co_varnames[:4], "_A"):
        assert re.search(rf"noalias [^%]*%arg\.{array}\.4", text), array
    assert re.search(r"fmul <\d+ x float>", text)


@pytest.mark.parametrize("model", ["egru", "rnn"])
def test_what_is_no_number_stays_so(model):
    net = srl.Network().add_input("x", 1).add_population("h", srl.models.load(model), 5).connect("x", "h").connect("h", "h")
    net = net.add_readout("z", "h", 1).initialize(0)
    assert np.isfinite(srl.simulate(net, np.ones((3, 1, 1))).z).all()
    net.view(net.theta)["h"]["bias_u" if model == "egru" else "bias_h"][2] = np.nan
    assert np.isnan(srl.simulate(net, np.ones((3, 1, 1))).z).all()
