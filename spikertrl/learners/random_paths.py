"""RandomPaths: RTRL in which only a few random units pass sensitivity on through their synapses.

Source: Massive redundancy in gradient transport, arXiv 2603.15195 (2026), which finds that a few random paths recover most of
what RTRL adapts to. Here ``paths`` units of the network, drawn once, send their rows over synapses; all other units keep their
own rows and speak to the readouts. With as many paths as units it is exact RTRL.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .. import arguments
from ..derived import derived
from ..network.projections import pair_tables
from ..network.wiring import Wiring, synapse_ends
from ..tape import Tape
from .base import Length, Plan, Signal
from .engines.blocks.state import plan
from .engines.choose import Choice
from .engines.influence import Influence, init_influence, update_blocks

if TYPE_CHECKING:
    from ..network.network import Network


@dataclass
class PathsState:
    """Influence blocks on the thinned network, and the wiring of the whole one."""

    wiring: Wiring
    blocks: Influence

    @property
    def batch(self) -> int:
        """Lanes."""
        return self.blocks.batch

    @property
    def counts(self) -> np.ndarray:
        """Multiply-adds done: propagation, immediate terms, messages, readout."""
        return self.blocks.counts

    @property
    def lane_steps(self) -> int:
        """Steps learned from, times lanes."""
        return self.blocks.lane_steps

    @property
    def choice(self) -> Choice | None:
        """The route that ran last, and why."""
        return self.blocks.choice

    @property
    def route(self) -> str | None:
        """The route that ran last."""
        return self.blocks.route

    def bytes_held(self) -> int:
        """Bytes of the influence that were really touched."""
        return self.blocks.bytes_held()

    def influence(self, lane: int = 0, of: str = "state") -> np.ndarray:
        """One lane's influence as a dense matrix, see ``cost.influence``."""
        return self.blocks.influence(lane, of)

    @property
    def routes(self) -> dict[str, int]:
        """How often each route ran (see ``engines/choose``)."""
        return self.blocks.routes


@dataclass(frozen=True)
class RandomPaths:
    """RTRL through the synapses of ``paths`` random units only; ``seed`` draws them. Exact once ``paths`` covers all units.

    Raises
    ------
    ValueError
        If paths < 0.

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.rnn, 8).connect("x", "h")
    >>> net = net.connect("h", "h").add_readout("z", "h", 1).initialize(0)
    >>> x, loss = np.ones((5, 1, 2)), srl.losses.squared_error(np.ones((5, 1, 1)))
    >>> table = srl.compare(net, [srl.RTRL(), RandomPaths(2), RandomPaths(8)], x, loss)
    >>> cosines = [table.cosine[f"RandomPaths(paths={k}, seed=0)"]["all"] for k in (2, 8)]
    >>> cosines[0] < 1 - 1e-6, abs(cosines[1] - 1) < 1e-12
    (True, True)
    """

    paths: int = 4
    seed: int = 0
    claim = "approximate"

    def __post_init__(self) -> None:
        arguments.whole("RandomPaths", "paths", self.paths, 0)
        arguments.seed("RandomPaths", self.seed)

    def init(self, net: Network, batch: int) -> PathsState:
        """Blocks with the rows that can be reached over the paths, all zero."""
        return PathsState(net.wiring, init_influence(thinned(net.wiring, self.paths, self.seed), batch, None))

    def plan(self, net: Network, length: Length) -> Plan:
        """How it would be computed, see ``explain``."""
        return plan(thinned(net.wiring, self.paths, self.seed), None, length)

    def update(self, state: PathsState, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance the influence over the tape; return the gradient, flat like theta."""
        state.blocks.wiring = thinned(state.wiring, self.paths, self.seed)  # a checkpoint brings back the whole one
        return update_blocks(state.blocks, tape, signal, at_once=True)  # a gradient goes back through all synapses


@derived
def thinned(w: Wiring, paths: int, seed: int) -> Wiring:
    """The wiring with the unit-to-unit synapses of ``paths`` random units; columns stay."""
    chosen = np.zeros(w.n_units, bool)
    chosen[np.random.default_rng(seed).permutation(w.n_units)[:paths]] = True
    pair, post, pre = synapse_ends(w)
    kept = chosen[pre]
    table = {
        "target": post,
        "source": pre,
        "delay": w.pair_delay[pair],
        "port": w.syn_port,
        "theta": w.syn_theta,
    }
    return replace(
        w, **pair_tables({name: values[kept] for name, values in table.items()}, np.ones(kept.sum(), bool), w.n_units, 0)
    )
