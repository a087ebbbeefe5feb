"""Index tables of the adjoint (see ``adjoint``), made once for a wiring."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ....derived import derived
from ....network.projections import Link
from ....network.wiring import BIAS, PHI, Wiring


class Tables(NamedTuple):
    """Populations: first unit, size, states, ports. ``start`` (N): like ``start_B``, one value per port; ``gammas``: how many.

    ``bias``: per population (port, unit, place in theta) of every bias. ``own``: places in theta of the units' own parameters,
    ``place``: the same in ``Adjoint.phi``. ``work``: multiply-adds of one step and lane through all synapses; ``reads`` (N): of
    a unit's columns, and of the synapses from other units to it.
    """

    first: np.ndarray
    size: np.ndarray
    S: np.ndarray
    G: np.ndarray
    start: np.ndarray
    gammas: int
    bias: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]
    own: np.ndarray
    place: np.ndarray
    work: int
    reads: np.ndarray


@derived
def tables_of(w: Wiring) -> Tables:
    """See ``Tables``; a wiring never changes."""
    first = w.firsts
    size, S, G = w.size[first], w.S[first], w.G[first]
    ends = np.cumsum(G * size)
    bias = []
    for i, n in zip(first, size, strict=True):
        mine = np.flatnonzero((w.col_source == BIAS) & (w.col_unit >= i) & (w.col_unit < i + n))
        bias.append((w.col_port[mine], w.local[w.col_unit[mine]], w.col_theta[mine]))
    mine = np.flatnonzero(w.col_source == PHI)
    unit = w.col_unit[mine]
    place = w.start_q[unit] + w.col_port[mine] * w.size[unit] + w.local[unit]
    start = np.repeat(ends - G * size, size)
    reads = np.diff(w.col_ptr) + np.diff(w.pair_syn[w.pair_ptr])
    work = sum(link.n_synapses * len(link.ports) for link in w.links)
    return Tables(first, size, S, G, start, int(ends[-1]), tuple(bias), w.col_theta[mine], place, work, reads)


@derived
def dense_links(w: Wiring) -> tuple[np.ndarray, np.ndarray] | None:
    """Links between units as a table for ``back_dense``, and their ports; None if one of them is sparse."""
    sending = [link for link in w.links if link.source >= w.n_channels]
    if not all(link.is_dense for link in sending):
        return None
    rows = [
        (link.source - w.n_channels, link.shape[1], int(link.delay), tables_of(w).start[link.target], w.G[link.target],
         link.shape[0], len(link.ports), link.theta.start)
        for link in sending
    ]  # fmt: skip
    ports = np.zeros((len(rows), max((row[6] for row in rows), default=0)), np.int64)
    for link, row in zip(sending, ports, strict=True):
        row[: len(link.ports)] = link.ports
    return np.array(rows, np.int64).reshape(-1, 8), ports


@derived
def own_synapses(w: Wiring, link: Link) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """``Link.by_source`` of a link with lists; of a part of the columns (see ``divide``) only those whose weights it learns."""
    pointer, post, delay, place = link.by_source
    if w.of is None:
        return link.by_source
    kept = (np.diff(w.col_ptr) > 0)[link.target + post]
    return np.append(0, np.cumsum(kept))[pointer], post[kept], delay[kept], place[kept]
