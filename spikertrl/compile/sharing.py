"""Large statements: every part gets a name, so that nothing is written out, or differentiated, more than once.

Most models are small: their step is one formula per state, in which temporaries are written out, and its derivatives are
formulas too. A product of a hundred sums, or functions inside each other, cannot be treated like that: formulas and derivatives
grow with the square or the power of what was written. ``Parts`` reads such statements into short lines ``_c0 = ...``, one
operation or a few in each, and ``Chain`` differentiates them line by line with the chain rule.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy
from brian2.core.variables import Constant

from ..language import parse
from .symbols import FUNCTIONS, real

DEEPEST = 10  # functions inside each other that are written out
FACTORS = 12  # sums in one product that are written out
LARGEST = 2_000  # numbers, names and operations of a formula that is written out
LINES = 1_500  # of a step with all its derivatives
_SHORT = 8  # numbers, names and operations that stay in a line

Lines = list[tuple[sympy.Symbol, sympy.Expr]]


@dataclass(frozen=True)
class Extent:
    """How large a formula is with its temporaries written out."""

    nodes: int = 1
    depth: int = 0
    factors: int = 0

    @property
    def is_large(self) -> bool:
        return self.nodes > LARGEST or self.depth > DEEPEST or self.factors > FACTORS


def extent(tree: ast.expr, known: Mapping[str, Extent]) -> Extent:
    """The extent of an expression whose names stand for formulas of known extent."""
    if isinstance(tree, ast.Name):
        return known.get(tree.id, Extent())
    parts = [extent(child, known) for child in ast.iter_child_nodes(tree) if isinstance(child, ast.expr)]
    depth = max((p.depth for p in parts), default=0)
    if isinstance(tree, ast.Call):
        depth += 2 if getattr(tree.func, "id", "") == "where" else 1
    return Extent(1 + sum(p.nodes for p in parts), depth, _factors(tree, parts))


def _factors(tree: ast.expr, parts: list[Extent]) -> int:
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Mult):
        return sum(max(p.factors, 1) if p.nodes > 1 else 0 for p in parts)
    return max((p.factors for p in parts), default=0) if not isinstance(tree, ast.BinOp) else 1


def is_large(statements: Sequence[tuple[str, str]]) -> bool:
    """Whether a run of assignments (name, right-hand side) has to be cut into parts."""
    known: dict[str, Extent] = {}
    for name, right in statements:
        known[name] = extent(ast.parse(right.strip(), mode="eval").body, known)
    return any(found.is_large for found in known.values())


class Parts:
    """Reads statements into short lines."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.lines: Lines = []
        self.constants = {n: float(v.value) for n, v in variables.items() if isinstance(v, Constant)}

    def keep(self, expr: sympy.Expr) -> sympy.Expr:
        """A name for an expression; numbers and names stay what they are."""
        if expr.is_Atom:
            return expr
        symbol = real(f"_c{len(self.lines)}")
        self.lines.append((symbol, expr))
        return symbol

    def short(self, expr: sympy.Expr) -> sympy.Expr:
        """The expression, or a name for it if it is not short."""
        return expr if sum(1 for _ in sympy.preorder_traversal(expr)) <= _SHORT else self.keep(expr)

    def read(self, text: str, env: Mapping[str, sympy.Expr]) -> sympy.Expr:
        """An expression with the values of its names put in."""
        return self.short(self._read(parse(text), env))

    def _read(self, tree: ast.expr, env: Mapping[str, sympy.Expr]) -> Any:
        if isinstance(tree, ast.Name):
            return self._name(tree.id, env)
        if isinstance(tree, ast.Constant):
            return sympy.sympify(tree.value) if isinstance(tree.value, (bool, int)) else sympy.Float(tree.value)
        if isinstance(tree, ast.BinOp):
            left, right = (self.short(self._read(part, env)) for part in (tree.left, tree.right))
            return _OPERATORS[type(tree.op)](left, right)
        if isinstance(tree, ast.UnaryOp):
            value = self._read(tree.operand, env)
            return sympy.Not(value) if isinstance(tree.op, ast.Not) else -value if isinstance(tree.op, ast.USub) else value
        if isinstance(tree, ast.Compare):
            left, right = (self.keep(self._read(part, env)) for part in (tree.left, tree.comparators[0]))
            return _COMPARED[type(tree.ops[0])](left, right)
        if isinstance(tree, ast.BoolOp):
            join = sympy.And if isinstance(tree.op, ast.And) else sympy.Or
            return join(*(self._read(value, env) for value in tree.values))
        assert isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name)
        return self._call(tree.func.id, [self._read(a, env) for a in tree.args])

    def _name(self, name: str, env: Mapping[str, sympy.Expr]) -> sympy.Expr:
        if name in env:
            return env[name]
        known = {"pi": sympy.pi, "e": sympy.E}
        return known[name] if name in known else sympy.Float(self.constants[name]) if name in self.constants else real(name)

    def _call(self, name: str, values: list[Any]) -> Any:
        arguments = [v if v.is_Relational or v.is_Boolean else self.keep(v) for v in values]
        function = FUNCTIONS.get(name) or getattr(sympy, name)
        return self.keep(function(*arguments))


