"""EventQueue: who sent what, when, for as long as a delay may ask.

An event carries a value (kept here) and a row of sensitivities (kept by the learner under the same step and slot). The queue is
a window of ``history + tau`` steps over all sources (input channels, then units): dense values, and per step and lane the list
of sources that sent one, in increasing order, so that delivery is deterministic and costs nothing for silent sources.
"""

from __future__ import annotations

import numpy as np

from ..loops import inner, loop


class EventQueue:
    """Messages of the last ``history`` steps and of the ``tau`` steps being simulated.

    Attributes
    ----------
    values : ndarray (history + tau, B, sources)
        Messages; row ``history + t`` is step t of the piece.
    fired : ndarray (history + tau, B, sources) int32
        Sources with a nonzero message, packed to the front.
    n_fired : ndarray (history + tau, B) int32
        How many entries of ``fired`` count.
    """

    def __init__(self, history: int, tau: int, batch: int, sources: int, dtype: np.dtype) -> None:
        self.history, self.tau = history, tau
        self.values = np.zeros((history + tau, batch, sources), dtype)
        self.fired = np.zeros((history + tau, batch, sources), np.int32)
        self.n_fired = np.zeros((history + tau, batch), np.int32)

    def begin(self, past: EventQueue) -> None:
        """Start a piece: ``past`` (a window of tau = 0) becomes the first ``history`` rows."""
        h = self.history
        self.values[:h], self.fired[:h], self.n_fired[:h] = past.values, past.fired, past.n_fired
        self.n_fired[h:] = 0

    def follow(self, window: EventQueue) -> None:
        """Keep the last ``history`` rows of a window that has been run."""
        for mine, theirs in ((self.values, window.values), (self.fired, window.fired), (self.n_fired, window.n_fired)):
            mine[...] = theirs[len(theirs) - self.history :]

    def forget(self, lanes: np.ndarray | slice) -> None:
        """Drop everything that the given lanes (bool, or a slice) have in flight."""
        self.values[:, lanes] = 0.0
        self.n_fired[:, lanes] = 0

    def feed(self, x: np.ndarray, listed: np.ndarray | None) -> None:
        """Put external input x (tau, B, channels) into the piece; channels ``listed`` (bool) are delivered as events."""
        self.values[self.history :, :, : x.shape[2]] = x
        if listed is not None:
            _list_inputs(self.values, self.fired, self.n_fired, self.history, listed)


@loop()
def _list_inputs(values, fired, n_fired, history, listed):
    for r in range(history, values.shape[0]):
        for b in range(values.shape[1]):
            n = 0
            for k in range(len(listed)):
                if listed[k] and values[r, b, k] != 0:
                    fired[r, b, n] = k
                    n += 1
            n_fired[r, b] = n


@inner()
def push(y, row, first, values, fired, n_fired):
    """Emit: store messages y (B, n) of the sources ``first``... at window row ``row`` and list those that are not silent."""
    for b in range(y.shape[0]):
        n = n_fired[row, b]
        for i in range(y.shape[1]):
            value = y[b, i]
            values[row, b, first + i] = value
            if value != 0:
                fired[row, b, n] = first + i
                n += 1
        n_fired[row, b] = n


@inner()
def deliver(row, values, fired, n_fired, delays, pointer, place, stride, solid, where, weights, currents):
    """Deliver: add weight * y to the inputs of every target of every event due at window row ``row``.

    ``delays`` (D): the distinct delays; ``pointer`` (D, sources + 1): synapses of each source with that delay. Synapse c ends
    at ``place[c] + lane * stride[c]`` of the flat ``currents``; its weight is ``weights[where[c]]``, or ``weights[c]`` if
    ``where`` is empty. ``solid`` (D): the synapses of every source end side by side, in one place after the other.
    """
    in_order = len(where) == 0
    for d in range(len(delays)):
        if in_order and solid[d]:
            _deliver_rows(row - delays[d], values, fired, n_fired, pointer[d], place, stride, weights, currents)
        else:
            _deliver_lists(row - delays[d], values, fired, n_fired, pointer[d], place, stride, where, weights, currents)


@inner()
def _deliver_rows(r, values, fired, n_fired, pointer, place, stride, weights, currents):
    """What was sent in row r, with one delay, by vector instructions: synapses that end side by side, weights in order."""
    for b in range(values.shape[1]):
        for e in range(n_fired[r, b]):
            source = fired[r, b, e]
            y, first, last = values[r, b, source], pointer[source], pointer[source + 1]
            if first < last:
                to = place[first] + b * stride[first]
                row, into = weights[first:last], currents[to : to + last - first]
                for k in range(len(row)):
                    into[k] += row[k] * y


@inner()
def _deliver_lists(r, values, fired, n_fired, pointer, place, stride, where, weights, currents):
    """What was sent in row r, with one delay, synapse by synapse."""
    in_order = len(where) == 0
    for b in range(values.shape[1]):
        for e in range(n_fired[r, b]):
            source = fired[r, b, e]
            y = values[r, b, source]
            for c in range(pointer[source], pointer[source + 1]):
                weight = weights[c] if in_order else weights[where[c]]
                to = place[c] if b == 0 else place[c] + b * stride[c]
                currents[to] += weight * y


@loop()
def list_units(values, fired, n_fired, history, first, n_channels):
    """Step, lane, unit and message of all events that units sent from step ``first`` of the piece on, in that order."""
    total = 0
    for r in range(history + first, values.shape[0]):
        for b in range(values.shape[1]):
            for e in range(n_fired[r, b]):
                total += fired[r, b, e] >= n_channels
    step, lane, unit = np.empty(total, np.int64), np.empty(total, np.int64), np.empty(total, np.int64)
    value = np.empty(total, values.dtype)
    n = 0
    for r in range(history + first, values.shape[0]):
        for b in range(values.shape[1]):
            for e in range(n_fired[r, b]):
                source = fired[r, b, e]
                if source >= n_channels:
                    step[n], lane[n], unit[n], value[n] = r - history, b, source - n_channels, values[r, b, source]
                    n += 1
    return step, lane, unit, value


@loop()
def push_step(y, row, first, values, fired, n_fired):
    """``push``, for Python."""
    push(y, row, first, values, fired, n_fired)


@loop()
def deliver_step(row, values, fired, n_fired, delays, pointer, place, stride, solid, where, weights, currents):
    """``deliver``, for Python."""
    deliver(row, values, fired, n_fired, delays, pointer, place, stride, solid, where, weights, currents)
