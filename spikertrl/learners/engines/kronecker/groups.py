"""Groups of columns that share their sources: what makes the immediate influence an outer product.

All ports of a population that hear the same (source, delay) pairs form a group. There, the immediate influence of a step is
x (x) D with the messages x of the sources and D = dF/dI, a column of D being one (unit, port). A plain RNN or an RHN is one
group, as in Mujika et al. 2018 (arXiv 1805.10842, lemma 1); a reset-after GRU is three. Masks keep the entries that exist.
Trainable unit parameters and lone biases, whose source is the constant 1, are groups without noise.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np

from ....derived import derived
from ....network.wiring import PHI, Wiring
from ....tape import Tape
from ..simd.scalar import add_outer

Block = tuple[slice, slice, slice]  # columns and sources of an outer product that lie in one piece of theta, and that piece


@dataclass(frozen=True, eq=False)
class Group:
    """Ports that hear the same sources. Indices into the wiring's columns and this group's factors.

    ``place`` (C'): where each column of the wiring lies in the flat (n, m) outer product; ``theta`` (C'): where in theta.
    """

    source: np.ndarray  # (m) source, or -1 for the bias
    delay: np.ndarray  # (m)
    unit: np.ndarray  # (n) unit of each column
    port: np.ndarray  # (n) its port (or parameter)
    place: np.ndarray
    theta: np.ndarray
    exact: bool  # one constant source: x = 1, no noise
    phi: bool  # columns are trainable parameters of units

    @functools.cached_property
    def full(self) -> bool:
        """Every entry of the outer product is a parameter."""
        return len(self.place) == len(self.source) * len(self.unit)

    @functools.cached_property
    def blocks(self) -> list[Block] | None:
        """The whole outer product as blocks, or None where synapses are masked or have delays of their own."""
        if not self.full:
            return None
        table = self.theta.reshape(len(self.unit), len(self.source))
        found, unlike = [], (np.diff(table, axis=1) != 1).any(0)
        for c0, c1 in _ranges(np.diff(self.port) != 0):
            for m0, m1 in _ranges(unlike):
                part = slice(int(table[c0, m0]), int(table[c0, m0]) + (c1 - c0) * (m1 - m0))
                if not np.array_equal(table[c0:c1, m0:m1].ravel(), np.arange(part.start, part.stop)):
                    return None
                found.append((slice(c0, c1), slice(m0, m1), part))
        return found

    @functools.cached_property
    def heard(self) -> list[tuple[slice | np.ndarray, slice | np.ndarray, int]]:
        """Where in x, which sources and their delay: runs of consecutive sources, or one list per delay if shorter."""
        delays = np.unique(self.delay[self.source >= 0]).tolist()
        alike = np.flatnonzero(self.source >= 0)
        breaks = (np.diff(self.source[alike]) != 1) | (np.diff(self.delay[alike]) != 0)
        if len(alike) and np.count_nonzero(breaks) < 4 + len(delays):
            runs = [(alike[i], alike[j - 1]) for i, j in _ranges(breaks)]
            return [(slice(a, b + 1), slice(self.source[a], self.source[b] + 1), int(self.delay[a])) for a, b in runs]
        lists = [np.flatnonzero((self.source >= 0) & (self.delay == delay)) for delay in delays]
        return [(k, self.source[k], delay) for k, delay in zip(lists, delays, strict=True)]

    def inputs(self, tape: Tape) -> np.ndarray:
        """x: what the sources say at each step of the tape, (tau, B, m)."""
        if self.phi:
            return np.ones((tape.tau, tape.batch, 1), tape.theta.dtype)
        found = np.ones((tape.tau, tape.batch, len(self.source)), tape.messages.dtype)
        for k, source, delay in self.heard:
            found[:, :, k] = tape.messages[tape.history - delay : tape.history - delay + tape.tau, :, source]
        return found

    def put(self, outer: np.ndarray, factor: float, gradient: np.ndarray) -> None:
        """Put factor * outer (n, m) where its entries belong in the flat gradient; groups share no parameter."""
        factor = gradient.dtype.type(factor)
        if self.blocks is None:
            gradient[self.theta] = factor * (outer.reshape(-1) if self.full else outer.reshape(-1)[self.place])
            return
        for c, m, part in self.blocks:
            np.multiply(outer[c, m], factor, out=gradient[part].reshape(c.stop - c.start, -1))

    def add_product(self, rows: np.ndarray, u: np.ndarray, gradient: np.ndarray) -> None:
        """Add ``rows.T @ u``, of rows (X, n) and u (X, m), where its entries belong in the flat gradient."""
        if self.blocks is None:
            outer = (rows.T @ u).reshape(-1)
            gradient[self.theta] += outer if self.full else outer[self.place]
            return
        for c, m, part in self.blocks:
            if len(u) == 1:
                add_outer(gradient[part], rows[0, c], u[0, m])
            else:
                gradient[part] += (rows[:, c].T @ u[:, m]).reshape(-1)


def _ranges(breaks: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of indices between breaks, ``breaks[k]`` being one between k and k + 1."""
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(breaks) + 1]
    return list(itertools.pairwise(edges))


@derived
def groups(w: Wiring) -> tuple[Group, ...]:
    """All columns of a network, group by group."""
    heard: dict[tuple, list[int]] = {}
    for c in range(w.n_recurrent):
        kind = "phi" if w.col_source[c] == PHI else "port"
        heard.setdefault((int(w.start_o[w.col_unit[c]]), kind, int(w.col_port[c])), []).append(c)
    merged: dict[tuple, list[int]] = {}
    for (population, kind, _), columns in heard.items():
        feed = frozenset(zip(w.col_source[columns].tolist(), w.col_delay[columns].tolist(), strict=True))
        merged.setdefault((population, kind, feed), []).extend(columns)
    return tuple(_group(w, np.array(sorted(columns)), kind == "phi") for (_, kind, _), columns in merged.items())


def _group(w: Wiring, columns: np.ndarray, phi: bool) -> Group:
    pairs, row = np.unique(np.stack((w.col_source[columns], w.col_delay[columns])), axis=1, return_inverse=True)
    targets, column = np.unique(np.stack((w.col_port[columns], w.col_unit[columns])), axis=1, return_inverse=True)
    place = column.ravel() * pairs.shape[1] + row.ravel()
    exact = phi or bool((pairs[0] < 0).all())
    theta = w.col_theta[columns]
    order = np.argsort(place)
    port, unit = (np.ascontiguousarray(row) for row in targets)  # of one memory layout: loops are compiled for each
    return Group(pairs[0], pairs[1], unit, port, place[order], theta[order], exact, phi)
