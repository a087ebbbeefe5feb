"""What cannot be imported exactly is refused: the message names the object, the line and the way out; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brian2 as b2
import numpy as np
import pytest
from brian2 import Hz, ms

import spikertrl as srl

pytestmark = pytest.mark.filterwarnings("ignore")


def cells(n: int = 3, eqs: str = "dv/dt = -v/(10*ms) : 1", **options: Any) -> b2.NeuronGroup:
    options = {"threshold": "v > 1", "reset": "v = 0", "method": "euler", "name": "cells"} | options
    return b2.NeuronGroup(n, eqs, **options)


def synapses(model: str = "w : 1", on_pre: Any = "v_post += w", group: Any = None, **options: Any) -> list:
    group = group or cells()
    S = b2.Synapses(group, group, model, on_pre=on_pre, name="S", **options)
    S.connect()
    return [group, S]


def regular(code: str, **options: Any) -> list:
    group = cells()
    group.run_regularly(code, name="regular", **options)
    return [group]


def operation() -> list:
    @b2.network_operation(name="python_code")
    def change() -> None:
        pass

    return [cells(), change]


def custom_event() -> list:
    group = cells(events={"high": "v > 0.5"})
    return [group]


def compartments() -> list:
    shape = b2.Cylinder(length=100 * b2.um, diameter=1 * b2.um, n=4)
    return [b2.SpatialNeuron(shape, "Im = 0*amp/metre**2 : amp/metre**2", name="tree")]


def other_clock() -> list:
    return [cells(), b2.PoissonGroup(3, 10 * Hz, dt=0.5 * ms, name="feed")]


def starts_above() -> list:
    group = cells()
    group.v = 2
    return [group]


def shared_state() -> list:
    return [cells(eqs="dv/dt = (c - v)/(10*ms) : 1\nc : 1 (shared)", reset="v = 0; c += 1")]


def linked() -> list:
    first = cells(name="first")
    second = cells(eqs="dv/dt = (u - v)/(10*ms) : 1\nu : 1 (linked)")
    second.u = b2.linked_var(first, "v")
    return [first, second]


def already_run() -> b2.Network:
    net = b2.Network(cells(), name="whole")
    net.run(1 * ms)
    return net


def summed() -> list:
    group = cells(eqs="dv/dt = (total - v)/(10*ms) : 1\ntotal : 1")
    S = b2.Synapses(group, group, "w : 1\ntotal_post = w*v_pre : 1 (summed)", name="S")
    S.connect()
    return [group, S]


def delayed_state() -> list:
    group = cells(eqs="dv/dt = -v/(10*ms) : 1\ndu/dt = -u/(20*ms) : 1", reset="v = 0; u += 1")
    return synapses(on_pre="v_post += w*u_pre", group=group, delay=1 * ms)


STDP = """
w : 1
dtrace/dt = -trace/(20*ms) : 1 (event-driven)
"""

LEAK = "dv/dt = -v/(10*ms) : 1"
CELLS, SYN = "NeuronGroup 'cells'", "Synapses 'S'"

# what: (builder, trainable, object, line, way out)
TABLE: dict[str, tuple[Callable[[], Any], list[str], str, str, str]] = {
    "event-driven state": (lambda: synapses(STDP, "v_post += w; trace += 1"), [], SYN, "dtrace/dt", "that decays there"),
    "clock-driven state": (lambda: synapses("dg/dt = -g/(5*ms) : 1 (clock-driven)", "g += 1", method="exact"), [], SYN, "dg/dt",
                           "that decays there"),
    "on_post": (lambda: synapses(on_post="w = clip(w + 0.1, 0, 1)"), [], SYN, "on_post: w = clip", "leave on_post out"),
    "plastic weight": (lambda: synapses(on_pre="v_post += w; w *= 0.9"), [], SYN, "w *= 0.9", "leave it out"),
    "writes the sender": (lambda: synapses(on_pre="v_post += w; v_pre += 1"), [], SYN, "v_pre += 1", "in the reset"),
    "random synapse": (lambda: synapses(on_pre="v_post += w*int(rand() < 0.5)"), [], SYN, "rand()", "PoissonGroup"),
    "sets instead of adds": (lambda: synapses(on_pre="v_post = w"), [], SYN, "v_post = w", "v_post += ..."),
    "scales its target": (lambda: synapses(on_pre="v_post += w*(1 - v_post)"), [], SYN, "v_post += w", "on the right"),
    "state behind a delay": (delayed_state, [], SYN, "u_pre", "use no delay"),
    "summed variable": (summed, [], SYN, "total_post", "let each spike add"),
    "not linear": (lambda: synapses(on_pre="v_post += w**2"), ["S.w"], SYN, "w**2", "one variable of the synapse"),
    "trained twice": (lambda: synapses(on_pre={"a": "v_post += w", "b": "v_post += 2*w*int(i > 1)"}), ["S.w"], SYN,
                      "2*w", "a variable of its own"),
    "not in on_pre": (lambda: synapses("w : 1\nu : 1"), ["S.u"], SYN, "v_post += w", "stands in on_pre"),
    "trained state": (lambda: [cells()], ["cells.v"], CELLS, "trainable: v", "train a parameter"),
    "trained constant": (lambda: [cells(namespace={"k": 1})], ["cells.k"], CELLS, "trainable: k", "declare it there"),
    "trained but unused": (lambda: [cells(eqs=f"{LEAK}\nk : 1")], ["cells.k"], CELLS, "trainable: k", "that does"),
    "trained period": (lambda: [cells(eqs=f"{LEAK}\nr : second", refractory="r")], ["cells.r"], CELLS, "refractory: r",
                       "another parameter"),
    "trained sender": (lambda: synapses(on_pre="v_post += w*k_pre", group=cells(eqs="dv/dt = -k*v/ms : 1\nk : 1")), ["cells.k"],
                       SYN, "w*k_pre", "train the weight"),
    "nothing changes": (lambda: [b2.NeuronGroup(2, "k : 1", name="cells")], [], CELLS, "k : 1", "leave the group out"),
    "has run, as a list": (lambda: list(already_run().objects), [], CELLS, "0.001 s", "import it before run()"),
    "stochastic": (lambda: [cells(eqs="dv/dt = -v/(10*ms) + xi*(1*ms)**-0.5 : 1")], [], CELLS, "xi", "PoissonGroup"),
    "random threshold": (lambda: [cells(threshold="rand() < 0.1")], [], CELLS, "rand() < 0.1", "PoissonGroup"),
    "two thresholds": (lambda: [cells(threshold="v > 1 or v < -1")], [], CELLS, "v > 1 or v < -1", "v > v_th"),
    "random reset": (lambda: [cells(reset="v = rand()")], [], CELLS, "reset: v = rand()", "PoissonGroup"),
    "no solution": (lambda: [cells(eqs="dv/dt = -v**2/ms : 1", method="exact")], [], CELLS, "method='exact'", "use 'rk4'"),
    "unknown function": (lambda: [cells(eqs="dv/dt = -sinh(v)/(10*ms) : 1")], [], CELLS, "sinh", "write it with"),
    "remainder": (lambda: [cells(eqs="dv/dt = -(v % 2)/(10*ms) : 1")], [], CELLS, "%", "as a parameter"),
    "boolean refractory": (lambda: [cells(refractory="v > 0.5")], [], CELLS, "refractory: v > 0.5", "give a time"),
    "custom event": (custom_event, [], CELLS, "high: v > 0.5", "threshold="),
    "shared state": (shared_state, [], CELLS, "'c'", "of each neuron"),
    "linked variable": (linked, [], CELLS, "u (linked)", "with Synapses"),
    "random operation": (lambda: regular("v += 0.1*randn()"), [], "'cells'", "randn()", "PoissonGroup"),
    "rare operation": (lambda: regular("v = 0", dt=10 * ms), [], "'regular'", "v = 0", "leave out dt="),
    "late operation": (lambda: regular("v *= 0.5", when="end"), [], "'regular'", "v *= 0.5", "when='start'"),
    "network operation": (operation, [], "'python_code'", "", "run_regularly"),
    "compartments": (compartments, [], "SpatialNeuron 'tree'", "", "point neuron"),
    "another dt": (other_clock, [], "PoissonGroup 'feed'", "0.0005 s", "one dt"),
    "starts above": (starts_above, [], CELLS, "v > 1", "start it below"),
    "has run": (already_run, [], "Network 'whole'", "0.001 s", "import it before run()"),
    "lastspike": (lambda: [cells(reset="v = (t - lastspike)/ms")], [], CELLS, "lastspike", "state of its own"),
}  # fmt: skip


@pytest.mark.parametrize("what", TABLE)
def test_refused_by_name(what: str) -> None:
    build, trainable, thing, line, way_out = TABLE[what]
    network = build()
    with pytest.raises(srl.BrianImportError) as caught:
        srl.from_brian(network, trainable=trainable)
    message = str(caught.value)
    assert thing in message and line in message and way_out in message, message


def test_what_is_refused_still_runs() -> None:
    """The refused network is as it was: it runs, and importing it without the refused part works."""
    group, S = synapses(on_pre="v_post += w", on_post="w = 0.5*w")
    S.w, group.v = 0.2, [0.1, 0.2, 0.9]
    with pytest.raises(srl.BrianImportError):
        srl.from_brian([group, S])
    b2.Network(group, S).run(1 * ms)
    assert np.all(np.asarray(group.v) < 0.9)


@pytest.mark.parametrize(
    "network, trainable, words",
    [(3, (), "Network or a list"), ([], (), "no NeuronGroup"), ([1], (), "Brian2 objects"), ("cells", [3], "S.w")],
)
def test_wrong_arguments(network: Any, trainable: Any, words: str) -> None:
    with pytest.raises(srl.BrianImportError, match=words):
        srl.from_brian([cells()] if network == "cells" else network, trainable=trainable)


def test_a_synapse_to_an_absent_group() -> None:
    group, S = synapses()
    with pytest.raises(srl.BrianImportError, match="'cells' is not among the imported objects"):
        srl.from_brian([cells(name="another"), S])
    del group


def test_unknown_names() -> None:
    group = cells(eqs="dv/dt = -v/unheard : 1")
    with pytest.raises(srl.BrianImportError, match=r"'cells'.*\"unheard\" could not be resolved.*namespace="):
        srl.from_brian([group], namespace={})
