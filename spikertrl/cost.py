"""What learning really did: multiply-adds counted in the loops, bytes held, zeros of the influence; beside dense RTRL.

Words follow NeuroBench where it has one: an *effective MAC* is a multiply-accumulate with nonzero operands; activation and
connection sparsity are shares of zeros. All figures are counts of operations carried out, not estimates from densities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .arguments import refuse
from .learners.base import TOLD


@dataclass(frozen=True)
class Cost:
    """Operations and memory of a learner's influence since it was initialised.

    ``macs`` = propagation + immediate + messages + readout (multiply-adds done); ``macs_dense``: the same work by the textbook
    matrix with every mask filled, n^2 p a step; ``bytes_held``: influence really touched; ``bytes_dense``: the full matrix.
    """

    propagation: int
    immediate: int
    messages: int
    readout: int
    macs_dense: int
    bytes_held: int
    bytes_dense: int
    lane_steps: int

    @property
    def macs(self) -> int:
        return self.propagation + self.immediate + self.messages + self.readout

    @property
    def saving(self) -> float:
        """How many times fewer multiply-adds than dense RTRL."""
        return self.macs_dense / self.macs if self.macs else float("inf")


def cost_of(state: Any) -> Cost | None:
    """Cost of a learner's state, or None for learners that do not count."""
    if getattr(state, "counts", None) is None or not all(hasattr(state, name) for name in TOLD):
        return None
    w = state.wiring
    propagation, immediate, messages, readout = (int(c) for c in state.counts)
    elements = w.n_states * w.n_filled
    return Cost(
        propagation=propagation,
        immediate=immediate,
        messages=messages,
        readout=readout,
        macs_dense=(w.n_states + 1) * elements * state.lane_steps,
        bytes_held=state.bytes_held(),
        bytes_dense=state.batch * elements * w.dtype.itemsize,
        lane_steps=state.lane_steps,
    )


def influence(state: Any, lane: int = 0, of: str = "state") -> np.ndarray:
    """The influence of one lane as a dense matrix over theta's recurrent parameters.

    Parameters
    ----------
    state : state of RTRL, SnAp, RandomPaths, EProp or RFLO
    lane : int
    of : {"state", "message"}
        Rows: dstate/dtheta (all states), or dmessage/dtheta (one row per unit, as the sparse-RTRL paper counts).

    Online steps of RTRL that are deferred are taken first, in the state itself; what follows differs by rounding alone.

    Returns
    -------
    ndarray (rows, columns), columns in the order of ``wiring.col_theta``

    Raises
    ------
    ValueError
        If the learner keeps none, or did not bring it up to date because the sequence ended with the last tape.
    """
    if not hasattr(state, "influence"):
        raise refuse("influence", "state", type(state).__name__, "the state of RTRL or SnAp, which holds an influence matrix")
    return state.influence(lane, of)


@dataclass(frozen=True)
class Zeros:
    """Zeros of an influence matrix restricted to some columns, as shares of the full (unmasked) matrix, mean over lanes.

    ``all``: every zero; of these ``mask``: columns that a mask removed; ``columns``: columns not masked but zero in every row
    (source silent so far); ``rows``: rows zero in every remaining column (gradient-silent units); ``scattered``: the rest.
    """

    all: float
    mask: float
    columns: float
    rows: float
    scattered: float


def zeros(net: Any, state: Any, projection: str | None = None, of: str = "message") -> Zeros:
    """Where the zeros of the influence are, over the parameters of one projection (default: all projections between units).

    Masked weights count as zero columns, as in Subramoney 2023.

    Raises
    ------
    ValueError
        If there is no such projection, or no influence to look at (see ``influence``).
    """
    if not hasattr(state, "influence"):
        raise refuse("zeros", "state", type(state).__name__, "the state of RTRL or SnAp, which holds an influence matrix")
    w = net.wiring
    chosen = [p for p in net.projections if (p.name == projection if projection else p.source in net.populations)]
    if not chosen:
        raise ValueError(f"zeros: no projection {projection!r}; projections: {[p.name for p in net.projections]}")
    full = sum(p.shape[0] * p.shape[1] * len(p.ports) * p.reads for p in chosen)
    wanted = np.zeros(w.n_parameters, bool)
    for p in chosen:
        for port in p.ports:
            wanted[w.columns_of(w.layout[p.name, port][0])] = True
    there = wanted[w.col_theta]
    masked = full - int(there.sum())
    shares = [_zero_shares(influence(state, lane, of)[:, there] != 0, masked) for lane in range(state.batch)]
    every, mask, columns, rows, scattered = (float(x) for x in sum(shares, np.zeros(5)) / state.batch)
    return Zeros(every, mask, columns, rows, scattered)


def _zero_shares(M: np.ndarray, masked: int) -> np.ndarray:
    """Shares of the five kinds of zeros of a lane; M: where the influence is not zero, ``masked`` columns left out of it."""
    columns = ~M.any(0)
    dead_rows = ~M[:, ~columns].any(1)
    zero_mask = masked * len(M)
    zero_columns = int(columns.sum()) * len(M)
    zero_rows = int(dead_rows.sum()) * int((~columns).sum())
    every = zero_mask + int((~M).sum())
    kinds = [every, zero_mask, zero_columns, zero_rows, every - zero_mask - zero_columns - zero_rows]
    return np.array(kinds) / (len(M) * (masked + M.shape[1]))
