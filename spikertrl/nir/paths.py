"""What reaches a node of a NIR graph: every way back through linear nodes to an input or a unit, as weights and delays."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..resources import readable
from ..units import MOST_STEPS
from .nodes import NIRError, kind, matrix, sizes, spread

PASSED = ("Flatten", "Input", "Output")  # the last two inside of a nested graph


@dataclass(frozen=True)
class Path:
    """Signal of ``source`` times ``weight`` (post, pre; None: as it is), ``before`` and ``after`` seconds late.

    ``before`` is a delay of each source channel, ``after`` of each channel that the path has now.
    """

    source: str
    size: int
    weight: np.ndarray | None
    before: np.ndarray
    after: np.ndarray

    def times(self, matrix: np.ndarray, name: str) -> Path:
        """The path behind a matrix. A delay between two matrices must be the same for all channels."""
        if self.weight is None:
            return replace(self, weight=matrix, before=self.before + self.after, after=np.zeros(len(matrix)), size=len(matrix))
        if len(self.after) and np.ptp(self.after):
            raise NIRError(f"NIR node {name!r}: unequal delays between two matrices; give all channels one")
        late = self.before + (self.after[0] if len(self.after) else 0.0)
        return replace(self, weight=matrix @ self.weight, before=late, after=np.zeros(len(matrix)), size=len(matrix))

    def matrix(self) -> np.ndarray:
        """Weights (post, pre)."""
        return np.eye(self.size) if self.weight is None else self.weight

    def delay(self) -> np.ndarray:
        """Seconds (post, pre)."""
        if self.weight is None:
            return np.broadcast_to(self.before + self.after, (self.size, self.size))
        return self.after[:, None] + self.before[None]


@dataclass
class Arriving:
    """Everything that arrives: paths and a constant."""

    paths: list[Path]
    constant: np.ndarray


def flat(graph: Any, prefix: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Nodes and edges with nested graphs opened: their nodes are called "graph.node"."""
    nodes, edges = {}, []
    _check(graph, prefix)
    inner = {n: node for n, node in graph.nodes.items() if kind(node) == "NIRGraph"}
    for name, node in graph.nodes.items():
        if name in inner:
            more_nodes, more_edges = flat(node, f"{prefix}{name}.")
            edges += more_edges
        else:
            more_nodes = {prefix + name: node}
        if twice := sorted(set(nodes) & set(more_nodes)):
            raise NIRError(f"NIR node {twice[0]!r}: the name occurs twice once nested graphs are opened")
        nodes |= more_nodes
    for pre, post in dict.fromkeys(tuple(e) for e in graph.edges):
        edges.append((_door(inner, pre, "Output", prefix), _door(inner, post, "Input", prefix)))
    return nodes, edges


def _check(graph: Any, prefix: str) -> None:
    """Raise NIRError unless nodes have names and edges are pairs of names."""
    place = f"NIR node {prefix[:-1]!r}" if prefix else "NIR graph"
    nodes, edges = getattr(graph, "nodes", None), getattr(graph, "edges", None)
    if not isinstance(nodes, dict) or not all(isinstance(name, str) and name for name in nodes):
        raise NIRError(f"{place}: nodes is {nodes!r}; legal: a mapping, name -> node")
    if not isinstance(edges, list | tuple | set):
        raise NIRError(f"{place}: edges is {edges!r}; legal: a list of pairs (name, name)")
    for edge in edges:
        if not isinstance(edge, list | tuple) or len(edge) != 2 or not all(isinstance(name, str) for name in edge):
            raise NIRError(f"{place}: edges holds {edge!r}; legal: pairs (name, name)")
        if missing := [name for name in edge if name not in nodes]:
            names = sorted(map(repr, nodes))
            raise NIRError(f"{place}: edge {tuple(edge)} names {missing[0]!r}, which is not a node; nodes: {', '.join(names)}")


