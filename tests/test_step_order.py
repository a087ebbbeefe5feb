"""The order inside a step: deliver, advance, emit, read, learn; and what a delay means, on examples worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

import spikertrl as srl
from spikertrl import Model, Network, Port, State
from spikertrl.simulation.run import simulator
from tolerances import VALUES64

COPY = Model("copy", update="v = I_v", message="v", states={"v": State()}, ports={"v": Port()})
COUNT = Model("count", update="v = v + I_v - y", message="event(v - 1.5)", states={"v": State()}, ports={"v": Port()})


def line(values: np.ndarray) -> list[float]:
    return np.asarray(values).reshape(-1).tolist()


def chain(delay_in: int = 0, delay: object = 1, decay: float = 0.0, model: Model = COPY) -> Network:
    """x -> a -> b -> z, all weights 1 (z with bias 0)."""
    net = Network("float64").add_input("x", 1).add_population("a", model, 1).add_population("b", COPY, 1)
    net.connect("x", "a", delay=delay_in, weight=1.0).connect("a", "b", delay=delay, weight=1.0)
    return net.add_readout("z", "b", 1, decay=decay, weight=1.0).initialize(0)


def impulse(steps: int = 8, at: int = 0) -> np.ndarray:
    x = np.zeros((steps, 1, 1))
    x[at] = 1.0
    return x


def test_input_arrives_in_its_own_step_and_messages_one_step_later() -> None:
    run = srl.simulate(chain(), impulse())
    assert line(run.messages["a"])[:3] == [1, 0, 0]  # deliver, advance and emit in the step of the input
    assert line(run.messages["b"])[:3] == [0, 1, 0]
    assert line(run.z)[:3] == [0, 1, 0]  # read in the step of the message


@pytest.mark.parametrize(("delay_in", "delay"), [(0, 1), (0, 4), (3, 1), (2, 7)])
@pytest.mark.parametrize("pieces", [1, 3, 20])
def test_delays_add_up(delay_in: int, delay: int, pieces: int) -> None:
    net, x = chain(delay_in, delay), impulse(20, at=2)
    state, b = None, []
    for start in range(0, 20, pieces):
        run = srl.simulate(net, x[start : start + pieces], state=state)
        state, b = run.state, b + line(run.messages["b"])
    assert np.flatnonzero(b).tolist() == [2 + delay_in + delay]


def test_delay_as_a_time() -> None:
    net = chain(delay="4*ms")
    assert np.flatnonzero(srl.simulate(net, impulse(9)).messages["b"]).tolist() == [4]


def test_the_readout_decays_before_it_reads() -> None:
    net = chain(decay=0.5)
    net.view(net.theta)["z"]["bias"][...] = 1.0
    assert line(srl.simulate(net, impulse(4)).z) == [1.0, 0.5 + 1 + 1, 1.25 + 1, 1.125 + 1]


def test_a_unit_sees_its_own_previous_message() -> None:
    """v = v + I - y: 1, 2 (event), 2 + 1 - 1 = 2 (event) ..."""
    run = srl.simulate(chain(model=COUNT), np.ones((5, 1, 1)))
    assert line(run.states["a"]["v"]) == [1, 2, 2, 2, 2]
    assert line(run.messages["a"]) == [0, 1, 1, 1, 1]


def test_an_event_exactly_at_the_threshold_is_none() -> None:
    edge = Model("edge", update="v = I_v", message="event(v - 1)", states={"v": State()}, ports={"v": Port()})
    run = srl.simulate(chain(model=edge), np.array([1.0, np.nextafter(1.0, 2), 0.5]).reshape(3, 1, 1))
    assert line(run.messages["a"]) == [0, 1, 0]


def test_statements_take_effect_in_their_order() -> None:
    """i is new, w still old, when v is assigned."""
    order = Model(
        "order", update="i = I_i; v = i + w; w = 10*v", message="v", states={n: State() for n in "ivw"}, ports={"i": Port()}
    )
    run = srl.simulate(chain(model=order), np.ones((3, 1, 1)))
    assert line(run.states["a"]["v"]) == [1, 11, 111]


def test_biases_and_several_connections_add_up() -> None:
    biased = Model("biased", update="v = I_v", message="v", states={"v": State()}, ports={"v": Port(bias=True)})
    net = Network("float64").add_input("x", 1).add_input("w", 1).add_population("a", biased, 1, bias=0.25)
    net.connect("x", "a", weight=2.0).connect("w", "a", weight=3.0, delay=1).initialize(0)
    run = srl.simulate(net, {"x": np.ones((3, 1, 1)), "w": np.ones((3, 1, 1))})
    assert line(run.messages["a"]) == [2.25, 5.25, 5.25]


def test_two_units_by_hand() -> None:
    """Two leaky units, v = v/2 + I, event at v > 1, weights a -> b 2 (delay 2), b -> a -1 (delay 1), input 1.2 to a alone.

    t   I_a          v_a      y_a   I_b          v_b    y_b
    0   1.2          1.2      1     0            0      0
    1   1.2          1.8      1     0            0      0
    2   1.2          2.1      1     2 y_a(0)=2   2      1
    3   1.2 - 1      1.25     1     2 y_a(1)=2   3      1
    4   1.2 - 1      0.825    0     2            3.5    1
    5   1.2 - 1      0.6125   0     2            3.75   1
    6   1.2 - 1      0.50625  0     0            1.875  1
    """
    leaky = Model("leaky", update="v = 0.5*v + I_v", message="event(v - 1)", states={"v": State()}, ports={"v": Port()})
    net = Network("float64").add_input("x", 1).add_population("h", leaky, 2)
    net.connect("x", "h", mask=[[1], [0]], weight=1.2)
    net.connect(
        "h", "h", mask=[[0, 1], [1, 0]], weight=np.array([[0, -1], [2, 0]]), delay=np.array([[1, 1], [2, 1]])
    ).initialize(0)
    run = srl.simulate(net, np.ones((7, 1, 1)))
    a, b = run.states["h"]["v"][:, 0].T
    np.testing.assert_allclose(a, [1.2, 1.8, 2.1, 1.25, 0.825, 0.6125, 0.50625], rtol=VALUES64)
    np.testing.assert_allclose(b, [0, 0, 2, 3, 3.5, 3.75, 1.875], rtol=VALUES64)
    events = run.events
    assert list(zip(events.time.tolist(), events.unit.tolist(), strict=True)) == [
        (0, 0),
        (1, 0),
        (2, 0),
        (2, 1),
        (3, 0),
        (3, 1),
        (4, 1),
        (5, 1),
        (6, 1),
    ]


def test_ode_models_receive_reset_and_integrate_in_brians_order() -> None:
    """dv/dt = -v/tau: the input moves v before the decay of its step; the reset comes in the step after the spike."""
    net = Network("float64").add_input("x", 1).add_population("h", srl.models.lif, 1, t_ref="0*ms", v_reset="10*mV")
    net.connect("x", "h", weight=0.03).initialize(0)
    v = line(srl.simulate(net, impulse(3)).states["h"]["v"])
    decay = np.exp(-1 / 20)
    np.testing.assert_allclose(v, [0.03 * decay, 0.01 * decay, 0.01 * decay**2], rtol=VALUES64)


def test_refractory_units_stand_still_and_hear_nothing() -> None:
    """t_ref 3 ms: a spike at 0, then deaf until the input of step 4, as in Brian2."""
    net = Network("float64").add_input("x", 1).add_population("h", srl.models.lif, 1, t_ref="3*ms")
    net.connect("x", "h", weight=0.03).initialize(0)
    assert line(srl.simulate(net, np.ones((9, 1, 1))).messages["h"]) == [1, 0, 0, 0, 1, 0, 0, 0, 1]


def test_learning_comes_last() -> None:
    """The tape of a step holds its own z; its loss reaches the input weight of the same step; theta is not touched by a run."""
    net, x = chain(), impulse(2)
    tape = simulator(net).run(simulator(net).start(1), x)
    assert line(tape.z) == [0, 1]
    loss = srl.losses.squared_error(np.zeros((2, 1, 1)), at="last")
    value, grad = srl.gradient(net, srl.RTRL(), x, loss)
    view = net.view(grad)
    assert value == 0.5 and [
        line(view[g][p])[0] for g, p in (("b<-a", "v"), ("a<-x", "v"), ("z", "weight"), ("z", "bias"))
    ] == [1, 1, 1, 1]
