"""Model -> the texts of a Brian2 NeuronGroup: equations, threshold, reset, and what runs at every step.

The step is Brian2's own, with the slots in the order start, synapses, resets, groups, thresholds, end: that is, a step of
spikertrl (deliver, receive, reset, advance, emit) uncut. Differential equations stay as they are. Update statements become a
regular operation of the slot "groups", and a message other than 0 is the event.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

import sympy

from ...compile import discretise
from ...compile.brian_device import at_runtime
from ...compile.quantities import UNITS
from ...compile.symbols import Event, IsZero, real
from ...language import statements
from ...model import Model, State

# Names that Brian2 keeps for itself; a model's variable of such a name gets "_state" behind it.
RESERVED = frozenset(
    {"i", "j", "N", "t", "t_in_timesteps", "lastspike", "not_refractory", "xi", "inf", "weight", "steps", "delay"}
)


_steps: dict[str, discretise.Step] = {}


def discrete_step(model: Model) -> discretise.Step:
    """``discretise.step``, remembered, and kept away from a standalone device."""
    if model.fingerprint not in _steps:
        with at_runtime():
            _steps[model.fingerprint] = discretise.step(model)
    return _steps[model.fingerprint]


@dataclass(frozen=True)
class GroupText:
    """What a NeuronGroup of one model is made of.

    ``operations``: (slot, order, code) of regular operations. ``receive``: port -> what a synapse does with ``{}``, the
    weighted message. ``graded``: messages have values, in the variable ``y`` (``y_<d>``: d steps before the next).
    """

    names: Mapping[str, str]
    equations: str
    threshold: str
    reset: str
    event: str
    operations: tuple[tuple[str, int, str], ...]
    receive: Mapping[str, str]
    graded: bool
    namespace: Mapping[str, object]


def group_text(model: Model, shared: set[str], positive: set[str], depth: int, synaptic: set[str]) -> GroupText:
    """Texts of a model.

    ``shared`` and ``positive`` name parameters, ``depth`` is the longest delay of what it sends, ``synaptic`` are names of
    synapses' variables.
    """
    biases = {p for p, port in model.ports.items() if port.bias}
    reserved = RESERVED | synaptic | {f"y_{d}" for d in range(depth + 1)}
    names = {n: f"{n}_state" for n in (*model.states, *model.parameters, *_temporaries(model)) if n in reserved}
    write = Writer(names)
    step = discrete_step(model)
    condition = model.is_ode and model.message in ("", "spike")
    graded = not (condition or _binary(step.message)) or bool(re.search(r"\by\b", model.receive + model.reset))
    lines = [_declared(names.get(n, n), s) for n, s in model.states.items() if not _differential(model, n)]
    lines += [
        f"{names.get(n, n)} : {_unit(p.unit)} (constant{', shared' * (n in shared)})" for n, p in model.parameters.items()
    ]
    lines += [f"bias_{p} : {_unit(model.ports[p].unit)} (constant)" for p in model.ports if p in biases]
    registers = _registers(depth) if graded else None
    parts = (_ode if model.is_ode else _update)(model, write, registers, biases, positive)
    inputs = [f"I_{p} : {_unit(model.ports[p].unit)}" for p, code in parts["receive"].items() if code.startswith("I_")]
    equations = "\n".join((*parts.pop("equations"), *lines, *inputs))
    words = set(re.findall(r"\w+", " ".join((equations, *(code for _, _, code in parts["operations"]), parts["reset"]))))
    namespace = {n: UNITS[n] for n in words & set(UNITS) if n not in (*model.states, *model.parameters)}
    return GroupText(names=names, equations=equations, graded=graded, namespace=namespace, **parts)


def _update(model: Model, write: Writer, registers: dict[str, str] | None, biases: set[str], positive: set[str]) -> dict:
    """Update statements: one regular operation; y is read by the next update before it is written again."""
    older = registers or {}
    code = [*older.values(), *write.statements(model.update), f"y = {write.expression(model.message)}"]
    code += [_cleared(model, p, biases) for p in model.ports]
    return {
        "equations": ["y : 1", *(f"{name} : 1" for name in older)],
        "threshold": "y != 0",
        "reset": "",
        "event": "spike",
        "operations": (("groups", 0, "\n".join(code)),),
        "receive": {p: f"I_{p}_post += {{}}" for p in model.ports},
    }


def _ode(model: Model, write: Writer, registers: dict[str, str] | None, biases: set[str], positive: set[str]) -> dict:
    """Differential equations as they are; input goes straight into the states where the model allows, else through I_<port>."""
    operations, equations = [], [write.rename(line) for line in model.equations.splitlines() if line.strip()]
    receive = None if biases or re.search(r"\bI_\w", model.integrate) else _direct(model, write)
    received, integrated = write.statements(model.receive), write.statements(model.integrate)
    if receive is None:
        receive = {p: f"I_{p}_post += {{}}" for p in model.ports}
        (integrated or received).extend(_cleared(model, p, biases) for p in model.ports)
        operations.append(("before_resets", 0, "\n".join(received)))
    operations.append(("groups", 1, "\n".join(integrated)))
    if registers is not None:
        equations += ["y : 1", *(f"{name} : 1" for name in registers)]
        alive = "*int(not_refractory)" if model.refractory else ""
        message = re.sub(r"\bspike\b", f"int({model.threshold})", model.message or "spike")
        code = [*registers.values(), f"y = ({write.expression(message)}){alive}"]
        operations.append(("groups", 2, "\n".join(code)))
    return {
        "equations": equations,
        "threshold": _threshold(model, write, positive),
        "reset": "\n".join(write.statements(model.reset)),
        "event": "spike" if registers is None else "sent",
        "operations": tuple(part for part in operations if part[2]),
        "receive": receive,
    }


def _threshold(model: Model, write: Writer, positive: set[str]) -> str:
    """The condition that resets: the model's own words unless the message's event says something else."""
    variables = discretise._variables(model)
    event, _ = discretise._emission(model, variables)
    if not model.message or re.search(r"\bspike\b", model.message) or not isinstance(event, Event):
        return write.expression(model.threshold) if model.threshold else ""
    if model.threshold:
        condition = sympy.sympify(discretise.expression(model.threshold, variables))
        said = discretise._as_event(condition, {})
        ratio = sympy.simplify(event.args[0] / said.args[0]) if isinstance(said, Event) else sympy.Integer(0)
        if ratio.xreplace({real(n): sympy.Symbol(n, positive=True) for n in positive}).is_positive:
            return write.expression(model.threshold)
    calls = [n for n in ast.walk(ast.parse(model.message, mode="eval")) if isinstance(n, ast.Call)]
    inner = next(n.args[0] for n in calls if ast.unparse(n.func) == "event")
    return f"{write.expression(ast.unparse(inner))} > 0"


def _direct(model: Model, write: Writer) -> dict[str, str] | None:
    """port -> "v_post += {}" if ``receive`` only ever adds each port once to a state; else None."""
    found = {}
    for line in filter(None, (re.sub(r"#.*", "", part).strip() for part in re.split(r"[\n;]", model.receive))):
        match = re.fullmatch(r"(\w+)\s*\+=\s*I_(\w+)", line)
        if not match or match[2] not in model.ports or match[2] in found:
            return None
        found[match[2]] = f"{write.names.get(match[1], match[1])}_post += {{}}"
    return found if set(found) == set(model.ports) else None


def _registers(depth: int) -> dict[str, str]:
    """Variables for older messages -> the statements, in this order, that move them back by one step."""
    return {f"y_{d}": f"y_{d} = {'y' if d == 2 else f'y_{d - 1}'}" for d in range(depth, 1, -1)}


def _cleared(model: Model, port: str, biases: set[str]) -> str:
    unit = model.ports[port].unit
    return f"I_{port} = bias_{port}" if port in biases else f"I_{port} = 0" + ("" if unit == "1" else f"*({_unit(unit)})")


def _binary(message: sympy.Expr) -> bool:
    """Is the message 0 or 1?"""
    return all(isinstance(factor, (Event, IsZero)) for factor in sympy.Mul.make_args(message))


def _declared(name: str, state: State) -> str:
    """A state without equation; one that is not written while refractory stands still in Brian2's words."""
    if not state.unless_refractory:
        return f"{name} : {_unit(state.unit)}"
    return f"d{name}/dt = 0*({_unit(state.unit)})/second : {_unit(state.unit)} (unless refractory)"


