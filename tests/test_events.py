"""The window of events beside plain dense arrays: what is listed, kept, forgotten and delivered."""

from __future__ import annotations

import numpy as np
import pytest

from spikertrl.simulation.delivery import _solid
from spikertrl.simulation.events import EventQueue, deliver_step, list_units, push_step
from tolerances import VALUES64

CHANNELS, UNITS, LANES, HISTORY = 3, 4, 2, 3
PIECES = (1, 5, 2)  # shorter and longer than what is kept
SOURCES = CHANNELS + UNITS
LISTED = np.array([True, False, True])  # channel 1 is analog


def messages(steps: int, sources: int, seed: int = 0) -> np.ndarray:
    """(steps, lanes, sources), two thirds of them silent."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(steps, LANES, sources)) * (rng.random((steps, LANES, sources)) < 1 / 3)


def window(past: EventQueue, x: np.ndarray, y: np.ndarray, listed: np.ndarray = LISTED) -> EventQueue:
    """One piece: input fed, units heard step by step, and kept in ``past``."""
    queue = EventQueue(HISTORY, len(x), LANES, SOURCES, np.dtype(float))
    for array in (queue.values, queue.fired, queue.n_fired):
        array[...] = 99  # buffers are used again: nothing of an earlier piece may show
    queue.begin(past)
    queue.feed(x, listed)
    for t in range(len(y)):
        push_step(y[t], HISTORY + t, CHANNELS, queue.values, queue.fired, queue.n_fired)
    past.follow(queue)
    return queue


def lists(queue: EventQueue) -> list[list[list[int]]]:
    """Sources listed, by row and lane."""
    rows = zip(queue.fired, queue.n_fired, strict=True)
    return [[f[:n].tolist() for f, n in zip(fired, count, strict=True)] for fired, count in rows]


def expected(values: np.ndarray) -> list[list[list[int]]]:
    """Sources with a message, analog channels left out."""
    listed = np.concatenate((LISTED, np.ones(UNITS, bool)))
    return [[np.flatnonzero((lane != 0) & listed).tolist() for lane in row] for row in values]


def run(forget: tuple[int, np.ndarray | slice] | None = None) -> tuple[list[EventQueue], np.ndarray, EventQueue]:
    """All pieces; the whole course with ``HISTORY`` silent steps before it; before piece forget[0] some lanes begin anew."""
    past, queues = EventQueue(HISTORY, 0, LANES, SOURCES, np.dtype(float)), []
    x, y = messages(sum(PIECES), CHANNELS, 1), messages(sum(PIECES), UNITS, 2)
    course = np.concatenate((np.zeros((HISTORY, LANES, SOURCES)), np.concatenate((x, y), axis=2)))
    begin = 0
    for number, tau in enumerate(PIECES):
        if forget and forget[0] == number:
            past.forget(forget[1])
            course[: HISTORY + begin, forget[1]] = 0
        queues.append(window(past, x[begin : begin + tau], y[begin : begin + tau]))
        begin += tau
    return queues, course, past


@pytest.mark.parametrize("forget", [None, (2, slice(None)), (2, np.array([False, True]))], ids=["on", "all", "one"])
def test_pieces_see_the_steps_before_them(forget) -> None:
    queues, course, past = run(forget)
    last, rows = queues[-1], HISTORY + PIECES[-1]
    np.testing.assert_array_equal(last.values, course[-rows:])
    assert lists(last) == expected(course[-rows:])
    np.testing.assert_array_equal(past.values, course[-HISTORY:])
    assert lists(past) == expected(course[-HISTORY:])
    before = [lane for row in lists(last)[:HISTORY] for lane in row]
    assert any(before[0::LANES]) == (forget is None or not isinstance(forget[1], slice)), "lane 0 goes on unless all begin anew"


def test_a_lane_that_forgets_has_nothing_in_flight() -> None:
    past = run()[2]
    assert past.n_fired.all(axis=0).any()
    kept = past.values[:, 0].copy(), past.fired[:, 0].copy(), past.n_fired[:, 0].copy()
    past.forget(np.array([False, True]))
    assert not past.values[:, 1].any() and not past.n_fired[:, 1].any()
    for array, before in zip((past.values, past.fired, past.n_fired), kept, strict=True):
        np.testing.assert_array_equal(array[:, 0], before)


def test_without_channels_that_are_listed_units_are() -> None:
    past = EventQueue(HISTORY, 0, LANES, SOURCES, np.dtype(float))
    x, y = messages(4, CHANNELS, 1), messages(4, UNITS, 2)
    queue = window(past, x, y, np.zeros(CHANNELS, bool))
    np.testing.assert_array_equal(queue.values[HISTORY:], np.concatenate((x, y), axis=2))
    assert lists(queue)[HISTORY:] == [[(CHANNELS + np.flatnonzero(lane)).tolist() for lane in row] for row in y]


@pytest.mark.parametrize("first", [0, 2])
def test_events_of_units_are_listed_in_order(first: int) -> None:
    """Channels and the steps before ``first`` are left out."""
    queue = run()[0][1]
    step, lane, unit, value = list_units(queue.values, queue.fired, queue.n_fired, HISTORY, first, CHANNELS)
    dense = queue.values[HISTORY:, :, CHANNELS:].copy()
    dense[:first] = 0
    assert len(step) > 3
    np.testing.assert_array_equal(np.stack((step, lane, unit)), np.stack(np.nonzero(dense)))
    np.testing.assert_array_equal(value, dense[np.nonzero(dense)])


@pytest.mark.parametrize(("in_order", "density"), [(False, 0.5), (True, 0.5), (True, 1.0)])
def test_delivery_is_a_sum_over_synapses(in_order: bool, density: float) -> None:
    """Two ports, delays 0 to 2: every synapse brings weight times the message of ``delay`` steps ago, in its own lane.

    Where all synapses are there, those of a source end side by side.
    """
    rng, (queues, course, _) = np.random.default_rng(3), run()
    queue, delays, targets = queues[1], np.array([0, 2]), 6  # places of a lane: two ports of three units
    weights = rng.normal(size=(len(delays), targets, SOURCES)) * (rng.random((len(delays), targets, SOURCES)) < density)
    weights[:, :, 1] = 0  # the analog channel
    d, source, place = np.nonzero(weights.transpose(0, 2, 1))
    theta = rng.permutation(np.concatenate((weights[d, place, source], [77.0])))
    where = np.array([np.flatnonzero(theta == w)[0] for w in weights[d, place, source]], np.int32)
    pointer = np.searchsorted(d * (SOURCES + 1) + source, np.arange(2)[:, None] * (SOURCES + 1) + np.arange(SOURCES + 1))
    solid = _solid({"start": np.zeros(len(d), np.int64), "offset": place.astype(np.int64)}, pointer)
    assert solid.tolist() == [density == 1] * 2
    stride, row, start = np.full(len(d), targets, np.int32), 2, HISTORY + PIECES[0] + 2
    currents = rng.normal(size=LANES * targets)
    before = currents.reshape(LANES, targets).copy()
    flat = (where[:0], theta[where]) if in_order else (where, theta)
    window = HISTORY + row, queue.values, queue.fired, queue.n_fired
    deliver_step(*window, delays, pointer, place.astype(np.int32), stride, solid, *flat, currents)
    wanted = before + sum(course[start - delay] @ weights[k].T for k, delay in enumerate(delays))
    assert np.abs(wanted - before).max() > 0.1
    np.testing.assert_allclose(currents.reshape(LANES, targets), wanted, rtol=VALUES64, atol=VALUES64)
