"""Synapses between units as one matrix of weights, or as lists: what learners share that pass rows or signals through them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...derived import derived
from ...loops import loop
from ...network.wiring import Wiring, synapse_ends
from .simd.gemm import PANEL
from .simd.scalar import copy

SPARSE = 0.25  # share of synapses that exist below which rows are added one by one instead of by BLAS


@dataclass(frozen=True, eq=False)
class SynapseTables:
    """How synapses are laid out for the loops: ``linked`` (G, N); if dense, how W (delays, G, N, N) is made.

    ``runs`` (3, X): where a run of consecutive weights starts in W, where it starts in theta, and its length.
    """

    delays: np.ndarray
    which: np.ndarray  # (E) index of each pair's delay
    linked: np.ndarray
    dense: bool
    runs: np.ndarray
    view: slice | None  # the part of theta that is W
    foldable: bool  # one state a unit: a row that arrives is the state's row times dO/ds
    eps: float  # singular values below this share of the largest are zero


@derived
def synapse_tables(w: Wiring) -> SynapseTables:
    """See ``SynapseTables``; a wiring never changes."""
    delays, which = np.unique(w.pair_delay, return_inverse=True)
    of_pair, post, pre = synapse_ends(w)
    linked = np.zeros((int(w.G.max(initial=1)), w.n_units), bool)
    linked[w.syn_port, post] = True
    dense = len(w.pair_pre) >= SPARSE * max(len(delays), 1) * w.n_units**2
    place = ((which.ravel()[of_pair] * len(linked) + w.syn_port) * w.n_units + post) * w.n_units + pre
    order = np.argsort(place)
    place, theta = place[order], w.syn_theta[order]
    dense &= bool(np.diff(place, prepend=-1).all())  # parallel synapses are added one by one
    first = np.flatnonzero(np.concatenate(([True], (np.diff(place) != 1) | (np.diff(theta) != 1)))[: len(place)])
    runs = np.stack((place[first], theta[first], np.diff(np.append(first, len(place)))))
    eps, foldable = 64 * float(np.finfo(w.dtype).eps), dense and w.max_states == 1
    whole = len(first) == 1 and len(place) == len(delays) * linked.size * w.n_units
    view = slice(int(theta[0]), int(theta[-1]) + 1) if whole else None
    return SynapseTables(delays.astype(np.int64), which.ravel(), linked, dense, runs, view, foldable, eps)


def dense_weights(w: Wiring, theta: np.ndarray, W: np.ndarray | None = None) -> np.ndarray | None:
    """The weights between units as W (delays, G, N, N), zero in gaps (a view if it is a part of theta); None if sparse."""
    table = synapse_tables(w)
    if not table.dense:
        return None
    shape = (len(table.delays), *table.linked.shape, w.n_units)
    if table.view is not None and theta.flags.writeable:  # compiled loops tell read-only arrays from others
        return theta[table.view].reshape(shape)
    if W is None:
        W = np.zeros(shape, w.dtype)
    copy_runs(table.runs, theta, W.reshape(-1))
    return W


class Outgoing(NamedTuple):
    """Pairs of connected units by (delay, source, target); source j's at delay d are out_ptr[d * N + j] and on."""

    weight: np.ndarray  # (pairs, ports that synapses reach)
    ports: np.ndarray  # (N, most) which ports these are, -1 for none
    delays: np.ndarray  # (D) ascending
    out_ptr: np.ndarray  # (D * N + 1)
    out_post: np.ndarray  # (pairs) target
    pair_ptr: np.ndarray  # (N + 1) pairs by target: how many entries a unit may have


def outgoing(w: Wiring, theta: np.ndarray) -> Outgoing:
    """Synapses for ``couple``, with their present weights."""
    weight = np.zeros((len(w.pair_pre), w.heard_ports.shape[1]), w.dtype)
    _spread(weight, w.syn_place, theta[w.syn_theta], w)
    return Outgoing(weight, w.heard_ports, w.delays, w.out_ptr, w.out_post, w.pair_ptr)


def full_weights(w: Wiring, theta: np.ndarray) -> np.ndarray:
    """Weights of ``couple_all``, (pre, ports, post padded to PANEL)."""
    found = np.zeros((w.n_units, w.heard_ports.shape[1], -(-w.n_units // PANEL) * PANEL), w.dtype)
    _spread(found, _dense_places(w), theta[w.syn_theta], w)
    return found


def renew(found: Outgoing | np.ndarray, w: Wiring, theta: np.ndarray) -> None:
    """Put other weights into what ``outgoing`` or ``full_weights`` has made."""
    weight, places = (found.weight, w.syn_place) if isinstance(found, Outgoing) else (found, _dense_places(w))
    if _parallel_synapses(w):
        weight[...] = 0
    _spread(weight, places, theta[w.syn_theta], w)


def _spread(weight: np.ndarray, places: np.ndarray, values: np.ndarray, w: Wiring) -> None:
    """Values at their places; parallel synapses (two projections between the same units, with one delay) add up."""
    if _parallel_synapses(w):
        np.add.at(weight.reshape(-1), places, values)
    else:
        weight.reshape(-1)[places] = values


@derived
def _parallel_synapses(w: Wiring) -> bool:
    return len(np.unique(w.syn_place)) < len(w.syn_place)


@derived
def _dense_places(w: Wiring) -> np.ndarray:
    """Where each synapse lies in a full array of weights (pre, ports, post padded to PANEL)."""
    most = w.heard_ports.shape[1]
    pre = np.repeat(np.tile(np.arange(w.n_units), len(w.delays)), np.diff(w.out_ptr))
    pair, rank = np.divmod(w.syn_place, most)
    return (pre[pair] * most + rank) * -(-w.n_units // PANEL) * PANEL + w.out_post[pair]


@loop()
def copy_runs(runs, theta, W):
    """W[to : to + length] = theta[start : start + length] for all runs (3, X) of (to, start, length)."""
    for r in range(runs.shape[1]):
        to, start, length = runs[0, r], runs[1, r], runs[2, r]
        copy(W[to : to + length], theta[start : start + length])
