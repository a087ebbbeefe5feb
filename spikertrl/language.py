"""The language in which models are written: one expression at a time, read as a tree and never executed as Python.

Every text of a user that stands for a value goes through ``parse``: the statements and equations of a model, the derivative of
a surrogate, numbers with units such as ``"20*ms"``. What comes out holds numbers, names, ``+ - * / **``, comparisons joined by
``and``, ``or``, ``not`` and calls of known functions, and nothing else: no attribute, no index, no import. ``evaluate``
computes such a tree step by step.

>>> evaluate(parse("2*v + max(1, v)", {"max": ANY}), {"v": 3.0}, {"max": max})
9.0
>>> parse("().__class__")
Traceback (most recent call last):
    ...
spikertrl.language.TextError: '().__class__' has an attribute ('.'), which the language does not have
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["ANY", "CONSTANTS", "FUNCTIONS", "TextError", "evaluate", "name_fault", "names_in", "nodes", "parse", "statements"]

ANY = -1  # number of arguments of a function that takes two or more
FUNCTIONS: dict[str, int] = dict.fromkeys("event sigmoid tanh exp log sqrt sin cos abs int sign".split(), 1) | {
    "clip": 3,
    "where": 3,
}
"""Functions of a model's text, and how many arguments each takes."""

CONSTANTS = frozenset({"dt", "pi", "e"})

LONGEST = 20_000  # characters of one expression
DEEPEST = 100  # operations inside each other
MOST = 2_000  # numbers, names and operations of one expression
_LARGEST = math.log(1.7e308)  # of a constant, as a natural logarithm


class TextError(ValueError):
    """A text that is no expression of the language."""


def statements(text: str, fail: Callable[[str], None]) -> list[tuple[str, str, str, str]]:
    """Split assignment text into (name, operator, right-hand side, line); ``a += b`` becomes ``a = a + (b)``."""
    found = []
    for line in filter(None, (re.sub(r"#.*", "", part).strip() for part in re.split(r"[\n;]", text))):
        match = re.match(r"(\w+)\s*(=|\+=|-=|\*=|/=)\s*([^=].*)$", line)
        if not match:
            fail(f"cannot read the statement {line!r}; write 'name = expression'")
            continue
        name, operator, right = match.groups()
        found.append((name, "=", right if operator == "=" else f"{name} {operator[0]} ({right})", line))
    return found


def name_fault(name: str) -> str:
    """Why a name cannot be used in the language, or nothing.

    >>> name_fault("tau_m"), name_fault("τ")
    ('', "write 'tau': names are made of the letters a to z, digits and underscores")
    """
    if name.isascii():
        return "" if name.isidentifier() else "names are made of letters, digits and underscores and begin with a letter"
    plain = "".join(letter if letter.isascii() else _spelled(letter) for letter in name)
    hint = f"write {plain!r}: " if plain.isidentifier() else ""
    return f"{hint}names are made of the letters a to z, digits and underscores"


def _spelled(letter: str) -> str:
    """The name of a Greek letter."""
    words = unicodedata.name(letter, "").lower().split()
    return words[-1] if "letter" in words or "sign" in words[-2:] else "?"


# -- reading -----------------------------------------------------------------------------------------------------------
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)
_SIGNS = (ast.UAdd, ast.USub)
_COMPARED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_WORDS = {
    ast.Attribute: "an attribute ('.')",
    ast.Subscript: "an index ('[...]')",
    ast.Lambda: "a lambda",
    ast.NamedExpr: "':='",
    ast.Mod: "the operator '%'",
    ast.FloorDiv: "the operator '//'",
    ast.MatMult: "the operator '@'",
    ast.BitXor: "the operator '^' (a power is '**')",
    ast.BitAnd: "the operator '&' (write 'and')",
    ast.BitOr: "the operator '|' (write 'or')",
    ast.Invert: "the operator '~' (write 'not')",
    ast.IfExp: "'a if c else b' (write where(c, a, b))",
    ast.Tuple: "a comma outside of a function call",
    ast.JoinedStr: "a text in quotes",
}


