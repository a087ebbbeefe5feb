"""Wiring: a network as index arrays, for the simulator's and the learners' compiled loops.

Numbering. **Units** 0..N-1 run through the populations in order. **Sources** are the input channels 0..K-1, then the units
(source = K + unit). **theta** is laid out projection by projection (each port one (post, pre) or CSR block), then per
population its biases and trainable parameters, then the readouts.

Arrays of a time step that hold one value per lane, component and unit (states, inputs, Jacobians) are flat: for component
``c`` of ``C``, lane ``b`` of ``B``, local unit ``l`` of ``n``, the place is ``start * B + (b * C + c) * n + l``, where
``start`` sums C n over earlier populations. So every population sees a contiguous (B, C, n) block and every loop over units is
contiguous.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .elements import DELAY, Elements
from .learned_delays import Taps, delivered, taps
from .projections import Link, link, pair_tables, synapses

BIAS, PHI = -1, -2  # column kinds: a bias, a trainable parameter (otherwise: the source)


class UnitTables(NamedTuple):
    """Index tables of the units, (N) int64 each, as compiled loops take them; see ``Wiring``."""

    S: np.ndarray  # states with sensitivity
    G: np.ndarray  # ports
    Q: np.ndarray  # trainable parameters
    size: np.ndarray  # of the unit's population
    local: np.ndarray  # index in the population
    start_A: np.ndarray  # where the population begins in A of one lane
    start_B: np.ndarray  # the same in B
    start_P: np.ndarray  # in P
    start_o: np.ndarray  # in o
    start_q: np.ndarray  # in q
    first_state: np.ndarray  # row of the unit's first state among all states
    memoryless: np.ndarray  # bool: the unit's own Jacobian A is always zero
    hears: np.ndarray  # (N, S) bool: some port reaches the state


@dataclass(frozen=True, eq=False)
class Wiring:
    """Index arrays. "(N)" is one entry per unit, "(C)" per column, "(E)" per unit-to-unit pair."""

    dtype: np.dtype
    n_units: int
    n_channels: int
    n_states: int  # states with sensitivity, all units
    n_outputs: int
    n_parameters: int  # length of theta as simulator and learners have it: with the taps of delays that learn behind it
    n_theta: int  # of ``net.theta``
    n_recurrent: int  # parameters that are columns, i.e. all that are learned but the readouts'
    n_filled: int  # the same if every mask were full
    history: int  # past steps of messages to keep: the longest delay
    row_history: int  # past steps of sensitivity rows to keep: the longest delay between units
    layout: dict[tuple[str, str], tuple[slice, tuple[int, ...]]]
    # unit tables (N): population size and local index; counts; starts of the flat arrays (to be multiplied by B)
    size: np.ndarray
    local: np.ndarray
    S: np.ndarray
    G: np.ndarray
    Q: np.ndarray
    start_A: np.ndarray
    start_B: np.ndarray
    start_P: np.ndarray
    start_o: np.ndarray
    start_q: np.ndarray
    first_state: np.ndarray  # (N) row of the unit's first state among all states
    memoryless: np.ndarray  # (N) bool: the unit's own Jacobian A is always zero
    hears: np.ndarray  # (N, S) bool: some port reaches the state
    frozen: np.ndarray  # places in theta that learners do not learn: no columns, gradient zero
    fixed: np.ndarray  # places in ``net.theta`` that are not learned; other ones only where delays learn
    # columns of each unit's block: col_ptr (N+1); (C) arrays
    col_ptr: np.ndarray
    col_unit: np.ndarray
    col_theta: np.ndarray
    col_source: np.ndarray
    col_delay: np.ndarray
    col_port: np.ndarray  # port, or index of the trainable parameter
    # pairs (post unit <- pre unit, delay), sorted by post: pair_ptr (N+1); (E) arrays; synapses of a pair: pair_syn (E+1)
    pair_ptr: np.ndarray
    pair_pre: np.ndarray
    pair_delay: np.ndarray
    pair_syn: np.ndarray
    syn_theta: np.ndarray
    syn_port: np.ndarray
    # the same pairs by (delay, pre, post): pre's pairs at delays[d] are out_ptr[d * N + pre] .. out_ptr[d * N + pre + 1] - 1;
    # their weights form a matrix (pairs, most ports of a unit), synapse c at syn_place[c]; ports (N, most) or -1
    delays: np.ndarray
    out_ptr: np.ndarray
    out_post: np.ndarray
    syn_place: np.ndarray
    heard_ports: np.ndarray
    links: tuple[Link, ...]
    # readouts, concatenated: weight of output o on unit j at out_theta[o, j] (or -1)
    out_theta: np.ndarray  # (O, N) int64
    out_bias: np.ndarray  # (O) int64
    decay: np.ndarray  # (O)
    out_trained: np.ndarray  # (O) bool
    # (post units, pre units, delay) of connections whose masks change, see ``remask``
    changing: tuple[tuple[slice, slice, int], ...] = ()
    taps: Taps | None = None  # of delays that learn, see ``learned_delays``
    of: Wiring | None = None  # the wiring whose columns these are a part of, see ``parallel``; None: these are all

    def __deepcopy__(self, memo: dict) -> Wiring:
        """It never changes: copies of what refers to it refer to it, too."""
        return self

    @functools.cached_property
    def firsts(self) -> np.ndarray:
        """The first unit of every population."""
        return np.flatnonzero(self.local == 0)

    @functools.cached_property
    def most_pairs(self) -> int:
        """Pairs that the unit with the most of them hears."""
        return int(np.diff(self.pair_ptr).max(initial=0))

    @functools.cached_property
    def tables(self) -> UnitTables:
        """The units' index tables as one record."""
        return UnitTables(*(getattr(self, name) for name in UnitTables._fields))

    def whole(self, theta: np.ndarray) -> np.ndarray:
        """``net.theta`` as simulator and learners have it."""
        return theta if self.taps is None else self.taps.expand(theta)

    def gradient(self, theta: np.ndarray, found: np.ndarray) -> np.ndarray:
        """A gradient like ``net.theta`` from what a learner found with the parameters ``theta`` of its tape."""
        return found if self.taps is None else self.taps.pull_back(theta, found)

    def columns_of(self, part: slice) -> slice | np.ndarray:
        """Where in theta, as learners have it, the columns of some weights are: at their places, or at their taps'."""
        if self.taps is None:
            return part
        mine = np.flatnonzero((self.taps.weight >= part.start) & (self.taps.weight < part.stop)) + self.n_theta
        return mine if len(mine) else part

    @property
    def undivided(self) -> Wiring:
        """The wiring with all columns. It decides how a part of them is computed: the same way as when they are together."""
        return self if self.of is None else self.of

    @functools.cached_property
    def max_states(self) -> int:
        return int(self.S.max(initial=1))


