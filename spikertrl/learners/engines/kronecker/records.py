"""Arrays that the loops of the Kronecker learners and of UORO read together, as records.

B lanes, N units, R states; a group of columns has m sources and n (unit, port) pairs, and its influence K terms.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..blocks.step_jacobian import StepJacobian
from ..weights import Outgoing


class Synapses(NamedTuple):
    """Synapses between units; see ``weights.SynapseTables``."""

    delays: np.ndarray  # different delays, ascending
    linked: np.ndarray  # (G, N) bool: the port has synapses
    W: np.ndarray  # (delays, G, N, N) weights, or empty
    outgoing: Outgoing  # with weights where W is empty


class Sent(NamedTuple):
    """Gradient-active units of the last D steps before a tape and of its own."""

    slot: np.ndarray  # (D + tau, B, N) place of each unit among them, or -1
    count: np.ndarray  # (D + tau, B) how many
    units: np.ndarray  # (D + tau, B, N) the first ``count`` of them


class Columns(NamedTuple):
    """Columns of the outer product of one group."""

    unit: np.ndarray  # (n)
    port: np.ndarray  # (n) port, or trainable parameter
    phi: bool  # columns are trainable parameters of units


class Signals(NamedTuple):
    """What a tape brings to one group, lanes first; L leaky outputs."""

    x: np.ndarray  # (B, tau, m) messages of the sources
    signs: np.ndarray  # (B, tau, ...) random signs
    direct: np.ndarray  # (B, tau, N) dL/dy
    dz: np.ndarray  # (B, tau, L) dL/dz
    weights: np.ndarray  # (L, N) of the leaky readouts
    decay: np.ndarray  # (L)


class Terms(NamedTuple):
    """The influence of one group as K terms u (x) A. All change in place."""

    u: np.ndarray  # (B, K, m)
    A: np.ndarray  # (B, K, R, n)
    E: np.ndarray  # (B, D or 0, K, N, n) rows in flight
    Z: np.ndarray  # (B, K, L, n) rows of the leaky readouts


class Work(NamedTuple):
    """Buffers of one thread, flat."""

    listed: StepJacobian  # of one lane and step, as lists
    J: np.ndarray  # or as a matrix (R, rows that arrive)
    E: np.ndarray  # rows that arrive
    T: np.ndarray  # new terms


class AllColumns(NamedTuple):
    """The groups of a network one after the other, as UORO reads them."""

    first_m: np.ndarray  # (groups + 1) first source of each
    first_n: np.ndarray  # (groups + 1) first column
    first_P: np.ndarray  # (groups + 1) first entry of the outer product
    phi: np.ndarray  # (groups) bool: columns are trainable parameters of units
    full: np.ndarray  # (groups) bool: every entry is a parameter
    mask: np.ndarray  # (entries) 1 where an entry is a parameter, else 0
    unit: np.ndarray  # (columns)
    port: np.ndarray  # (columns)


class StepSignals(NamedTuple):
    """What one step brings to UORO; K samples, L leaky outputs."""

    x: np.ndarray  # (B, sources) messages
    nu: np.ndarray  # (B, R, K) random signs
    mu: np.ndarray  # (B, N, K) random signs for parameters that act on messages
    direct: np.ndarray  # (B, N) dL/dy
    dz: np.ndarray  # (B, L) dL/dz
    weights: np.ndarray  # (L, N) of the leaky readouts
    decay: np.ndarray  # (L)


class RankOne(NamedTuple):
    """The influence as s (x) theta~, K samples. All change in place."""

    s: np.ndarray  # (B, R, K)
    e: np.ndarray  # (D, N, B, K) messages in flight, by clock
    z: np.ndarray  # (B, L, K) of the leaky readouts
    side: np.ndarray  # (B, K, P) theta~
    norm: np.ndarray  # (B, K) of theta~