def parse(text: str, functions: Mapping[str, int] = FUNCTIONS, *, condition: bool = False, loose: bool = False) -> ast.expr:
    """Read one expression.

    Parameters
    ----------
    text : str
    functions : mapping of str to int
        Functions that may be called, with their number of arguments (``ANY``: two or more).
    condition : bool
        The whole may be a comparison. Otherwise comparisons stand only in ``where(...)`` and ``int(...)``.
    loose : bool
        Comparisons count as numbers, 0 or 1, and ``a if c else b`` is known, as in the text of a surrogate.

    Returns
    -------
    ast.expr
        Of the kinds of nodes listed in the module's text.

    Raises
    ------
    TextError
        With the text, what is wrong in it, and what to write.
    """
    if not isinstance(text, str):
        raise TextError(f"expected an expression as text, got {text!r}")
    shown = repr(text.strip() if len(text) < 200 else text.strip()[:150] + " ...")
    if len(text) > LONGEST:
        raise TextError(f"{shown} has {len(text)} characters, at most {LONGEST} are read; write it in several statements")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise TextError(f"cannot parse {shown}: {error.msg}") from None
    except (RecursionError, MemoryError, ValueError) as error:
        raise TextError(f"{shown} cannot be read ({error or 'too deep'}); write it in several statements") from None
    _check(tree, shown, functions, condition, loose)
    _constant(tree, shown, loose)
    return tree


def nodes(tree: ast.AST) -> int:
    """How many numbers, names and operations an expression has."""
    return sum(isinstance(node, ast.expr) for node in ast.walk(tree))


def _check(tree: ast.expr, shown: str, functions: Mapping[str, int], condition: bool, loose: bool) -> None:
    """Every node is of the language, not too many of them, not too deep."""
    waiting: list[tuple[ast.expr, int, bool]] = [(tree, 1, condition or loose)]
    seen = 0
    while waiting:
        node, depth, truth = waiting.pop()
        seen += 1
        if depth > DEEPEST:
            raise TextError(f"{shown} has more than {DEEPEST} operations inside each other; write it in several statements")
        if seen > MOST:
            raise TextError(f"{shown} has more than {MOST} numbers, names and operations; write it in several statements")
        children, truths = _children(node, shown, functions, truth, loose)
        waiting += [(child, depth + 1, each or loose) for child, each in zip(children, truths, strict=True)]


def _children(
    node: ast.expr, shown: str, functions: Mapping[str, int], truth: bool, loose: bool
) -> tuple[list[ast.expr], list[bool]]:
    """What stands below a node, and whether a comparison may stand there."""
    if isinstance(node, ast.Name):
        if fault := name_fault(node.id):
            raise TextError(f"{shown} has the name {node.id!r}; {fault}")
        return [], []
    if isinstance(node, ast.Constant):
        _check_number(node.value, shown, truth)
        return [], []
    if isinstance(node, ast.BinOp) and isinstance(node.op, _OPERATORS):
        return [node.left, node.right], [False, False]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, _SIGNS):
        return [node.operand], [False]
    if isinstance(node, ast.Call):
        _check_call(node, shown, functions)
        return list(node.args), [n == 0 and getattr(node.func, "id", "") in ("where", "int") for n in range(len(node.args))]
    logic = _logic(node, shown, loose)
    if logic and not truth:
        wrong = "a comparison where a number is needed; write int(a > b), or event(a - b) for one with a pseudo-derivative"
        raise TextError(f"{shown} has {wrong}")
    return logic, [not isinstance(node, ast.Compare)] * len(logic)


def _check_number(value: object, shown: str, truth: bool) -> None:
    if isinstance(value, bool):
        if not truth:
            raise TextError(f"{shown} has {value} where a number is needed; write {int(value)}")
    elif not isinstance(value, (int, float)):
        what = "a text in quotes" if isinstance(value, (str, bytes)) else repr(value)
        raise TextError(f"{shown} has {what}, which the language does not have")
    elif not math.isfinite(_as_float(value)):
        raise TextError(f"{shown} has a number beyond 1.7e308, the largest one")


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _check_call(node: ast.Call, shown: str, functions: Mapping[str, int]) -> None:
    if not isinstance(node.func, ast.Name):
        raise TextError(f"{shown} calls something that is no function name: {ast.unparse(node.func)[:40]!r}")
    name, wanted, given = node.func.id, functions.get(node.func.id), len(node.args)
    if wanted is None:
        close = difflib.get_close_matches(name, sorted(functions), 1)
        hint = f"did you mean {close[0]!r}?" if close else f"functions: {', '.join(sorted(functions))}"
        raise TextError(f"undefined name {name!r}, called as a function, in {shown}; {hint}")
    if node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
        raise TextError(f"{shown} gives {name}() an argument by name or with a star; write {name}(a, b)")
    if given != wanted and not (wanted == ANY and given >= 2):
        raise TextError(f"{shown} gives {name}() {given} argument(s), it takes {'two or more' if wanted == ANY else wanted}")


