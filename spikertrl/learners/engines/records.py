"""Arrays that compiled loops read together, as records. A loop takes the arrays out of a record in its first lines.

The units' own index tables are ``Wiring.tables``; what arrives in a step is ``blocks.step_jacobian.StepJacobian``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...tape import Tape


class Linear(NamedTuple):
    """The local linearisation of a tape, arrays (tau, B * count) in the flat layout of ``network.wiring``."""

    A: np.ndarray  # dF/ds, S x S a unit
    B: np.ndarray  # dF/dI, S x G
    P: np.ndarray  # dF/dphi, S x Q
    o: np.ndarray  # dO/ds, S
    q: np.ndarray  # dO/dphi, Q


class Active(NamedTuple):
    """Gradient-active units of a tape: those that send a row. See ``Tape.active``."""

    count: np.ndarray  # (tau, B) int32
    units: np.ndarray  # (tau, B, N) int32, the first ``count`` of them
    slot: np.ndarray  # (tau, B, N) int32: place of each unit among them, or -1


class Before(NamedTuple):
    """The step before a tape, or before a part of it: what the rows that arrive first were made of."""

    count: np.ndarray  # (B) int32: how many units were gradient-active
    units: np.ndarray  # (B, N) int32: which
    o: np.ndarray  # (B * states) dO/ds
    q: np.ndarray  # (B * parameters of units) dO/dphi


class Forward(NamedTuple):
    """A sequence whose state transitions are carried forward, (tau, B, N) unless said otherwise; units of one state."""

    leak: np.ndarray  # ds(t)/ds(t-1) by a unit's own path
    gain: np.ndarray  # dy/ds
    error: np.ndarray  # dL(t)/ds(t)
    end: np.ndarray  # (B) int64: the last step with a loss in each lane, or -1


class Blocks(NamedTuple):
    """Columns and blocks of the influence, as ``blocks.layout.Layout`` and ``Wiring`` describe them; int64."""

    col_ptr: np.ndarray  # (N + 1) columns of each unit
    col_unit: np.ndarray  # (C)
    col_port: np.ndarray  # (C) port, or trainable parameter
    order: np.ndarray  # (C) the column at each sorted place
    theta: np.ndarray  # (C), sorted: place in theta
    placed: np.ndarray  # (C) sorted place of each column
    run_of: np.ndarray  # (C) run of each column
    run_ptr: np.ndarray  # (groups + 1) runs of each group
    runs: np.ndarray  # (runs + 1) first sorted place of each run
    run_source: np.ndarray  # (runs) source, -1 for a bias, -2 for a unit's parameter
    run_delay: np.ndarray  # (runs)
    own_row: np.ndarray  # (C), sorted: where the column lies in the row of its own unit, if its run begins the row
    term: np.ndarray  # (C, 4), sorted: where the column's derivative lies in B (or P): first, offset, per lane, per state
    group: np.ndarray  # (groups + 1) first unit of each group
    reach_ptr: np.ndarray  # (groups + 1)
    reach: np.ndarray  # units reached by each group
    row_of: np.ndarray  # first row of each reached unit inside its block
    stride: np.ndarray  # (groups) padded length of a row
    first_M: np.ndarray  # (groups + 1) elements of M per lane before each block
    first_E: np.ndarray  # of E
    first_Z: np.ndarray  # of Z


class Influence(NamedTuple):
    """The influence in blocks. All change in place; see ``blocks.state.BlockState``."""

    M: np.ndarray  # flat: blocks, their lanes, rows, columns
    E: np.ndarray  # flat: rows in flight
    slot: np.ndarray  # int32, D per reached unit and lane: place of its row in E, or -1
    row_live: np.ndarray  # bool, per reached unit and lane
    position: np.ndarray  # (B, runs) int32: packed place of each run's first column, -1 while not alive
    width: np.ndarray  # (B, groups) int32: columns alive
    Z: np.ndarray  # flat: rows of the leaky readouts


class Losses(NamedTuple):
    """What the losses of a tape say to the rows that units send. L: leaky outputs."""

    direct: np.ndarray  # (tau, B, N) dL/dy, the leak of the readouts included
    leaky: np.ndarray  # (L) int64: which outputs are leaky
    kind: np.ndarray  # (L) int64: which of the different decays is theirs
    kept: np.ndarray  # (L) decay over all steps that are advanced together
    past: np.ndarray  # (B, L) dL/d(row of the readout before these steps)
    out_weight: np.ndarray  # (O, N) weights of the readouts
    powers: np.ndarray  # (decays, steps) decay to the number of steps that follow


def linear(tape: Tape) -> Linear:
    """The linearisation of a tape."""
    return Linear(tape.A, tape.B, tape.P, tape.o, tape.q)