def layout(net: Elements) -> tuple[dict[tuple[str, str], tuple[slice, tuple[int, ...]]], int]:
    """Where each named block of parameters lies in theta, and the length of theta."""
    found: dict[tuple[str, str], tuple[slice, tuple[int, ...]]] = {}
    end = 0

    def add(group: str, name: str, shape: tuple[int, ...]) -> None:
        nonlocal end
        found[group, name] = (slice(end, end + int(np.prod(shape))), shape)
        end += int(np.prod(shape))

    for projection in net.projections:
        for port in projection.ports:
            add(projection.name, port, projection.shape if projection.is_dense else (projection.n_synapses,))
        if projection.bounds:
            add(projection.name, DELAY, projection.shape if projection.is_dense else (projection.n_synapses,))
    for population in net.populations.values():
        for port, record in population.model.ports.items():
            if record.bias:
                add(population.name, f"bias_{port}", (population.size,))
        for name in population.model.trainable:
            add(population.name, name, (population.size,))
    for readout in net.readouts:
        add(readout.name, "weight", (readout.size, net.populations[readout.source].size))
        add(readout.name, "bias", (readout.size,))
    return found, end


def build_wiring(net: Elements) -> Wiring:
    """Index arrays of a network. Raises ValueError if it has no population."""
    if not net.populations:
        raise ValueError("the network has no population; use add_population")
    blocks, n_theta = layout(net)
    tapped, behind, n_parameters = taps(net, blocks, n_theta, np.dtype(net.dtype))
    units, run, places = _unit_tables(net), delivered(net), blocks | behind
    n_channels = sum(i.size for i in net.inputs.values())
    table = _all_synapses(run, places, n_channels)
    recurrent = table["source"] >= n_channels
    outputs = _readouts(net, blocks)
    columns = _columns(net, blocks, table, len(units["S"]))
    masked = sum((p.shape[0] * p.shape[1] - p.n_synapses) * len(p.trained_ports) for p in run.projections)
    fixed = _fixed(net, blocks)
    return Wiring(
        of=None, dtype=np.dtype(net.dtype), n_units=len(units["S"]), n_channels=n_channels, n_states=int(units["S"].sum()),
        n_outputs=len(outputs["decay"]), n_parameters=n_parameters, n_theta=n_theta, taps=tapped,
        n_recurrent=len(columns["col_theta"]), n_filled=len(columns["col_theta"]) + masked,
        history=int(table["delay"].max(initial=0)), row_history=int(table["delay"][recurrent].max(initial=0)),
        layout=blocks, frozen=_frozen(net, blocks, fixed), fixed=fixed, **units, **columns,
        **pair_tables(table, recurrent, len(units["S"]), n_channels), **outputs,
        links=tuple(link(run, p, places, n_channels) for p in run.projections), changing=_changing(net),
    )  # fmt: skip