def _logic(node: ast.expr, shown: str, loose: bool) -> list[ast.expr]:
    """The parts of a comparison, or of comparisons joined; a TextError for anything else."""
    if isinstance(node, ast.Compare):
        if len(node.ops) > 1:
            raise TextError(f"{shown} compares more than two things at a time; write 'a < b and b < c'")
        if not isinstance(node.ops[0], _COMPARED):
            raise TextError(f"{shown} has 'is' or 'in', which the language does not have")
        return [node.left, node.comparators[0]]
    if isinstance(node, ast.BoolOp):
        return node.values
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return [node.operand]
    if isinstance(node, ast.IfExp) and loose:
        return [node.test, node.body, node.orelse]
    kind = type(getattr(node, "op", node))
    what = _WORDS.get(kind) or _WORDS.get(type(node)) or type(node).__name__
    raise TextError(f"{shown} has {what}, which the language does not have")


_FOLDED = {"exp": math.exp, "log": math.log, "sqrt": math.sqrt}


def _constant(node: ast.expr, shown: str, loose: bool) -> float | None:
    """The value of a part without names, so that what no computer can hold is refused before anyone tries."""
    if isinstance(node, ast.Constant):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        return {"pi": math.pi, "e": math.e}.get(node.id) if not loose else None
    values = [_constant(child, shown, loose) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, _SIGNS) and values[0] is not None:
        return -values[0] if isinstance(node.op, ast.USub) else values[0]
    known = [v for v in values if v is not None]
    if isinstance(node, ast.BinOp) and len(known) == 2:
        return _folded(lambda: arithmetic(node.op, *known), ast.unparse(node), shown)
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in _FOLDED and len(known) == 1 and len(values) == 2:
        return _folded(lambda: _FOLDED[node.func.id](known[0]), ast.unparse(node), shown)  # type: ignore[attr-defined]
    return None


def _folded(compute: Callable[[], float], part: str, shown: str) -> float:
    try:
        if math.isfinite(found := compute()):
            return found
    except ZeroDivisionError:
        raise TextError(f"{shown} divides by zero in {part!r}") from None
    except (OverflowError, ValueError):
        pass
    raise TextError(f"{shown} has no value: {part!r} is not a number between -1.7e308 and 1.7e308")


def arithmetic(op: ast.operator, left: Any, right: Any) -> Any:
    """``left op right``; a power of two numbers raises OverflowError before it is tried when it is out of range."""
    if isinstance(op, ast.Pow):
        return _power(left, right)
    return _ARITHMETIC[type(op)](left, right)


_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _power(base: Any, exponent: Any) -> Any:
    if type(base) in (int, float) and type(exponent) in (int, float):
        size = abs(float(base))
        if size not in (0.0, 1.0) and abs(float(exponent) * math.log(size)) > _LARGEST:
            raise OverflowError(f"{base} ** {exponent}")
        found = base**exponent
        if isinstance(found, complex):
            raise ValueError(f"{base} ** {exponent} is complex")
        return found
    return base**exponent


# -- computing ---------------------------------------------------------------------------------------------------------
_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def evaluate(tree: ast.expr, names: Mapping[str, Any], functions: Mapping[str, Callable]) -> Any:
    """The value of a tree that ``parse`` has read, for values of its names: numbers, quantities or arrays.

    Raises
    ------
    NameError
        For a name or function without a value.
    """
    if isinstance(tree, ast.Constant):
        return tree.value
    if isinstance(tree, ast.Name):
        return _named(tree.id, names)
    if isinstance(tree, ast.BinOp):
        return arithmetic(tree.op, evaluate(tree.left, names, functions), evaluate(tree.right, names, functions))
    if isinstance(tree, ast.UnaryOp):
        return _signed(tree.op, evaluate(tree.operand, names, functions))
    if isinstance(tree, ast.Call):
        assert isinstance(tree.func, ast.Name)
        return _named(tree.func.id, functions)(*(evaluate(a, names, functions) for a in tree.args))
    if isinstance(tree, ast.Compare):
        left, right = (evaluate(part, names, functions) for part in (tree.left, tree.comparators[0]))
        return _COMPARE[type(tree.ops[0])](left, right)
    if isinstance(tree, ast.BoolOp):
        decide = all if isinstance(tree.op, ast.And) else any
        return decide(bool(evaluate(value, names, functions)) for value in tree.values)
    if isinstance(tree, ast.IfExp):
        return evaluate(tree.body if evaluate(tree.test, names, functions) else tree.orelse, names, functions)
    raise TypeError(f"not an expression of the language: {ast.dump(tree)}")


def _signed(op: ast.unaryop, value: Any) -> Any:
    if isinstance(op, ast.Not):
        return not value
    return -value if isinstance(op, ast.USub) else value


def _named(name: str, table: Mapping[str, Any]) -> Any:
    try:
        return table[name]
    except KeyError:
        raise NameError(f"the name {name!r} has no value") from None


def names_in(tree: ast.expr) -> tuple[set[str], set[str]]:
    """Names of values, and names of functions, in a tree."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return {n.id for n in found if id(n) not in called}, {n.id for n in found if id(n) in called}