_OPERATORS = {
    ast.Add: sympy.Add,
    ast.Sub: lambda a, b: sympy.Add(a, -b),
    ast.Mult: sympy.Mul,
    ast.Div: lambda a, b: sympy.Mul(a, 1 / b),
    ast.Pow: sympy.Pow,
}
_COMPARED = {ast.Lt: sympy.Lt, ast.LtE: sympy.Le, ast.Gt: sympy.Gt, ast.GtE: sympy.Ge, ast.Eq: sympy.Eq, ast.NotEq: sympy.Ne}


class Chain:
    """Derivatives of lines with respect to some names, by the chain rule; what is not short becomes a line itself.

    ``lines`` holds the lines given and those of the derivatives, each after what it needs.
    """

    def __init__(self, lines: Sequence[tuple[sympy.Symbol, sympy.Expr]], names: Sequence[sympy.Symbol]) -> None:
        self.names, self.lines, self._count = names, [], 0  # type: ignore[var-annotated]
        self._by_name: dict[sympy.Symbol, dict[sympy.Symbol, sympy.Expr]] = {}
        for symbol, expr in lines:
            self.lines.append((symbol, expr))
            local = {s: self._line(sympy.diff(expr, s).xreplace({expr: symbol})) for s in self._reached(expr)}
            found = {x: self._sum(expr, x, local) for x in names}
            self._by_name[symbol] = {x: self._line(e) for x, e in found.items() if e != 0}

    def total(self, expr: sympy.Expr, x: sympy.Symbol) -> sympy.Expr:
        """The derivative of an expression in names and lines with respect to one of ``names``."""
        return self._sum(expr, x, {s: sympy.diff(expr, s) for s in self._reached(expr)})

    def _reached(self, expr: sympy.Expr) -> list[sympy.Symbol]:
        known = {*self._by_name, *self.names}
        return sorted((s for s in sympy.sympify(expr).free_symbols if s in known), key=str)

    def _sum(self, expr: sympy.Expr, x: sympy.Symbol, local: dict[sympy.Symbol, sympy.Expr]) -> sympy.Expr:
        terms = [d if s == x else d * self._by_name[s][x] for s, d in local.items() if s == x or x in self._by_name.get(s, {})]
        return sympy.Add(*terms)

    def _line(self, expr: sympy.Expr) -> sympy.Expr:
        if expr.is_Atom:
            return expr
        symbol = real(f"_d{self._count}")
        self._count += 1
        self.lines.append((symbol, expr))
        return symbol


def needed(lines: Sequence[tuple[sympy.Symbol, sympy.Expr]], targets: Sequence[sympy.Expr]) -> Lines:
    """The lines that some targets need, in order."""
    wanted: set[Any] = {s for e in targets for s in sympy.sympify(e).free_symbols}
    found = []
    for symbol, expr in reversed(lines):
        if symbol in wanted:
            found.append((symbol, expr))
            wanted |= expr.free_symbols
    return found[::-1]
