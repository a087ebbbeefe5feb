"""Another mask for a connection that is there already; what is learned of the synapses that stay goes along."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from .elements import NetworkError, Projection

if TYPE_CHECKING:
    from .network import Network


def changing(net: Network, name: str) -> Projection:
    """Say that the mask of a connection will change while the network learns: any of its units may come to hear any other.

    Exact learners then keep the sensitivity of all units that could be reached, which outlives the synapses that led there.

    Raises
    ------
    NetworkError
        If there is no such connection, or its mask cannot change.
    """
    places = {p.name: k for k, p in enumerate(net.projections)}
    if name not in places:
        raise NetworkError(f"rewire: there is no connection {name!r}; connections: {sorted(places)}")
    found = net.projections[places[name]]
    if found.indptr is None or not 0 < found.n_synapses < found.shape[0] * found.shape[1]:
        raise NetworkError(f"rewire: {name!r} has {found.n_synapses} synapses; legal: a mask, as of connect(density=0.1)")
    if found.bounds:
        raise NetworkError(f"rewire: the delays of connection {name!r} are learned; call net.round_delays() first")
    if np.ndim(found.delay):
        raise NetworkError(f"rewire: connection {name!r} has a delay for each synapse; legal: one for all")
    if set(found.trained_ports) != set(found.ports):
        raise NetworkError(f"rewire: connection {name!r} trains the ports {found.trained_ports}; legal: all, {found.ports}")
    if not found.changing:
        theta = net.theta.copy()
        found = net.projections[places[name]] = dataclasses.replace(found, changing=True)
        _built_anew(net, theta)
    return found


def remask(net: Network, name: str, indptr: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Give a connection another mask (CSR) of as many synapses; those that are new have the weight 0.

    Returns
    -------
    origin : ndarray
        For every place of the new theta its place in the old one, -1 for new synapses.

    Raises
    ------
    NetworkError
        If it is no mask of as many synapses.
    """
    place = next(k for k, p in enumerate(net.projections) if p.name == name)
    old = net.projections[place]
    indptr, indices = indptr.astype(np.int32), indices.astype(np.int32)
    new = dataclasses.replace(old, indptr=indptr, indices=indices)
    before, after = _keys(old), _keys(new)
    inside = len(indices) == 0 or 0 <= indices.min() <= indices.max() < old.shape[1]
    if len(after) != len(before) or not inside or (np.diff(after) <= 0).any():
        raise NetworkError(f"rewire: {name!r} needs a mask of {len(before)} synapses in {old.shape}, each once and in order")
    found = np.searchsorted(before, after)
    moved = np.where(before[np.minimum(found, len(before) - 1)] == after, found, -1)
    theta, layout = net.theta.copy(), net.wiring.layout
    origin = np.arange(len(theta))
    for port in old.ports:
        part = layout[name, port][0]
        origin[part] = np.where(moved >= 0, part.start + moved, -1)
    net.projections[place] = new
    _built_anew(net, np.where(origin >= 0, theta[origin], 0))
    return origin


def _keys(projection: Projection) -> np.ndarray:
    """Synapses as increasing numbers, post * pre units + pre."""
    assert projection.indptr is not None and projection.indices is not None
    post = np.repeat(np.arange(projection.shape[0], dtype=np.int64), np.diff(projection.indptr))
    return post * projection.shape[1] + projection.indices


def _built_anew(net: Network, theta: np.ndarray) -> None:
    """Index arrays are made anew; blocks of parameters lie where they lay."""
    ready = net._is_ready
    net._changed()
    net.theta[...] = theta
    net._is_ready = ready
