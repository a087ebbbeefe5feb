"""Rows of the influence advanced by events are those advanced step by step: the same gradient, with fewer passes."""

import itertools

import numpy as np
import pytest

import spikertrl as srl
from spikertrl.learners.base import Signal
from spikertrl.learners.engines.choose import override
from spikertrl.learners.engines.rows import dense_kernel
from spikertrl.learners.engines.rows.event_plan import cut_steps
from spikertrl.simulation.run import simulator
from spikertrl.training import checkpoint

RTOL, ATOL = 1e-9, 1e-13  # float64: sums in another order, leaks multiplied beforehand
TAPES = (9, 1, 16, 2, 12)


def network(decay: float, heard: float = 0.5, leaves: int = 0) -> srl.Network:
    """Seldom gradient-active units; half of the inputs are silent at first, so that columns come alive one after the other.

    ``leaves``: units that reach no other one.
    """
    narrow = srl.surrogates.triangle(0.7, 0.3)
    net = srl.Network("float64").add_input("x", 8, kind="event")
    net.add_population("h", srl.models.egru, 30, surrogate=narrow, theta=0.25).add_population("r", srl.models.gru, 2)
    net.connect("x", "h", density=heard, seed=3, weight=2.0).connect("h", "h", density=0.3, seed=1)
    net.connect("h", "r", density=0.5, seed=4).connect("r", "h", density=0.5, seed=5)
    net.add_readout("fast", "h", 2).add_readout("slow", "h", 2, decay=decay)
    if leaves:
        net.add_population("leaf", srl.models.egru, leaves, surrogate=narrow, theta=0.25).connect("h", "leaf")
        net.add_readout("far", "leaf", 2, decay=decay)
    return net.initialize(1)


def late(decay: float) -> srl.Network:
    """Units of one, two and four states, thresholds that are learned, delays of 1 to 6 steps, leaves that reach no unit."""
    narrow, wide = srl.surrogates.triangle(0.7, 0.15), srl.surrogates.triangle(0.7, 0.6)
    delays = np.random.default_rng(0).integers(1, 7, (20, 20))
    net = srl.Network("float64").add_input("x", 8, kind="event")
    net.add_population("h", srl.models.egru, 20, surrogate=narrow, theta=0.25)
    net.add_population("r", srl.models.alif, 4, surrogate=wide, trainable=("beta",))
    net.add_population("leaf", srl.models.alif, 5, surrogate=wide).add_population("four", srl.models.egru_subramoney_2023, 3)
    net.connect("h", "four", weight=0.3).connect("four", "four", delay=2, weight=0.3).connect("four", "h", density=0.5, seed=6)
    net.connect("x", "h", density=0.5, seed=3, weight=2.0).connect("h", "h", density=0.4, seed=1, delay=delays)
    net.connect("h", "r", delay=2, weight=0.1).connect("r", "h", density=0.5, seed=5, delay=3).connect("h", "leaf", weight=0.1)
    net.add_readout("fast", "h", 2).add_readout("slow", "r", 1, decay=decay).add_readout("far", "leaf", 1, decay=decay)
    return net.initialize(1)


