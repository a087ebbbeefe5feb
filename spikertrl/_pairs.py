"""Connected pairs of units, and the matrix of weights behind the pairs of each unit."""

from __future__ import annotations

import numpy as np


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
        **_weight_matrices(target, np.cumsum(new) - 1, port, pair_ptr),
    }


def _weight_matrices(target: np.ndarray, pair: np.ndarray, port: np.ndarray, pair_ptr: np.ndarray) -> dict[str, np.ndarray]:
    """Where each synapse lies in its unit's (ports, pairs) matrix."""
    n_units, n_ports = len(pair_ptr) - 1, int(port.max(initial=0)) + 1
    reached = np.zeros((n_units, n_ports), bool)
    reached[target, port] = True
    rank = np.cumsum(reached, axis=1) - 1
    count = reached.sum(1)
    heard = np.full((n_units, max(int(count.max(initial=0)), 1)), -1, np.int64)
    units, ports = np.nonzero(reached)
    heard[units, rank[units, ports]] = ports
    starts = np.concatenate(([0], np.cumsum(count * np.diff(pair_ptr))))
    place = starts[target] + rank[target, port] * np.diff(pair_ptr)[target] + pair - pair_ptr[target]
    return {"weight_ptr": starts, "syn_place": place, "heard_ports": heard}