def _changing(net: Elements) -> tuple[tuple[slice, slice, int], ...]:
    units = {p.name: slice(p.start, p.start + p.size) for p in net.populations.values()}
    found = [p for p in net.projections if p.changing and p.source in units]
    return tuple((units[p.target], units[p.source], int(np.max(p.delay))) for p in found)


def _unit_tables(net: Elements) -> dict[str, np.ndarray]:
    rows: dict[str, list[np.ndarray]] = {}
    starts: dict[str, int] = dict.fromkeys(("A", "B", "P", "o", "q"), 0)
    for population in net.populations.values():
        cell, n = population.cell, population.size
        S, G, Q = len(cell.memory), len(cell.ports), len(cell.trainable)
        rows.setdefault("size", []).append(np.full(n, n))
        rows.setdefault("local", []).append(np.arange(n))
        for name, count in (("S", S), ("G", G), ("Q", Q)):
            rows.setdefault(name, []).append(np.full(n, count))
        for name, count in (("A", S * S), ("B", S * G), ("P", S * Q), ("o", S), ("q", Q)):
            rows.setdefault(f"start_{name}", []).append(np.full(n, starts[name]))
            starts[name] += count * n
        rows.setdefault("memoryless", []).append(np.full(n, cell.memoryless))
    tables = {name: np.concatenate(parts).astype(bool if name == "memoryless" else np.int64) for name, parts in rows.items()}
    most = int(tables["S"].max())
    hears = [np.tile([*p.cell.hears, *[False] * (most - len(p.cell.hears))], (p.size, 1)) for p in net.populations.values()]
    tables["hears"] = np.concatenate(hears).astype(bool)
    tables["first_state"] = np.cumsum(tables["S"]) - tables["S"]
    return tables


def _all_synapses(net: Elements, blocks: dict, n_channels: int) -> dict[str, np.ndarray]:
    """One row per synapse and port: target unit, source, delay, port, place in theta, learned or not."""
    names = ("target", "source", "delay", "port", "theta", "trained")
    rows: dict[str, list[np.ndarray]] = {name: [np.zeros(0, bool if name == "trained" else np.int64)] for name in names}
    for projection in net.projections:
        target = net.populations[projection.target]
        inside = projection.source in net.populations
        first = n_channels + net.populations[projection.source].start if inside else net.inputs[projection.source].start
        post, pre, delay = synapses(projection)
        for port in projection.ports:
            rows["target"].append(post + target.start)
            rows["source"].append(pre + first)
            rows["delay"].append(delay)
            rows["port"].append(np.full(len(post), target.cell.ports.index(port)))
            rows["theta"].append(blocks[projection.name, port][0].start + np.arange(len(post)))
            rows["trained"].append(np.full(len(post), port in projection.trained_ports))
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def _columns(net: Elements, blocks: dict, table: dict[str, np.ndarray], n_units: int) -> dict[str, np.ndarray]:
    """The learned parameters of each unit, in the order of its block: by source, then biases, then trainable parameters."""
    learned = table["trained"]
    unit, theta = [table["target"][learned]], [table["theta"][learned]]
    source, delay, port = [table["source"][learned]], [table["delay"][learned]], [table["port"][learned]]
    for population in net.populations.values():
        members = np.arange(population.start, population.start + population.size)
        names = [(f"bias_{p}", g, BIAS) for g, (p, r) in enumerate(population.model.ports.items()) if r.bias]
        names += [(name, k, PHI) for k, name in enumerate(population.model.trainable)]
        for name, index, kind in names:
            unit.append(members)
            theta.append(blocks[population.name, name][0].start + np.arange(population.size))
            source.append(np.full(population.size, kind))
            delay.append(np.zeros(population.size, np.int64))
            port.append(np.full(population.size, index))
    parts = [np.concatenate(x) for x in (unit, theta, source, delay, port)]
    rank = np.where(parts[2] < 0, np.iinfo(np.int64).max, parts[2])
    order = np.lexsort((parts[4], parts[3], -parts[2] * (parts[2] < 0), rank, parts[0]))
    names = ("col_unit", "col_theta", "col_source", "col_delay", "col_port")
    columns = {name: x[order] for name, x in zip(names, parts, strict=True)}
    return {"col_ptr": np.searchsorted(columns["col_unit"], np.arange(n_units + 1)), **columns}


