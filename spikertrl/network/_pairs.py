"""Connected pairs of units, as each unit receives them and as each unit sends to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .wiring import Wiring


def synapse_ends(w: Wiring) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pair, target unit and source unit of every synapse between units, in the order of ``syn_theta``."""
    pair = np.repeat(np.arange(len(w.pair_pre)), np.diff(w.pair_syn))
    return pair, np.repeat(np.arange(w.n_units), np.diff(w.pair_ptr))[pair], w.pair_pre[pair]


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
