"""Carry a learner's state to a network whose masks have changed, or to another learner (see ``engines/carried``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .base import Learner
from .bptt import TapeState
from .certified import Certified, CertifiedState
from .engines.carried import carry_blocks, carry_columns, carry_local, origins, widen
from .engines.influence import Influence, catch_up
from .engines.local.update import LocalState
from .eprop import EPropState
from .random_paths import PathsState
from .readout import readout_weights
from .textbook import DenseState

if TYPE_CHECKING:
    from ..network.network import Network


def carry(learner: Learner, state: Any, net: Network, origin: np.ndarray) -> Any:
    """A learner's state for ``net``, of which ``origin`` says where each parameter lay before (-1: it is new).

    Raises
    ------
    ValueError
        If this learner's state cannot be carried.
    """
    if type(state) not in (*_CARRIED, TapeState) or (isinstance(state, TapeState) and state.tapes):
        raise ValueError(f"rewire: {learner!r} cannot go on with another mask; legal: RTRL, SnAp, EProp, RFLO, Immediate, "
                         "or BPTT between sequences")  # fmt: skip
    new = learner.init(net, state.batch)
    if not isinstance(state, TapeState):
        _CARRIED[type(state)](state, new, origins(state.wiring, net.wiring, origin))
    return new


def hand_over(learner: Learner, state: Any, net: Network) -> Any:
    """The state of ``learner`` that goes on where another learner's ``state`` stands: what both keep is the same.

    Raises
    ------
    ValueError
        If this state cannot be carried to that learner.
    """
    new = learner.init(net, state.batch)
    if isinstance(state, CertifiedState) and isinstance(new, CertifiedState) and isinstance(learner, Certified):
        was, now = ((t.states.shape, t.seed) for t in (state.tangents, new.tangents))
        if was == now:
            return CertifiedState(hand_over(learner.learner, state.inner, net), state.tangents)
    old, into = (getattr(one, "blocks", one) for one in (state, new))  # of RandomPaths
    if isinstance(state, PathsState) is isinstance(new, PathsState) and isinstance(into, Influence):
        if isinstance(old, Influence):
            _blocks(old, into, np.arange(into.wiring.n_recurrent))
            return new
        if isinstance(old, LocalState):
            widen(old, into, readout_weights(net.wiring, net.theta))
            return new
    raise ValueError(
        f"Online: {learner!r} cannot go on from a {type(state).__name__}; legal: from SnAp to SnAp of a higher order or to "
        "RTRL, from RandomPaths to more paths, both certified by the same directions or neither"
    )


def _blocks(old: Any, new: Any, column: np.ndarray) -> None:
    catch_up(old)
    carry_blocks(old, new, column)
    new.choice, new.routes = old.choice, old.routes


def _traces(old: EPropState, new: EPropState, column: np.ndarray) -> None:
    carry_local(old.traces, new.traces, column)
    new.feedback, new.weights = old.feedback, old.weights


def _dense(old: DenseState, new: DenseState, column: np.ndarray) -> None:
    for name in ("G", "E", "Z"):
        carry_columns(getattr(old, name), getattr(new, name), column)


_CARRIED = {Influence: _blocks, LocalState: carry_local, EPropState: _traces, DenseState: _dense}
