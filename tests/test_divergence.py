"""Numbers that stop being finite are said: which state, message, readout or parameter, of whom, and at which step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from brian2 import hertz

import spikertrl as srl
from spikertrl.simulation import SimulationDiverged
from spikertrl.training.session import TrainingDiverged

STEPS, LANES, AT = 300, 2, 270  # longer than a piece of the simulation


def network(own: float = 1e30, readout: float = 1.0) -> srl.Network:
    """Three integrators, v(t) = v(t - 1) + I(t); the second alone has an input, and a weight from itself."""
    net = srl.Network("float64").add_input("x", 1).add_population("h", srl.nir_models.nir_model("I"), 3, rate=1000 * hertz)
    net.connect("x", "h", weight=[[0.0], [1.0], [0.0]]).connect("h", "h", mask=np.diag([0, 1, 0]), weight=own)
    return net.add_readout("z", "h", 1, weight=readout).initialize(0)


def pulse(height: float = 2.0) -> np.ndarray:
    """To lane 1 at step AT."""
    x = np.zeros((STEPS, LANES, 1))
    x[AT, 1] = height
    return x


def expected_step() -> int:
    v, t = np.float64(0), -1
    with np.errstate(over="ignore"):
        while np.isfinite(v):
            t += 1
            v = v + (1e30 * v + pulse()[t, 1, 0])
    return t


WHERE = "state v of population 'h', unit 1, lane 1 is inf"
ZEROS = np.zeros((STEPS, LANES, 1))
LOSS = srl.losses.squared_error(ZEROS)


def test_a_simulation_says_where_and_when() -> None:
    net, x, step = network(), pulse(), expected_step()
    assert AT < step < STEPS - 5
    with pytest.raises(SimulationDiverged, match=f"{WHERE} at step {step}; take a smaller step dt") as caught:
        srl.simulate(net, x)
    assert caught.value.step == step
    before = srl.simulate(net, x[:step])
    assert all(np.isfinite(v).all() for v in before.states["h"].values()), "as the message says"
    with pytest.raises(SimulationDiverged, match=f"at step {step};"):
        srl.simulate(net, x[step:], state=before.state)


@pytest.mark.parametrize(
    "call",
    [
        lambda net: srl.gradient(net, srl.RTRL(), pulse(), LOSS),
        lambda net: srl.gradient(net, srl.BPTT(), pulse(), LOSS, tau=7),
        lambda net: srl.compare(net, [srl.RTRL()], pulse(), LOSS),
        lambda net: srl.evaluate(net, srl.tasks.arrays(pulse(), ZEROS), pulse(), ZEROS),
    ],
    ids=["RTRL", "BPTT in pieces", "compare", "evaluate"],
)  # fmt: skip
def test_whatever_runs_a_network_says_it(call: Callable) -> None:
    with pytest.raises(SimulationDiverged, match=f"{WHERE} at step {expected_step()};"):
        call(network())


def test_training_says_the_step_of_the_batch() -> None:
    net, task = network(), srl.tasks.arrays(pulse(), ZEROS)
    before = net.theta.copy()
    with pytest.raises(TrainingDiverged, match=f"^step 1: {WHERE} at step {expected_step()} of the batch; lower the") as caught:
        srl.fit(net, task, srl.RTRL(), srl.optimizers.sgd(1e-9), steps=2, batch=LANES, tau=STEPS, progress=False)
    assert len(caught.value.history) == 0
    np.testing.assert_array_equal(net.theta, before)


def test_a_stream_says_it_and_begins_anew() -> None:
    online = srl.Online(network(), srl.RTRL(), srl.optimizers.sgd(1e-9), srl.losses.squared_error, batch=LANES)
    x, step = pulse()[AT:], expected_step() - AT
    for t in range(step):
        online.predict_one(x[t])
    for _ in range(2):
        with pytest.raises(SimulationDiverged, match=f"{WHERE} at step {step};"):
            online.predict_one(x[step])
    assert online.steps == step
    online.reset()
    np.testing.assert_array_equal(online.predict_one(x[0]), [[0.0], [2.0]])


def test_parameters_and_readouts_that_are_not_finite() -> None:
    net = network()
    net.view(net.theta)["h<-x"]["v"][0] = np.nan
    with pytest.raises(SimulationDiverged, match=r"^parameter h<-x\['v'\] is not finite; initialize or write it anew"):
        srl.simulate(net, pulse(0.5))
    with pytest.raises(SimulationDiverged, match=f"readout 'z', output 0, lane 1 is inf at step {AT};"):
        srl.simulate(network(0.0, readout=1.7e308), pulse(1.3))
    for wrong in (net.theta * np.nan, net.theta * 1j, np.full(net.theta.shape, "a")):
        with pytest.raises(ValueError, match="theta holds values that are no finite real numbers"):
            net.theta = wrong


def test_a_gradient_that_is_not_finite_names_its_parameter() -> None:
    net, x = network(0.0), pulse(0.5)
    large = 1e300 * srl.losses.squared_error(np.full((STEPS, LANES, 1), 1e9))
    with pytest.raises(FloatingPointError, match=r"^gradient: gradient of .*\['.*'\] is not finite \(loss"):
        srl.gradient(net, srl.RTRL(), x, large)
    online = srl.Online(net, srl.RTRL(), srl.optimizers.sgd(0.1), lambda y: 1e300 * srl.losses.squared_error(y), batch=LANES)
    before = net.theta.copy()
    online.predict_one(x[AT])
    with pytest.raises(FloatingPointError, match=r"^Online, step 0: gradient of .* is not finite .*; nothing was changed"):
        online.learn_one([1e9, 1e9])
    np.testing.assert_array_equal(net.theta, before)
