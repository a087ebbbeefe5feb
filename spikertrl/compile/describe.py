"""Models and the installation, as text for the command line."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from ..model import Model
from .cell import Cell

WIDTH = 120  # longer formulas are written with shared subexpressions
PARTS = {
    "equations": "Differential equations",
    "threshold": "Threshold",
    "reset": "Reset",
    "refractory": "Refractory",
    "receive": "Receive",
    "update": "Update, one step",
    "message": "Message y",
}


def describe(cell: Cell) -> str:
    """Equations, states, ports, parameters and derived Jacobian of a compiled model.

    >>> from spikertrl.compile import compile_model
    >>> from spikertrl.models import rnn
    >>> print(describe(compile_model(rnn)))
    rnn: ...
    <BLANKLINE>
    Update, one step
      h = tanh(I_h)
    ...
    Step and its Jacobian; on the right, states are those of step t-1
      h(t) = tanh(I_h)
    ...
    """
    model = cell.model
    blocks = [f"{model.name}: {model.summary}", *_equations(model), *_tables(model)]
    surrogate = ", ".join(f"{n}={v:g}" for n, v in model.surrogate.parameters.items())
    blocks.append(f"Pseudo-derivative Psi\n  {model.surrogate.derivative}   ({model.surrogate.name}, {surrogate})")
    blocks[-1] += "" if model.reset_gradient else "\n  left out of the reset path"
    blocks.append(derived(cell.jacobian))
    return "\n\n".join([*blocks, f"Reference: {model.reference}"] if model.reference else blocks)


def _equations(model: Model) -> list[str]:
    """The model's own text, part by part."""
    found = []
    for part, title in PARTS.items():
        if text := getattr(model, part):
            note = f" (integrated by {model.method})" if part == "equations" else ""
            found.append(f"{title}{note}\n" + textwrap.indent(textwrap.dedent(text).strip(), "  "))
    return found


def _tables(model: Model) -> list[str]:
    states = [(n, s.initial, _unit(s.unit), "counter" if s.discrete else "", s.meaning) for n, s in model.states.items()]
    ports = [(f"I_{n}", _unit(p.unit), p.kind, "bias" if p.bias else "", p.meaning) for n, p in model.ports.items()]
    trained = {n: "trained" if p.trainable else "" for n, p in model.parameters.items()}
    parameters = [(n, p.default, _unit(p.unit), trained[n], p.meaning) for n, p in model.parameters.items()]
    return [
        table("States", ("name", "initial", "unit", "", "meaning"), states),
        table("Ports", ("name", "unit", "kind", "", "meaning"), ports),
        *([table("Parameters", ("name", "default", "unit", "", "meaning"), parameters)] if parameters else []),
    ]


def _unit(unit: str) -> str:
    return "" if unit == "1" else unit


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows under a title, in columns; empty columns are left out.

    >>> print(table("Ports", ("name", "unit", "meaning"), [("I_v", "", "input"), ("I_long", "", "")]))
    Ports
      name    meaning
      I_v     input
      I_long
    """
    texts = [[str(cell) for cell in row] for row in rows]
    used = [c for c in range(len(head)) if any(row[c] for row in texts)]
    lines = [[row[c] for c in used] for row in (list(head), *texts)]
    widths = [max(len(line[c]) for line in lines) for c in range(len(used))]
    padded = ("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "\n  ".join([title, *padded])


def derived(jacobian: str) -> str:
    """The derived formulas in two parts: a state's letter is its value before the step in one, after it in the other.

    >>> print(derived("v(t) = v + I_v\\ny(t) = Event(v)\\ndv/dv = 1\\ndy/dv = Psi(v)"))
    Step and its Jacobian; on the right, states are those of step t-1
      v(t) = v + I_v
      dv/dv = 1
    <BLANKLINE>
    Message and its derivatives; on the right, states are those of step t
      y(t) = Event(v)
      dy/dv = Psi(v)
    """
    lines = jacobian.splitlines()
    of_message = [line.startswith(("y(t) ", "dy/")) for line in lines]
    found = []
    for title, wanted in (("Step and its Jacobian", False), ("Message and its derivatives", True)):
        text = shorten("\n".join(line for line, is_message in zip(lines, of_message, strict=True) if is_message == wanted))
        found.append(
            f"{title}; on the right, states are those of step {'t' if wanted else 't-1'}\n{textwrap.indent(text, '  ')}"
        )
    return "\n\n".join(found)


def shorten(text: str) -> str:
    """Formulas "left = right", one a line; if any is too long, with their common parts named x0, x1, ... first.

    >>> print(shorten("a = b + c"))
    a = b + c
    >>> long = " + ".join(f"Psi(v - w)*k{i}" for i in range(12))
    >>> print(shorten(f"dv/dv = {long}"))
    x0 = Psi(v - w)
    dv/dv = k0*x0 + k1*x0 + ...
    """
    if all(len(line) <= WIDTH for line in text.splitlines()):
        return text
    import sympy

    lefts, _, rights = zip(*(line.partition(" = ") for line in text.splitlines()), strict=True)
    formulas = " ".join(rights)
    names, called = set(re.findall(r"[A-Za-z_]\w*", formulas)), set(re.findall(r"([A-Za-z_]\w*)\(", formulas))
    known: dict[str, object] = {name: sympy.Symbol(name, real=True) for name in names - called}
    known |= {name: sympy.Function(name) for name in called if not hasattr(sympy, name) or name[0].isupper()}
    fresh = (symbol for symbol in sympy.numbered_symbols("x") if symbol.name not in names)
    shared, short = sympy.cse([sympy.sympify(right, locals=known) for right in rights], fresh)
    return "\n".join(f"{left} = {right}" for left, right in [*shared, *zip(lefts, short, strict=True)])
