"""Carry a learner's state to a network whose masks have changed (see ``engines/carried``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .base import Learner
from .bptt import TapeState
from .engines.carried import carry_blocks, carry_columns, carry_local, origins
from .engines.influence import Influence, catch_up
from .engines.local.update import LocalState
from .eprop import EPropState
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
