"""Projections in indices."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np

from .elements import Elements, Projection


@dataclass(frozen=True, eq=False)
class Link:
    """A projection in indices: weights theta[theta] as (ports, post, pre), or (ports, synapses) of a CSR mask (post, pre)."""

    source: int  # first source
    target: int  # first unit
    shape: tuple[int, int]  # (post, pre)
    ports: np.ndarray  # places among the ports of the target
    theta: slice
    delay: int | np.ndarray  # steps, one for all or one per synapse of the mask
    indptr: np.ndarray
    indices: np.ndarray
    is_dense: bool  # every pair is connected, all with the same delay
    trained: np.ndarray  # (ports) bool: the weights are learned

    @functools.cached_property
    def delays(self) -> np.ndarray:
        """Steps of every synapse of the mask."""
        return np.array(np.broadcast_to(self.delay, self.n_synapses), np.int64)

    @functools.cached_property
    def posts(self) -> np.ndarray:
        """Target of every synapse of the mask, counted from the first one."""
        return np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))

    @functools.cached_property
    def by_source(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Synapses in the order of their sources: pointer (pre + 1), target units, delays, places in the order of the mask."""
        place = np.argsort(self.indices, kind="stable")
        pointer = np.searchsorted(self.indices[place], np.arange(self.shape[1] + 1))
        return pointer, self.posts[place], self.delays[place], place

    @functools.cached_property
    def is_trained(self) -> bool:
        """The weights of some port are learned."""
        return bool(self.trained.any())

    @functools.cached_property
    def runs(self) -> list[tuple[slice, slice]]:
        """Ports that lie side by side, as (places in ``ports``, ports)."""
        cuts = [0, *(np.flatnonzero(np.diff(self.ports) != 1) + 1).tolist(), len(self.ports)]
        return [(slice(a, b), slice(int(self.ports[a]), int(self.ports[b - 1]) + 1)) for a, b in itertools.pairwise(cuts)]

    @property
    def n_synapses(self) -> int:
        """Synapses per port."""
        return len(self.indices)


def link(net: Elements, projection: Projection, blocks: dict, n_channels: int) -> Link:
    """A projection of a network whose parameters lie in ``blocks`` (see ``wiring.layout``)."""
    target, inside = net.populations[projection.target], projection.source in net.populations
    first = n_channels + net.populations[projection.source].start if inside else net.inputs[projection.source].start
    post, pre, delay = synapses(projection)
    parts = [blocks[projection.name, port][0] for port in projection.ports]
    same = len(delay) == 0 or bool((delay == delay[0]).all())
    return Link(
        first, target.start, projection.shape, np.array([target.cell.ports.index(port) for port in projection.ports]),
        slice(parts[0].start, parts[-1].stop), int(delay.max(initial=0)) if same else delay,
        np.searchsorted(post, np.arange(projection.shape[0] + 1)), pre, projection.is_dense and same,
        np.array([port in projection.trained_ports for port in projection.ports]),
    )  # fmt: skip


def synapses(projection: Projection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(post, pre, delay) of every synapse in CSR order, local indices."""
    if projection.indptr is None or projection.indices is None:
        post, pre = (x.reshape(-1) for x in np.indices(projection.shape))
    else:
        post = np.repeat(np.arange(projection.shape[0]), np.diff(projection.indptr))
        pre = projection.indices
    return post.astype(np.int64), pre.astype(np.int64), np.broadcast_to(projection.delay, post.shape).astype(np.int64)


def pair_tables(table: dict[str, np.ndarray], recurrent: np.ndarray, n_units: int, n_channels: int) -> dict[str, np.ndarray]:
    """Unit-to-unit synapses grouped by (post, pre, delay): ports that share a pair share its sensitivity row."""
    target, source, delay, port, theta = (table[n][recurrent] for n in ("target", "source", "delay", "port", "theta"))
    order = np.lexsort((port, delay, source, target))
    target, source, delay, port, theta = (x[order] for x in (target, source, delay, port, theta))
    new = np.ones(len(target), bool)
    new[1:] = (np.diff(target) != 0) | (np.diff(source) != 0) | (np.diff(delay) != 0)
    first = np.flatnonzero(new)
    pair_ptr = np.searchsorted(target[first], np.arange(n_units + 1))
    return {
        "pair_ptr": pair_ptr,
        "pair_pre": source[first] - n_channels,
        "pair_delay": delay[first],
        "pair_syn": np.append(first, len(target)),
        "syn_theta": theta,
        "syn_port": port,
        **_outgoing(target, source - n_channels, delay, port, first, np.cumsum(new) - 1, n_units),
    }


def _outgoing(target: np.ndarray, pre: np.ndarray, delay: np.ndarray, port: np.ndarray, first: np.ndarray, pair: np.ndarray,
              n_units: int) -> dict[str, np.ndarray]:  # fmt: skip
    """Pairs by (delay, pre, post): what a unit's event reaches, with the weights of all ports of a pair side by side."""
    reached = np.zeros((n_units, int(port.max(initial=0)) + 1), bool)
    reached[target, port] = True
    rank = np.cumsum(reached, axis=1) - 1
    most = max(int(reached.sum(1).max(initial=0)), 1)
    heard = np.full((n_units, most), -1, np.int64)
    units, ports = np.nonzero(reached)
    heard[units, rank[units, ports]] = ports
    delays, index = np.unique(delay[first], return_inverse=True)
    order = np.lexsort((target[first], pre[first], index))
    place = np.argsort(order)  # of each pair among the outgoing ones
    keys = index[order] * n_units + pre[first][order]
    return {
        "delays": delays,
        "out_ptr": np.searchsorted(keys, np.arange(len(delays) * n_units + 1)),
        "out_post": target[first][order],
        "syn_place": place[pair] * most + rank[target, port],
        "heard_ports": heard,
    }