def _door(inner: dict[str, Any], name: str, wanted: str, prefix: str) -> str:
    """A node's full name; for a nested graph, its only input or output."""
    if name not in inner:
        return prefix + name
    found = [n for n, node in inner[name].nodes.items() if kind(node) == wanted]
    if len(found) != 1:
        raise NIRError(f"NIR node {prefix + name!r}: a nested graph needs exactly one {wanted}, it has {sorted(found)}")
    return f"{prefix}{name}.{found[0]}"


class Paths:
    """Looks back from any node of a graph to what sends: ``sizes`` are the inputs and units and how wide they are."""

    def __init__(self, nodes: dict[str, Any], edges: list[tuple[str, str]], inputs: Collection[str], dt: float) -> None:
        self.nodes, self.dt = nodes, dt
        self.into: dict[str, list[str]] = {name: [] for name in nodes}
        for pre, post in edges:
            self.into[post].append(pre)
        self.sizes = sizes(nodes, self.into, inputs)

    def arriving(self, name: str, trail: tuple[str, ...] = ()) -> Arriving:
        """The sum of the outputs of all nodes before ``name``."""
        parts = [self._output(pre, (*trail, name)) for pre in self.into[name]]
        widths = {len(part.constant) for part in parts}
        if len(widths) > 1:
            raise NIRError(f"NIR node {name!r}: inputs of unequal sizes {sorted(widths)}")
        wide = self.sizes.get(name)
        if widths and wide and widths != {wide}:
            raise NIRError(f"NIR node {name!r}: {kind(self.nodes[name])} of {wide} units, but {widths.pop()} signals arrive")
        constant = sum((part.constant for part in parts), np.zeros(max(widths, default=0)))
        return Arriving([path for part in parts for path in part.paths], constant)

    def _output(self, name: str, trail: tuple[str, ...]) -> Arriving:
        if name in self.sizes:
            size = self.sizes[name]
            return Arriving([Path(name, size, None, np.zeros(size), np.zeros(size))], np.zeros(size))
        if name in trail:
            raise NIRError(f"NIR node {name!r}: a loop without a unit, {' -> '.join(reversed(trail))}")
        return self._through(name, self.arriving(name, trail))

    def _through(self, name: str, given: Arriving) -> Arriving:
        """What a linear node makes of what arrives at it."""
        node, what, wide = self.nodes[name], kind(self.nodes[name]), len(given.constant)
        if what in ("Linear", "Affine"):
            weight = matrix(name, node)
            if not self.into[name]:
                given, wide = Arriving([], np.zeros(weight.shape[1])), weight.shape[1]
            if weight.shape[1] != wide:
                raise NIRError(f"NIR node {name!r}: {what}.weight has shape {weight.shape}, but {wide} signals arrive")
            bias = spread(name, node, "bias", len(weight)) if what == "Affine" else np.zeros(len(weight))
            return Arriving([p.times(weight, name) for p in given.paths], weight @ given.constant + bias)
        if what == "Scale":
            scale = spread(name, node, "scale", wide)
            return Arriving([p.times(np.diag(scale), name) for p in given.paths], scale * given.constant)
        if what == "Delay":
            late = spread(name, node, "delay", wide)
            self._bounded(name, late, given.paths)
            return Arriving([replace(p, after=p.after + late) for p in given.paths], given.constant)
        if what in PASSED:
            return given
        legal = "LIF, CubaLIF, LI, CubaLI, IF, I, Threshold, Linear, Affine, Scale, Delay, Flatten, Input, Output, NIRGraph"
        raise NIRError(f"NIR node {name!r}: {what} is not supported; supported: {legal}")

    def _bounded(self, name: str, late: np.ndarray, paths: list[Path]) -> None:
        """Messages wait in memory for as long as a delay lasts."""
        steps = late.max(initial=0.0) / self.dt
        if steps > MOST_STEPS:
            bytes_of_a_step = 8 * max((self.sizes[p.source] for p in paths), default=1)
            raise NIRError(
                f"NIR node {name!r}: Delay.delay is {late.max():g} s, {steps:g} steps of dt = {self.dt:g} s; messages on their "
                f"way would take {readable(steps * bytes_of_a_step)}; legal: at most {MOST_STEPS} steps"
            )
