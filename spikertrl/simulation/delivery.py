"""Which projections are delivered event by event, and their synapses as the tables of ``events.deliver``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..network.elements import Elements, Projection
from ..network.projections import synapses
from ..network.wiring import Wiring


class Deliveries(NamedTuple):
    """Outgoing synapses of every source, sorted by (delay, source), for ``events.deliver``.

    The target port of a synapse begins at ``start * B`` in the currents of B lanes, its unit is ``offset`` behind, and lanes
    are ``stride`` apart. ``where`` is the place of its weight in theta. ``solid`` (delays): the synapses of every source end at
    one unit after the other, as those of a dense projection do.
    """

    delays: np.ndarray
    pointer: np.ndarray
    start: np.ndarray
    stride: np.ndarray
    offset: np.ndarray
    where: np.ndarray
    solid: np.ndarray

    def tables(self, batch: int) -> tuple[np.ndarray, ...]:
        """delays, pointer, place, stride and solid of ``events.deliver`` for so many lanes."""
        return self.delays, self.pointer, self.start * np.int32(batch) + self.offset, self.stride, self.solid


def by_event(net: Elements, projection: Projection) -> bool:
    """Event by event, or (dense sources that are rarely silent) as a matrix product for the whole step or piece."""
    if np.ndim(projection.delay):
        return True
    if projection.source in net.inputs:
        return net.inputs[projection.source].kind == "event"
    return net.populations[projection.source].cell.spiking or not projection.is_dense


def event_table(net: Elements, w: Wiring) -> Deliveries:
    """The synapses of all projections that are delivered by events; ``net`` as it is run, see ``learned_delays.delivered``."""
    names = ("source", "delay", "start", "stride", "offset", "where")
    rows: dict[str, list[np.ndarray]] = {name: [np.zeros(0, np.int64)] for name in names}
    starts, place = {}, 0
    for p in net.populations.values():
        starts[p.name] = place
        place += len(p.cell.ports) * p.size
    for projection, link in zip(net.projections, w.links, strict=True):
        if not by_event(net, projection):
            continue
        target, inside = net.populations[projection.target], projection.source in net.populations
        first = w.n_channels + net.populations[projection.source].start if inside else net.inputs[projection.source].start
        post, pre, delay = synapses(projection)
        for k, port in enumerate(projection.ports):
            ones = np.ones(len(post), np.int64)
            offset = target.cell.ports.index(port) * target.size + post
            where = link.theta.start + k * len(post) + np.arange(len(post))
            stride = ones * len(target.cell.ports) * target.size
            part = (pre + first, delay, ones * starts[target.name], stride, offset, where)
            for name, values in zip(names, part, strict=True):
                rows[name].append(values)
    table = {name: np.concatenate(parts) for name, parts in rows.items()}
    order = np.lexsort((table["offset"], table["start"], table["source"], table["delay"]))
    table = {name: values[order] for name, values in table.items()}
    delays, sources = np.unique(table["delay"]), w.n_channels + w.n_units
    keys = np.searchsorted(delays, table["delay"]) * (sources + 1) + table["source"]
    pointer = np.searchsorted(keys, np.arange(len(delays))[:, None] * (sources + 1) + np.arange(sources + 1)[None])
    start, stride, offset, where = (table[name].astype(np.int32) for name in names[2:])
    return Deliveries(delays, pointer, start, stride, offset, where, _solid(table, pointer))


def _solid(table: dict[str, np.ndarray], pointer: np.ndarray) -> np.ndarray:
    """Delays with which the synapses of every source end at one unit after the other, in one population."""
    steps = (np.diff(table["offset"]) != 1) | (np.diff(table["start"]) != 0)  # between a synapse and the next
    broken = np.concatenate(([0], np.cumsum(steps)))  # steps before a synapse that lead elsewhere
    first, last = pointer[:, :-1], pointer[:, 1:]
    whole = np.ones(first.shape, bool)
    there = last > first
    whole[there] = broken[last[there] - 1] == broken[first[there]]
    return np.logical_and.reduce(whole, axis=1)
