"""Model -> JaxCell: the step of a unit in JAX, from the same symbolic step that its compiled cell is made of.

Derivatives are JAX's own, but for the three functions that have none: ``_event`` has the pseudo-derivative, ``_select`` is
E a + (1 - E) b, ``_clip`` has slope 1 strictly inside.
"""

from __future__ import annotations

import ast
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..language import evaluate
from ..model import Model, ModelError
from ..optional import needed


@dataclass(frozen=True)
class JaxCell:
    """A model's step in JAX.

    ``advance(s, I, p, dt)``: new states from old states, arrived input and parameters, dicts of arrays;
    ``message(s, p, dt)``: the message of new states. ``source``: their text.
    """

    states: tuple[str, ...]
    memory: tuple[str, ...]
    ports: tuple[str, ...]
    source: str
    advance: Callable[..., dict[str, Any]]
    message: Callable[..., Any]


_sources: dict[str, tuple[str, tuple[str, ...], int]] = {}  # fingerprint -> text, states, how many carry sensitivity


def jax_cell(model: Model) -> JaxCell:
    """The step of a model in JAX.

    Raises
    ------
    ModelError
        As in ``compile_model``.
    """
    needed("jax", "srl.to_jax")
    if model.fingerprint not in _sources:
        _sources[model.fingerprint] = _source(model)
    text, states, memory = _sources[model.fingerprint]
    names = _names(model)
    exec(compile(text, f"<{model.name} in JAX>", "exec"), names)
    return JaxCell(states, states[:memory], tuple(model.ports), text, names["advance"], names["message"])


def _source(model: Model) -> tuple[str, tuple[str, ...], int]:
    from .brian_device import at_runtime, import_brian2

    import_brian2()
    from . import discretise, emit_jax  # Brian2 and sympy: only when there is something to print

    with at_runtime():
        step = discretise.step(model)
    try:
        return emit_jax.source(model, step), step.states, step.memory
    except (NotImplementedError, RecursionError) as error:
        raise ModelError(f"model {model.name!r}: {error}") from None


def _names(model: Model) -> dict[str, Any]:
    """What the names of the generated text stand for."""
    jax = needed("jax", "srl.to_jax")
    np, stop = jax.numpy, jax.lax.stop_gradient

    psi = _pseudo_derivative(model.surrogate.derivative, model.surrogate.parameters, np)

    @jax.custom_jvp
    def event(v: Any) -> Any:
        return (v > 0).astype(v.dtype)

    event.defjvp(lambda at, along: (event(*at), psi(*at) * along[0]))

    @jax.custom_jvp
    def select(chosen: Any, a: Any, b: Any) -> Any:
        return np.where(chosen != 0, a, b)

    @select.defjvp
    def _(at: tuple, along: tuple) -> tuple:
        (chosen, a, b), (d_chosen, d_a, d_b) = at, along
        return select(*at), (a - b) * d_chosen + np.where(chosen != 0, d_a, d_b)

    @jax.custom_jvp
    def clip(v: Any, low: Any, high: Any) -> Any:
        return np.minimum(np.maximum(v, low), high)

    @clip.defjvp
    def _(at: tuple, along: tuple) -> tuple:
        (v, low, high), (d_v, d_low, d_high) = at, along
        return clip(*at), np.where(v <= low, d_low, np.where(v >= high, d_high, d_v))

    return {
        "_T": float,
        "_math": np,
        "_exp": np.exp,
        "_tanh": np.tanh,
        "_abs": np.abs,
        "_max": _pairwise(np.maximum),
        "_min": _pairwise(np.minimum),
        "_sigmoid": jax.nn.sigmoid,
        "_event": lambda v: event(np.asarray(v)),
        "_stop_event": lambda v: stop(event(np.asarray(v))),
        "_select": lambda *values: select(*_alike(np, values)),
        "_clip": lambda *values: clip(*_alike(np, values)),
        "_sign": lambda v: stop(np.sign(v)),
        "_test": lambda condition: np.where(condition, 1.0, 0.0),
        "_not": np.logical_not,
    }


def _pseudo_derivative(text: str, parameters: Mapping[str, float], np: Any) -> Callable[[Any], Any]:
    """A surrogate's expression as a function of v, an array."""
    functions = {name: getattr(np, name) for name in ("abs", "exp", "sqrt", "cos", "tanh")}
    functions |= {"max": _pairwise(np.maximum), "min": _pairwise(np.minimum)}
    functions |= {"_and": np.logical_and, "_or": np.logical_or, "_not": np.logical_not, "_if": np.where}
    tree = _Arrays().visit(ast.parse(text.strip(), mode="eval").body)
    values = {"pi": math.pi} | {name: float(value) for name, value in parameters.items()}
    return lambda v: np.asarray(evaluate(tree, values | {"v": v}, functions), v.dtype)


class _Arrays(ast.NodeTransformer):
    """What decides about one number becomes a function of arrays."""

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        name = "_and" if isinstance(node.op, ast.And) else "_or"
        return functools.reduce(lambda a, b: _called(name, a, b), node.values)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        return _called("_not", node.operand) if isinstance(node.op, ast.Not) else node

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        return _called("_if", node.test, node.body, node.orelse)


def _called(name: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(name), list(arguments), [])


def _pairwise(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda *values: functools.reduce(function, values)


def _alike(np: Any, values: tuple) -> tuple:
    """Arrays of one float type and shape."""
    kind = np.result_type(*values)
    return tuple(np.broadcast_arrays(*(np.asarray(v, kind) for v in values)))