def drive(net: srl.Network, lanes: int, ways: dict[str, tuple]) -> tuple[dict[str, list], dict[str, object]]:
    """Gradients over several tapes, with losses in their midst and at their ends; one lane is reset before one of them."""
    rng, machine = np.random.default_rng(0), simulator(net)
    start, found = machine.start(lanes), {name: [] for name in ways}
    kept = {name: learner.init(net, lanes) for name, (learner, *_) in ways.items()}
    for number, tau in enumerate(TAPES):
        x = (rng.random((tau, lanes, 8)) < 0.1) * (np.arange(8) < 4 + number)
        if number == 3:
            start.reset_lanes(np.arange(lanes) == lanes - 1)
        tape = machine.run(start, x.astype(float))
        signal = Signal(0.0, np.zeros_like(tape.z))
        signal.dz[[tau // 2, -1]] = rng.normal(size=signal.dz[[tau // 2, -1]].shape)
        for name, (learner, store) in ways.items():
            with override(store_bytes=store):
                found[name].append(learner.update(kept[name], tape, signal))
    return found, kept


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize(("decay", "leaves"), [(0.0, 0), (0.8, 0), (0.8, 12)])
def test_by_events_equals_by_steps_and_dense(lanes, decay, leaves):
    events = srl.RTRL(route="events")
    ways = {
        "dense": (srl.RTRL(dense=True), 1 << 20), "rows": (srl.RTRL(route="rows"), 1 << 20),
        "general rows": (srl.RTRL(route="general rows"), 1 << 20),
        "one segment": (events, 1 << 20), "short segments": (events, 8 << 10),
    }  # fmt: skip
    net = network(decay, leaves=leaves)
    layout = srl.RTRL().init(net, lanes).layout
    assert layout.full_reach.any() and layout.full_reach.all() == (leaves == 0)
    row = layout.stride[layout.full_reach].max() * 8
    assert 8 * row > dense_kernel.NEAR_BYTES and row > 2 * dense_kernel.PART_BYTES  # eight senders are enough for parts
    compare(net, lanes, ways)


@pytest.mark.parametrize("decay", [0.0, 0.8])
def test_by_events_with_delays_and_several_states(decay):
    """Rows on their way from tape to tape, longer delays than tapes, a lane that begins anew."""
    events = srl.RTRL(route="events")
    ways = {
        "dense": (srl.RTRL(dense=True), 1 << 20), "general rows": (srl.RTRL(route="general rows"), 1 << 20),
        "one segment": (events, 1 << 20), "short segments": (events, 1 << 10),
    }  # fmt: skip
    net = late(decay)
    full = srl.RTRL().init(net, 3).layout.full_reach
    assert not full.any() and net.wiring.row_history == 6 and set(net.wiring.S) == {1, 2, 4}
    compare(net, 3, ways)
    given = [(tau, share) for tau in (1, 16) for share in (0.1, 1)]
    chosen = {(tau, share): srl.explain(net, srl.RTRL(), tau=tau, active=share).plan.route for tau, share in given}
    assert chosen == {(1, 0.1): "general rows", (16, 0.1): "events", (1, 1): "general rows", (16, 1): "general rows"}


def compare(net: srl.Network, lanes: int, ways: dict[str, tuple]) -> None:
    """Each way gives what the first one, the dense one, gives."""
    found, states = drive(net, lanes, ways)
    asked = {"rows": "rows", "general rows": "general rows", "one segment": "events", "short segments": "events"}
    assert all(states[name].routes == {route: 5} for name, route in asked.items() if name in ways)
    for name in list(ways)[1:]:
        for tape, (expected, gradient) in enumerate(zip(found["dense"], found[name], strict=True)):
            assert np.abs(expected).max() > 1e-3
            room = ATOL * np.abs(expected).max()
            np.testing.assert_allclose(gradient, expected, rtol=RTOL, atol=room, err_msg=f"{name}, tape {tape}")


def test_last_piece_gives_the_same_gradient_and_ends_the_sequence():
    net, rng = network(0.8), np.random.default_rng(1)
    machine, x = simulator(net), (rng.random((14, 2, 8)) < 0.2).astype(float)
    signal = np.zeros((14, 2, 4))
    signal[[3, 6, 13]] = rng.normal(size=(3, 2, 4))
    found = []
    for last in (False, True):
        start, kept = machine.start(2), srl.RTRL().init(net, 2)
        for _ in range(2):  # the second sequence begins anew on what the first has left
            start.reset_lanes()
            for part in (slice(0, 5), slice(5, 14)):
                tape = machine.run(start, x[part])
                piece = Signal(0.0, signal[part].copy(), last=last and part.stop == 14)
                found.append(srl.RTRL().update(kept, tape, piece))
    assert all(np.abs(gradient).max() > 1e-3 for gradient in found)
    np.testing.assert_allclose(found[4:], found[:4], rtol=1e-12, atol=1e-14)
    with pytest.raises(ValueError, match=r"lanes \[0, 1\] go on after their last piece"):
        srl.RTRL().update(kept, machine.run(start, x), Signal(0.0, signal))


def test_a_checkpoint_leaves_out_what_has_no_meaning(tmp_path):
    net = network(0.8)
    machine, kept, x = simulator(net), srl.RTRL().init(net, 2), np.ones((6, 2, 8))
    tape = machine.run(machine.start(2), x)
    sizes = {}
    for last in (False, True):
        kept.over = False
        srl.RTRL().update(kept, tape, Signal(0.0, np.ones((6, 2, 4)), last=last))
        path = checkpoint.save(tmp_path / f"{last}.npz", kept)
        again = checkpoint.load(path, net.wiring)
        assert again.M.shape == kept.M.shape and again.M.any() == (not last)
        sizes[last] = path.stat().st_size
    assert sizes[True] < sizes[False] - kept.M.nbytes / 2


def test_segments_fit_into_the_store():
    sent = np.random.default_rng(0).integers(0, 16, (31, 2)).astype(np.int32)
    for row_bytes in (8, 800):
        cuts, store = cut_steps(sent, row_bytes, 40 * row_bytes)
        rows = [sent[a : b + 1].max(1).sum() for a, b in itertools.pairwise(cuts)]
        assert cuts[0] == 0 and cuts[-1] == 30 and (np.diff(cuts) > 0).all() and len(cuts) > 3
        assert max(rows) == store <= 40
