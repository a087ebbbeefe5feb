"""Expressions of Brian2 as text: names resolved in a group, subexpressions put in place, values computed with numpy."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from brian2.core.functions import Function
from brian2.core.variables import Subexpression, Variable
from brian2.input.timedarray import TimedArray, _find_K

from ...language import statements
from .errors import refuse

KNOWN_FUNCTIONS = frozenset("exp log sqrt sin cos tanh abs sign clip int".split())
RANDOM_FUNCTIONS = frozenset("rand randn poisson".split())
PLAIN = frozenset({"dt", "pi", "e", "True", "False"})
NUMPY = {
    name: getattr(np, name)
    for name in "exp log sqrt sin cos tan sinh cosh tanh arctan arcsin arccos clip sign abs floor ceil".split()
}
NUMPY |= {"_and": np.logical_and, "_or": np.logical_or, "_not": np.logical_not}
NUMPY |= {"log10": np.log10, "int": lambda x: np.asarray(x).astype(int), "pi": np.pi, "e": np.e, "inf": np.inf}


def lines_of(owner: Any, code: str) -> list[tuple[str, str, str]]:
    """Brian2 statements as (name, right-hand side, line); ``a += b`` is a = a + (b)."""
    joined = re.sub(r"\\\s*\n", " ", code)

    def fail(why: str) -> None:
        refuse(owner, joined.strip(), why, "write it as 'name = expression' or 'name += expression'")

    return [(name, right, line) for name, _, right, line in statements(joined, fail)]


def parse(owner: Any, text: str) -> ast.expr:
    """An expression as a tree."""
    try:
        return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        refuse(owner, text, f"it cannot be read ({error.msg})", "write it as one expression")


def identifiers(tree: ast.AST) -> set[str]:
    """Names of variables (not of functions) in a tree."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}


def functions(tree: ast.AST) -> set[str]:
    """Names of the functions called in a tree."""
    return {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


class Names:
    """What the names of an expression mean in a Brian2 group: its variables, then its namespace, then the user's."""

    def __init__(self, group: Any, namespace: Mapping[str, Any]) -> None:
        self.group, self.namespace = group, namespace

    def find(self, name: str, line: str) -> Variable | Function:
        """Brian2's Variable, Constant or Function behind a name."""
        try:
            return self.group._resolve(name, self.namespace, user_identifier=False)
        except KeyError:
            refuse(self.group, line, f"the name {name!r} is not known", f"give it with namespace={{{name!r}: ...}}")

    def expand(self, tree: ast.expr, line: str) -> ast.expr:
        """The tree with every subexpression of the group written out."""

        def visit(name: str) -> ast.expr | None:
            variable = self.group.variables.get(name)
            if not isinstance(variable, Subexpression):
                return None
            return self.expand(parse(self.group, variable.expr), line)

        return replace_names(tree, visit)

    def check_functions(self, tree: ast.expr, line: str, more: frozenset[str] = frozenset()) -> None:
        """Refuse functions that are random or that have no derivative here."""
        if any(isinstance(node, (ast.Mod, ast.FloorDiv)) for node in ast.walk(tree)):
            refuse(self.group, line, "the operators % and // have no derivative here", "compute it beforehand, as a parameter")
        for name in sorted(functions(tree) - KNOWN_FUNCTIONS - more):
            if name in RANDOM_FUNCTIONS:
                instead = "random input comes from PoissonGroup, PoissonInput or SpikeGeneratorGroup"
                refuse(self.group, line, f"{name}() makes the step random", instead)
            legal = ", ".join(sorted(KNOWN_FUNCTIONS))
            refuse(self.group, line, f"the function {name}() has no derivative here", f"write it with {legal}")


def replace_names(tree: ast.expr, visit: Callable[[str], ast.expr | None]) -> ast.expr:
    """A copy of the tree in which ``visit(name)`` takes the place of a variable wherever it is not None."""

    class Swap(ast.NodeTransformer):
        def visit_Call(self, node: ast.Call) -> ast.AST:
            return ast.Call(node.func, [cast(ast.expr, self.visit(a)) for a in node.args], node.keywords)

        def visit_Name(self, node: ast.Name) -> ast.AST:
            return visit(node.id) or node

    return cast(ast.expr, ast.fix_missing_locations(Swap().visit(ast.parse(ast.unparse(tree), mode="eval").body)))


def replace_parts(tree: ast.expr, visit: Callable[[ast.expr], ast.expr | None]) -> ast.expr:
    """A copy of the tree in which ``visit(part)`` takes the place of the largest parts for which it is not None."""

    class Swap(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            if isinstance(node, ast.expr) and (found := visit(node)) is not None:
                return found
            if isinstance(node, ast.Call):
                return ast.Call(node.func, [cast(ast.expr, self.visit(a)) for a in node.args], node.keywords)
            return self.generic_visit(node)

    return cast(ast.expr, ast.fix_missing_locations(Swap().visit(ast.parse(ast.unparse(tree), mode="eval").body)))


def name_node(name: str) -> ast.Name:
    """A variable as a tree."""
    return ast.Name(name, ast.Load())


class _Elementwise(ast.NodeTransformer):
    """``and``, ``or`` and ``not`` for arrays."""

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        name = name_node("_and" if isinstance(node.op, ast.And) else "_or")
        found = node.values[0]
        for value in node.values[1:]:
            found = ast.Call(name, [found, value], [])
        return found

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return ast.Call(name_node("_not"), [node.operand], []) if isinstance(node.op, ast.Not) else node


def evaluate(text: str | ast.expr, values: Mapping[str, Any]) -> np.ndarray:
    """An expression computed with numpy; ``values`` hold the variables in SI base units, and functions."""
    tree = ast.parse(text.strip(), mode="eval").body if isinstance(text, str) else text
    text = ast.unparse(ast.fix_missing_locations(_Elementwise().visit(ast.parse(ast.unparse(tree), mode="eval"))))
    with np.errstate(all="ignore"):
        return np.asarray(eval(text, {"__builtins__": {}}, {**NUMPY, **values}))  # the user's own script, already run


def timed_array(array: TimedArray, dt: float) -> Callable:
    """A TimedArray as a numpy function of SI values, sampled as Brian2 does for groups with this dt."""
    fine = _find_K(dt, array.dt)
    last = len(array.values) - 1

    def sample(t: Any, *column: Any) -> np.ndarray:
        step = np.clip(np.asarray(np.round(np.asarray(t) / (array.dt / fine)) / fine).astype(int), 0, last)
        return array.values[(step, *column)]

    return sample