def _readouts(net: Elements, blocks: dict) -> dict[str, np.ndarray]:
    total = sum(r.size for r in net.readouts)
    n_units = sum(p.size for p in net.populations.values())
    weight = np.full((total, n_units), -1, np.int64)
    bias, decay = np.zeros(total, np.int64), np.zeros(total)
    for readout in net.readouts:
        population = net.populations[readout.source]
        part, shape = blocks[readout.name, "weight"]
        rows = slice(readout.start, readout.start + readout.size)
        weight[rows, population.start : population.start + population.size] = np.arange(part.start, part.stop).reshape(shape)
        bias[rows] = blocks[readout.name, "bias"][0].start + np.arange(readout.size)
        decay[rows] = readout.decay
    trained = np.array([r.trained for r in net.readouts for _ in range(r.size)], bool)
    return {"out_theta": weight, "out_bias": bias, "decay": decay, "out_trained": trained}


def _frozen(net: Elements, blocks: dict, fixed: np.ndarray) -> np.ndarray:
    """What is fixed, and what has its taps learned in its place."""
    names = [(p.name, name) for p in net.projections if p.bounds for name in (*p.ports, DELAY)]
    parts = [np.arange(blocks[name][0].start, blocks[name][0].stop) for name in names]
    return np.unique(np.concatenate((fixed, *parts))) if parts else fixed


def _fixed(net: Elements, blocks: dict) -> np.ndarray:
    """Places in theta that are not learned."""
    parts = [blocks[p.name, port][0] for p in net.projections for port in p.ports if port not in p.trained_ports]
    parts += [blocks[r.name, name][0] for r in net.readouts if not r.trained for name in ("weight", "bias")]
    return np.concatenate([np.zeros(0, np.int64), *(np.arange(p.start, p.stop) for p in parts)])


def reachable(wiring: Wiring, hops: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Units whose states can depend on the parameters of each unit, as (pointer (N+1), units), each list sorted.

    ``hops=None`` follows the connections to the end (exact RTRL), all that could come to be where masks change; ``hops=n``
    keeps units n connections away (SnAp-(n+1)).
    """
    from scipy import sparse

    n = wiring.n_units
    post = np.repeat(np.arange(n), np.diff(wiring.pair_ptr))
    graph = sparse.csr_matrix((np.ones(len(post), bool), (wiring.pair_pre, post)), shape=(n, n))  # row: from, column: to
    for to, start, _ in wiring.changing if hops is None else ():
        wide = sparse.lil_matrix((n, n), dtype=bool)
        wide[start, to] = True
        graph = (graph + wide.tocsr()).astype(bool)
    reach = sparse.identity(n, bool, format="csr")
    for _ in range(n if hops is None else hops):
        wider = ((reach @ graph) + reach).astype(bool)
        if wider.nnz == reach.nnz:
            break
        reach = wider
    reach.sort_indices()
    return reach.indptr.astype(np.int64), reach.indices.astype(np.int64)


def synapse_ends(w: Wiring) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pair, target unit and source unit of every synapse between units, in the order of ``syn_theta``."""
    pair = np.repeat(np.arange(len(w.pair_pre)), np.diff(w.pair_syn))
    return pair, np.repeat(np.arange(w.n_units), np.diff(w.pair_ptr))[pair], w.pair_pre[pair]