def _differential(model: Model, name: str) -> bool:
    return re.search(rf"\bd{name}/dt", model.equations) is not None


def _temporaries(model: Model) -> set[str]:
    return {name for name, *_ in statements(model.update, lambda why: None)} - set(model.states)


def _unit(unit: str) -> str:
    return discretise._unit(unit)


class Writer(ast.NodeTransformer):
    """Text of the model language as text of Brian2's: names that Brian2 reserves, and event, sigmoid, where."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = dict(names)

    def expression(self, text: str) -> str:
        return ast.unparse(self.visit(ast.parse(text.strip(), mode="eval")))

    def statements(self, text: str) -> list[str]:
        found = statements(text, lambda why: None)
        return [f"{self.names.get(name, name)} = {self.expression(right)}" for name, _, right, _ in found]

    def rename(self, text: str) -> str:
        for old, new in self.names.items():
            text = re.sub(rf"\bd{old}/dt", f"d{new}/dt", re.sub(rf"\b{old}\b", new, text))
        return text.strip()

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self.names.get(node.id, node.id), node.ctx)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        arguments = [ast.unparse(self.visit(a)) for a in node.args]
        name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        text = {
            "event": "int(({0}) > 0)",
            "sigmoid": "(1/(1 + exp(-({0}))))",
            "where": "(int({0})*({1}) + (1 - int({0}))*({2}))",
        }.get(name, f"{name}({', '.join(arguments)})")
        return ast.parse(text.format(*arguments) if name in ("event", "sigmoid", "where") else text, mode="eval").body
