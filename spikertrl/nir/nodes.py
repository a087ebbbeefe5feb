"""What a NIR node says in numbers, checked at the door: real and finite, in the range of its equations, one for every unit.

Some exporters write one number of shape () or (1,) for a whole layer. Such a layer is as wide as what arrives at it, and the
number is spread over its units.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from .units import PRIMITIVES

LEAST = {"tau": 0.0, "tau_syn": 0.0, "tau_mem": 0.0}  # and above
NOT_NEGATIVE = ("delay",)


class NIRError(ValueError):
    """A NIR graph, or a network, that cannot be translated."""


def kind(node: Any) -> str:
    """The primitive's name."""
    return type(node).__name__


def fields(node: Any) -> dict[str, str]:
    """The parameters of a unit: name in its model -> name in NIR."""
    return {name: "r" if name == "rate" else name for name in PRIMITIVES[kind(node)][2]}


def numbers(name: str, node: Any, field: str) -> np.ndarray:
    """A parameter of a node as it stands there, in floats.

    Raises
    ------
    NIRError
        If it holds anything but finite numbers that are legal there, naming the node.
    """
    what, given = f"NIR node {name!r}: {kind(node)}.{field}", getattr(node, field, None)
    try:
        found = np.asarray(given)
    except ValueError:
        found = np.asarray(None)
    if found.dtype.kind not in "iuf" or not found.size:
        text = repr(given)
        raise NIRError(f"{what} is {text if len(text) < 80 else type(given).__name__}; legal: an array of real numbers")
    found = found.astype(float)
    low, above = (LEAST[field], True) if field in LEAST else (0.0 if field in NOT_NEGATIVE else -math.inf, False)
    legal = np.isfinite(found) & (found > low if above else found >= low)
    if not legal.all():
        place = np.argwhere(~legal)[0].tolist()
        where = f" at {place[0] if len(place) == 1 else tuple(place)}" if found.size > 1 else ""
        bound = f", {'>' if above else '>='} {low:g}" if math.isfinite(low) else ""
        raise NIRError(f"{what} is {found[tuple(place)]:g}{where}; legal: finite{bound}")
    return found


def spread(name: str, node: Any, field: str, size: int) -> np.ndarray:
    """A parameter (size,); one number is that of all units."""
    found = numbers(name, node, field)
    if found.size not in (1, size):
        what = f"NIR node {name!r}: {kind(node)}.{field}"
        raise NIRError(f"{what} has shape {found.shape}; legal: ({size},), or one number for all of them")
    return np.array(np.broadcast_to(found.reshape(-1), (size,)))


def matrix(name: str, node: Any) -> np.ndarray:
    """The weight of a Linear or Affine, (post, pre)."""
    found = numbers(name, node, "weight")
    if found.ndim != 2:
        what = f"NIR node {name!r}: {kind(node)} has a weight of shape {found.shape}"
        raise NIRError(f"{what}; only matrices are supported")
    return found


def parameters(name: str, node: Any, size: int) -> dict[str, np.ndarray]:
    """Parameters (size,) of a unit under the names of its model.

    Raises
    ------
    NIRError
        Also where a unit would be above its threshold right after it was reset, so that it fires for ever.
    """
    found = {own: spread(name, node, theirs, size) for own, theirs in fields(node).items()}
    if "v_reset" in found and (wrong := found["v_reset"] > found["v_threshold"]).any():
        unit = int(np.argmax(wrong))
        low, high = found["v_threshold"][unit], found["v_reset"][unit]
        what = f"NIR node {name!r}: {kind(node)}.v_threshold is {low:g} at {unit}, below v_reset, which is {high:g}"
        raise NIRError(f"{what}; legal: v_threshold >= v_reset (a unit reset above its threshold fires at every step)")
    return found


def sizes(nodes: Mapping[str, Any], into: Mapping[str, Sequence[str]], inputs: Collection[str]) -> dict[str, int]:
    """Channels of the graph's inputs and units of the unit nodes, from their parameters or from what arrives."""
    found = {name: _said(name, node) for name, node in nodes.items() if kind(node) in PRIMITIVES or name in inputs}
    alike = [name for name, size in found.items() if size == 1 and name not in inputs]
    return found | {name: _arriving(name, nodes, into, found, {name}) or 1 for name in alike}


def _said(name: str, node: Any) -> int:
    """Units, as the node itself says."""
    if kind(node) in PRIMITIVES:
        return max(numbers(name, node, field).size for field in fields(node).values())
    shape = (getattr(node, "input_type", None) or {}).get("input")
    array = np.asarray(shape if shape is not None else [], object)
    whole = [n for n in array.reshape(-1) if isinstance(n, int | np.integer) and n > 0]
    if len(whole) != array.size or (shape is None):
        raise NIRError(f"NIR node {name!r}: Input has the shape {shape!r}; legal: whole numbers >= 1")
    return math.prod(map(int, whole))


def _arriving(
    name: str, nodes: Mapping[str, Any], into: Mapping[str, Sequence[str]], known: Mapping[str, int], seen: set[str]
) -> int:
    """Signals that arrive at a node, 0 if nothing before it says how many. ``known``: what inputs and units say themselves."""
    for pre in into[name]:
        if pre in seen:
            continue
        seen.add(pre)
        node, what = nodes[pre], kind(nodes[pre])
        if what in ("Linear", "Affine"):
            return len(matrix(pre, node))
        own = numbers(pre, node, what.lower()).size if what in ("Scale", "Delay") else known.get(pre, 0)
        if size := own if own > 1 else _arriving(pre, nodes, into, known, seen) or own:
            return size
    return 0
