"""What reaches a node of a NIR graph: every way back through linear nodes to an input or a unit, as weights and delays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

LINEAR = ("Linear", "Affine", "Scale", "Delay", "Flatten")
PASSED = ("Flatten", "Input", "Output")  # the last two inside of a nested graph


class NIRError(ValueError):
    """A NIR graph, or a network, that cannot be translated."""


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


def kind(node: Any) -> str:
    """The primitive's name."""
    return type(node).__name__


def flat(graph: Any, prefix: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Nodes and edges with nested graphs opened: their nodes are called "graph.node"."""
    nodes, edges = {}, []
    inner = {n: node for n, node in graph.nodes.items() if kind(node) == "NIRGraph"}
    for name, node in graph.nodes.items():
        if name in inner:
            more_nodes, more_edges = flat(node, f"{prefix}{name}.")
            nodes |= more_nodes
            edges += more_edges
        else:
            nodes[prefix + name] = node
    for pre, post in dict.fromkeys(tuple(e) for e in graph.edges):
        edges.append((_door(inner, pre, "Output", prefix), _door(inner, post, "Input", prefix)))
    return nodes, edges


def _door(inner: dict[str, Any], name: str, wanted: str, prefix: str) -> str:
    """A node's full name; for a nested graph, its only input or output."""
    if name not in inner:
        return prefix + name
    found = [n for n, node in inner[name].nodes.items() if kind(node) == wanted]
    if len(found) != 1:
        raise NIRError(f"NIR node {prefix + name!r}: a nested graph needs exactly one {wanted}, it has {sorted(found)}")
    return f"{prefix}{name}.{found[0]}"


class Paths:
    """Looks back from any node of a graph to what sends: ``senders`` are inputs and units."""

    def __init__(self, nodes: dict[str, Any], edges: list[tuple[str, str]], senders: dict[str, int]) -> None:
        self.nodes, self.senders = nodes, senders
        self.into: dict[str, list[str]] = {name: [] for name in nodes}
        for pre, post in edges:
            for name in (pre, post):
                if name not in nodes:
                    raise NIRError(f"NIR edge {(pre, post)} names {name!r}, which is not a node; nodes: {sorted(nodes)}")
            self.into[post].append(pre)

    def arriving(self, name: str, trail: tuple[str, ...] = ()) -> Arriving:
        """The sum of the outputs of all nodes before ``name``."""
        parts = [self._output(pre, (*trail, name)) for pre in self.into[name]]
        sizes = {len(part.constant) for part in parts}
        if len(sizes) > 1:
            raise NIRError(f"NIR node {name!r}: inputs of unequal sizes {sorted(sizes)}")
        constant = sum((part.constant for part in parts), np.zeros(max(sizes, default=0)))
        return Arriving([path for part in parts for path in part.paths], constant)

    def _output(self, name: str, trail: tuple[str, ...]) -> Arriving:
        if name in self.senders:
            size = self.senders[name]
            return Arriving([Path(name, size, None, np.zeros(size), np.zeros(size))], np.zeros(size))
        if name in trail:
            raise NIRError(f"NIR node {name!r}: a loop without a unit, {' -> '.join(reversed(trail))}")
        return self._through(name, self.arriving(name, trail))

    def _through(self, name: str, given: Arriving) -> Arriving:
        """What a linear node makes of what arrives at it."""
        node, what = self.nodes[name], kind(self.nodes[name])
        if what in ("Linear", "Affine"):
            matrix = np.asarray(node.weight, float)
            if matrix.ndim != 2:
                raise NIRError(f"NIR node {name!r}: {what} has a weight of shape {matrix.shape}; only matrices are supported")
            bias = np.asarray(node.bias, float).reshape(-1) if what == "Affine" else np.zeros(len(matrix))
            return Arriving([p.times(matrix, name) for p in given.paths], matrix @ given.constant + bias)
        if what == "Scale":
            scale = np.asarray(node.scale, float).reshape(-1)
            return Arriving([p.times(np.diag(scale), name) for p in given.paths], scale * given.constant)
        if what == "Delay":
            late = np.asarray(node.delay, float).reshape(-1)
            return Arriving([replace(p, after=p.after + late) for p in given.paths], given.constant)
        if what in PASSED:
            return given
        legal = "LIF, CubaLIF, LI, CubaLI, IF, I, Threshold, Linear, Affine, Scale, Delay, Flatten, Input, Output, NIRGraph"
        raise NIRError(f"NIR node {name!r}: {what} is not supported; supported: {legal}")
