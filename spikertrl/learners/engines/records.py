"""Arrays that compiled loops read together, as records. A loop takes the arrays out of a record in its first lines.

The units' own index tables are ``Wiring.tables``; what arrives in a step is ``blocks.step_jacobian.Couplings``.
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
