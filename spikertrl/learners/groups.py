"""Groups of columns that share their sources: what makes the immediate influence an outer product.

All ports of a population that hear the same (source, delay) pairs form a group. There, the immediate influence of a step is
x (x) D with the messages x of the sources and D = dF/dI, a column of D being one (unit, port). A plain RNN or an RHN is one
group, as in Mujika et al. 2018 (arXiv 1805.10842, lemma 1); a reset-after GRU is three. Masks keep the entries that exist.
Trainable unit parameters and lone biases, whose source is the constant 1, are groups without noise.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from ..tape import Tape
from ..wiring import PHI, Wiring


@dataclass(frozen=True, eq=False)
class Group:
    """Ports that hear the same sources. Indices into the wiring's columns and this group's factors.

    ``place`` (C'): where each column of the wiring lies in the flat (m, n) outer product; ``theta`` (C'): where in theta.
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

    def inputs(self, tape: Tape) -> np.ndarray:
        """x: what the sources say at each step of the tape, (tau, B, m)."""
        if self.phi:
            return np.ones((tape.tau, tape.batch, 1), tape.theta.dtype)
        source, steps = np.maximum(self.source, 0), tape.history + np.arange(tape.tau)
        found = tape.messages[steps[:, None] - self.delay, :, source].swapaxes(1, 2)
        found[:, :, self.source < 0] = 1
        return np.ascontiguousarray(found)

    def gather(self, outer: np.ndarray, gradient: np.ndarray) -> None:
        """Put an outer product (m, n) where its entries belong in the flat gradient; groups share no parameter."""
        gradient[self.theta] = outer.reshape(-1) if self.full else outer.reshape(-1)[self.place]


@functools.lru_cache(maxsize=16)
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
    place = row.ravel() * targets.shape[1] + column.ravel()
    exact = phi or bool((pairs[0] < 0).all())
    theta = w.col_theta[columns]
    order = np.argsort(place)
    return Group(pairs[0], pairs[1], targets[1], targets[0], place[order], theta[order], exact, phi)
