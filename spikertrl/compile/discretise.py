"""Text of a model -> one discrete step as sympy expressions. Only here Brian2 parses and discretises.

The result, ``Step``, holds for one unit: ``F`` (new states from old states, inputs and parameters) and ``O`` (message from the
new states). For differential equations the order is Brian2's, cut after the state update: receive, reset, state update; emit.
"""

from __future__ import annotations

from . import quiet_brian  # noqa: F401 - first, so that importing Brian2 leaves the process as it was

# isort: split
import ast
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy
from brian2 import Equations, NeuronGroup, second
from brian2.core.functions import DEFAULT_FUNCTIONS, Function
from brian2.core.variables import Constant, Variable
from brian2.equations.unitcheck import check_units_statements
from brian2.parsing.expressions import parse_expression_dimensions
from brian2.parsing.rendering import SympyNodeRenderer
from brian2.units.fundamentalunits import DIMENSIONLESS, DimensionMismatchError, get_dimensions
from sympy.core.function import UndefinedFunction

from ..language import arithmetic, statements
from ..model import Model, ModelError
from .quantities import UNITS, base_value, dimension, dimensions, quantity
from .sharing import Extent, Parts, extent, is_large
from .symbols import FUNCTIONS, Absolute, Event, IsZero, Select, StopEvent, real

__all__ = ["COUNTER", "UNITS", "Step", "base_value", "dimensions", "expression", "quantity", "step"]

REFUSED = (DimensionMismatchError, SyntaxError, TypeError, NotImplementedError, LookupError, ValueError, ArithmeticError)
COUNTER = "refractory_steps"  # discrete state that ODE models with refractoriness carry: steps still to wait


@dataclass(frozen=True)
class Step:
    """One discrete step of one unit. ``states``: carried names, those with sensitivity first; ``memory``: how many of them."""

    states: tuple[str, ...]
    memory: int
    advance: tuple[sympy.Expr, ...]  # F, one per state, in the symbols of old states, I_<port> and parameters
    message: sympy.Expr  # O, in the symbols of the new states and parameters
    shared: tuple[tuple[sympy.Symbol, sympy.Expr], ...] = ()  # lines that F needs first, where it is too large to write out


def step(model: Model) -> Step:
    """Check the units of a model and turn it into one discrete step.

    Raises
    ------
    ModelError
        If units disagree or Brian2 cannot discretise the equations; the text of Brian2's own message is passed on.
    """
    try:
        _check_size(model)
        return _ode_step(model) if model.is_ode else _update_step(model)
    except ModelError as error:
        raise ModelError(f"{error}{_without_unit(model, str(error))}") from error.__cause__
    except REFUSED as error:
        raise ModelError(f"model {model.name!r}: {error}{_without_unit(model, str(error))}") from error


def _without_unit(model: Model, message: str) -> str:
    """For a message about units: what was declared without one, and where to write it."""
    if "unit" not in message:
        return ""
    named = set(re.findall(r"\w+", message.removeprefix(f"model {model.name!r}")))
    rows = [("states", n, n, "State", s.unit) for n, s in model.states.items()]
    rows += [("ports", f"I_{n}", n, "Port", p.unit) for n, p in model.ports.items()]
    rows += [("parameters", n, n, "Parameter", p.unit) for n, p in model.parameters.items()]
    found = [
        f"{kind}={{{name!r}: {record}(unit={_declared(model, text)})}}"
        for kind, text, name, record, unit in rows
        if unit == "1" and text in named
    ]
    return f"\ndeclared without a unit, which may be what is wrong: {', '.join(found)}" if found else ""


def _declared(model: Model, state: str) -> str:
    """The unit at the end of a state's equation."""
    match = re.search(rf"^\s*d{state}/dt\s*=[^:]*:\s*([^(\n#]+)", model.equations, flags=re.M)
    return repr(match[1].strip()) if match and match[1].strip() != "1" else "..."


# -- shared ------------------------------------------------------------------------------------------------------------
def _variables(model: Model) -> dict[str, Any]:
    """Brian2 variables and functions for parsing and unit checks."""
    table: dict[str, Any] = dict(DEFAULT_FUNCTIONS)
    table["dt"] = Variable("dt", dimensions=second.dim, scalar=True, constant=True)
    numbers = {name: unit for name, unit in UNITS.items() if name.isidentifier()} | {"pi": math.pi, "e": math.e}
    table |= {name: Constant(name, float(value), dimensions=get_dimensions(value)) for name, value in numbers.items()}
    units = {n: p.unit for n, p in model.parameters.items()} | {n: s.unit for n, s in model.states.items()}
    units |= {f"I_{n}": p.unit for n, p in model.ports.items()}
    for name, unit in units.items():
        table[name] = Variable(name, dimensions=dimension(unit), constant=name in model.parameters)
    table["y"] = Variable("y", dimensions=DIMENSIONLESS)
    table["spike"] = Variable("spike", dimensions=DIMENSIONLESS)
    table["not_refractory"] = Variable("not_refractory", dimensions=DIMENSIONLESS)
    table["event"] = Function(pyfunc=lambda v: v, arg_units=[None], return_unit=1)
    table["sigmoid"] = Function(pyfunc=lambda v: v, arg_units=[1], return_unit=1)
    table["where"] = Function(pyfunc=lambda c, a, b: a, arg_units=[None, None, None], return_unit=lambda c, a, b: a)
    return table


class _Reader(SympyNodeRenderer):
    """Brian2's way from text to sympy, in which the model's own names come before Brian2's constants (``inf``)."""

    def __init__(self, own: set[str]) -> None:
        super().__init__()
        self.own = own

    def render_Name(self, node: ast.Name) -> Any:
        return real(node.id) if node.id in self.own else super().render_Name(node)

    def render_func(self, node: ast.Name) -> Any:
        """Functions have real values, those of truth values too: ``v > int(i > 2)`` is a comparison."""
        found = super().render_func(node)
        return sympy.Function(found.__name__, real=True) if isinstance(found, UndefinedFunction) else found


def expression(text: str, variables: dict[str, Any]) -> sympy.Expr:
    """Parse with Brian2 and replace function names by the differentiable functions of ``symbols``."""
    own = {name for name, found in variables.items() if isinstance(found, Variable) and not isinstance(found, Constant)}
    parsed = sympy.sympify(_Reader(own - {"t", "dt"}).render_expr(text))
    parsed = parsed.replace(
        lambda e: isinstance(e, sympy.core.function.AppliedUndef) or type(e).__name__ in FUNCTIONS,
        lambda e: FUNCTIONS[type(e).__name__](*e.args),
    )
    known = {s: variables[s.name].value for s in parsed.free_symbols if isinstance(variables.get(s.name), Constant)}
    return parsed.xreplace({s: sympy.Float(known[s]) if s in known else real(s.name) for s in parsed.free_symbols})


def _as_event(condition: sympy.Expr, scales: dict[sympy.Expr, sympy.Expr]) -> sympy.Expr:
    """A threshold condition as a 0/1 expression in ``Event``; distances are divided by the scale of their comparison."""
    scale = scales.get(condition, sympy.S.One)
    if isinstance(condition, sympy.StrictGreaterThan):
        return Event((condition.lhs - condition.rhs) / scale)
    if isinstance(condition, sympy.StrictLessThan):
        return Event((condition.rhs - condition.lhs) / scale)
    if isinstance(condition, (sympy.GreaterThan, sympy.LessThan)):
        return 1 - Event((condition.lts - condition.gts) / scale)
    if isinstance(condition, sympy.And):
        return sympy.Mul(*(_as_event(part, scales) for part in condition.args if str(part) != "not_refractory"))
    if isinstance(condition, sympy.Or):
        return 1 - sympy.Mul(*(1 - _as_event(part, scales) for part in condition.args))
    wanted = "comparisons joined by 'and'/'or', such as 'v > v_th'"
    raise ModelError(f"cannot read the threshold condition {condition}; write {wanted}")


def _stopped(model: Model, expr: sympy.Expr) -> sympy.Expr:
    """Without reset_gradient, the events inside F are constants to the derivative."""
    return expr if model.reset_gradient else expr.replace(Event, StopEvent)


def _run(text: str, env: dict[str, sympy.Expr], variables: dict[str, Any], fail: Callable, parts: Parts | None) -> dict:
    """Execute assignments symbolically: returns the environment after them."""
    env = dict(env)
    for name, _, right, line in statements(text, fail):
        try:
            env[name] = _value(right, env, variables, parts)
        except (ArithmeticError, ValueError) as error:
            fail(f"{line!r} has no value: {error}")
    return env


def _value(
    text: str, env: dict[str, sympy.Expr], variables: dict[str, Any], parts: Parts | None, finite: bool = True
) -> sympy.Expr:
    """An expression with the values of its names put in; without ``finite``, it may have no value, as what is not used may."""
    if parts is not None:
        found = parts.read(text, env)
    else:
        found = expression(text, {**variables, **{n: variables.get(n, Variable(n)) for n in env}})
        _check_powers(found, env)
        found = found.xreplace({real(n): e for n, e in env.items()})
    if not finite:
        return found
    if found.has(sympy.zoo, sympy.nan, sympy.oo, -sympy.oo):
        raise ZeroDivisionError("it divides by zero or takes the logarithm of zero")
    if found.is_Number and not math.isfinite(_as_float(found)):
        raise OverflowError("it is larger than 1.7e308")
    return found


def _as_float(number: sympy.Expr) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _check_powers(expr: sympy.Expr, env: dict[str, sympy.Expr]) -> None:
    """Refuse powers of numbers that no double holds before sympy computes them; the inner ones first."""
    numbers = {real(n): e for n, e in env.items() if e.is_Number}
    if not numbers.keys() & expr.free_symbols:
        return
    for power in sorted(expr.atoms(sympy.Pow), key=lambda p: sum(1 for _ in sympy.preorder_traversal(p))):
        base, exponent = (a.xreplace(numbers) for a in power.args)
        if base.is_Number and exponent.is_Number and base != 0:
            arithmetic(ast.Pow(), float(base), float(exponent))


# -- update statements -------------------------------------------------------------------------------------------------
def _update_step(model: Model) -> Step:
    variables = _variables(model)
    _check_units(model, model.update, variables)
    parse_expression_dimensions(model.message, variables)
    message = expression(model.message, variables)
    lines = [(name, right) for name, _, right, _ in statements(model.update, _raise(model))]
    parts = Parts(variables) if is_large([("y", model.message), *lines]) else None
    start = parts.keep(message) if parts else message
    env: dict[str, sympy.Expr] = {name: real(name) for name in model.states} | {"y": start}
    after = _run(model.update, env, variables, _raise(model), parts)
    names = (*model.memory, *(n for n, s in model.states.items() if s.discrete))
    return _made(model, names, after, message, parts)


def _made(model: Model, names: tuple[str, ...], after: dict[str, sympy.Expr], message: sympy.Expr, parts: Parts | None) -> Step:
    shared = tuple((s, _stopped(model, e)) for s, e in parts.lines) if parts else ()
    return Step(names, len(model.memory), tuple(_stopped(model, after[n]) for n in names), message, shared)


def _check_size(model: Model) -> None:
    """Refuse what has to stand in one formula and is too large for that."""
    texts = [(part, getattr(model, part)) for part in ("message", "threshold", "threshold_scale", "refractory")]
    known: dict[str, Extent] = {}
    for line in filter(None, (re.sub(r"#.*", "", text).strip() for text in model.equations.splitlines())):
        name, right = re.match(r"(?:d(\w+)/dt|\w+)\s*=\s*([^:]+):", line).group(0, 2)  # type: ignore[union-attr]
        found = extent(ast.parse(right.strip(), mode="eval").body, known)
        known[name.split("=")[0].strip()] = found
        if found.is_large:
            _raise(model)(f"{line[:150]!r} in equations is too large for Brian2; write the step with integrate= or update=")
    for part, text in filter(lambda pair: pair[1], texts):
        if extent(ast.parse(text.strip(), mode="eval").body, {}).is_large:
            _raise(model)(f"{text[:150]!r} in {part} is too large; compute it in the step and read a state here")


def _plain(text: str) -> str:
    """Statements without augmented assignment, as Brian2's unit check wants them."""
    return "\n".join(f"{name} = {right}" for name, _, right, _ in statements(text, lambda why: None))


def _check_units(model: Model, text: str, variables: dict[str, Any]) -> None:
    """Units of statements; Brian2 simplifies them first, to infinity where they divide by what is always zero."""
    try:
        check_units_statements(_plain(text), dict(variables))
    except AssertionError as error:
        if not re.search(r"'(zoo|nan|oo)'", str(error)):
            raise
        _raise(model)(f"{text.strip()[:150]!r} has no value: it divides by zero or takes the logarithm of zero")


def _raise(model: Model) -> Callable[[str], None]:
    def fail(why: str) -> None:
        raise ModelError(f"model {model.name!r}: {why}")

    return fail


# -- differential equations --------------------------------------------------------------------------------------------
def _ode_step(model: Model) -> Step:
    variables = _variables(model)
    for part in (model.receive, model.reset):
        if part:
            _check_units(model, part, variables)
    for part in filter(None, (model.threshold, model.refractory)):
        parse_expression_dimensions(part, variables)
    refractory = bool(model.refractory)
    alive = IsZero(real(COUNTER)) if refractory else sympy.Integer(1)
    event, message = _emission(model, variables)
    code = _brian_state_update(model) if model.equations else _given_state_update(model)
    start: dict[str, sympy.Expr] = {name: real(name) for name in model.states} | {"y": message * alive}
    texts = [(n, right) for text in (model.receive, model.reset) for n, _, right, _ in statements(text, _raise(model))]
    parts = Parts(variables) if is_large([*texts, *code]) else None
    env = _run(model.receive, start, variables, _raise(model), parts)
    fired = event * alive
    deaf = re.findall(r"d(\w+)/dt[^\n]*\(\s*unless refractory\s*\)", model.equations)
    deaf += [n for n, state in model.states.items() if state.unless_refractory]
    if refractory:  # Brian2: what stands still while refractory does not receive either
        listens = alive * (1 - StopEvent(fired))
        env |= {n: Select(listens, env[n], real(n)) for n in deaf if env[n] != real(n)}
    received = dict(env)
    after_reset = _run(model.reset, env, variables, _raise(model), parts) if model.reset else env
    env = {n: e if e == received[n] else Select(fired, e, received[n]) for n, e in after_reset.items()}
    waiting = sympy.Integer(0)
    if refractory:
        steps = sympy.floor(expression(model.refractory, variables) / real("dt") + sympy.Float(1e-3))
        waiting = Select(StopEvent(fired), steps - 1, sympy.Max(real(COUNTER) - 1, 0))
    env = _integrate(code, env, variables, waiting, deaf, parts)
    names = (*model.memory, *(n for n, s in model.states.items() if s.discrete), *((COUNTER,) if refractory else ()))
    env[COUNTER] = waiting
    return _made(model, names, env, message * alive, parts)


def _emission(model: Model, variables: dict[str, Any]) -> tuple[sympy.Expr, sympy.Expr]:
    """(the event that resets, the message): the message's first ``event(...)``, or the threshold condition."""
    if model.threshold:
        condition = _as_event(sympy.sympify(expression(model.threshold, variables)), _scales(model, variables))
    else:
        condition = sympy.Integer(0)
    if not model.message:
        return condition, condition
    parse_expression_dimensions(model.message, variables)
    message = expression(model.message, variables)
    if model.threshold and message.has(real("spike")):
        return condition, message.xreplace({real("spike"): condition})
    events = sorted(message.atoms(Event), key=str)
    return (events[0] if events else condition), message


def _scales(model: Model, variables: dict[str, Any]) -> dict[sympy.Expr, sympy.Expr]:
    """For each comparison of the threshold, the distance that its pseudo-derivative sees as 1.

    It is ``threshold_scale``, or, where the two sides have a unit, how far apart the reset leaves them.
    """
    trees = [node for node in ast.walk(ast.parse(model.threshold.strip(), mode="eval")) if isinstance(node, ast.Compare)]
    relations = [(expression(ast.unparse(tree), variables), tree.left) for tree in trees]
    if model.threshold_scale:
        given = expression(model.threshold_scale, variables)
        return {relation: given for relation, _ in relations}
    found = {}
    for relation, left in relations:
        if parse_expression_dimensions(ast.unparse(left), variables) is not DIMENSIONLESS:
            found[relation] = _after_reset(model, variables, relation.lhs - relation.rhs)
    return found


def _after_reset(model: Model, variables: dict[str, Any], gap: sympy.Expr) -> sympy.Expr:
    """The size of a distance to threshold right after a reset, in parameters alone where that can be said.

    A reset that subtracts is one from the threshold. What depends on states beyond that is taken at the default values.
    """
    states = {real(name) for name in model.states}
    env: dict[str, sympy.Expr] = {name: real(name) for name in model.states}
    env = _run(model.reset, env, variables, _raise(model), None) if model.reset else env
    after = gap.xreplace({real(name): env[name] for name in model.states})
    values: dict[sympy.Basic, float] = {real(n): base_value(model, n, p.default, p.unit) for n, p in model.parameters.items()}
    values |= {real(n): base_value(model, n, s.initial, s.unit) if s.initial != 0 else 0.0 for n, s in model.states.items()}
    for distance in (after, sympy.expand(after - gap)):
        if not distance.free_symbols & states and _size(distance.xreplace(values)) > 0:
            return Absolute(distance)
    return sympy.Float(_size(after.xreplace(values)) or 1.0)


def _size(number: sympy.Expr) -> float:
    """The absolute value of a number; 0 of what is none."""
    value = abs(_as_float(number)) if number.is_number and number.is_real else 0.0
    return value if math.isfinite(value) else 0.0


def _brian_state_update(model: Model) -> list[tuple[str, str]]:
    """Brian2's state update as (name, right-hand side) pairs; building the group also checks every unit."""
    constants = "\n".join(f"{n} : {_unit(p.unit)} (constant)" for n, p in model.parameters.items())
    held = "\n".join(f"{n} : {_unit(s.unit)}" for n, s in model.states.items() if f"d{n}/dt" not in model.equations)
    try:
        group = NeuronGroup(
            1,
            Equations("\n".join((model.equations, constants, held))),
            method=model.method,
            threshold=model.threshold or None,
            reset=(_plain(model.reset) or None) if model.threshold else None,
            refractory=model.refractory or False,
            namespace={},
            name=f"check_{model.name}*",
        )
        group._network = "discretised"  # never simulated there: keeps Brian2 from warning of it
        group.equations.check_units(group, run_namespace={})
        group.state_updater.update_abstract_code({})
        for name, parameter in model.parameters.items():
            setattr(group, name, quantity(parameter.default))
    except Exception as error:
        raise ModelError(f"model {model.name!r}: Brian2 refuses the equations: {error}") from error
    for name, state in model.states.items():
        if tuple(float(x) for x in group.variables[name].dim._dims) != dimensions(state.unit):
            ends = _declared(model, name)
            raise ModelError(
                f"model {model.name!r}: state {name!r} has unit {state.unit!r}, but its equation ends in "
                f"{ends if ends != '...' else 1!r}; write State(unit=...) and the end of the equation alike"
            )
    pairs = re.findall(r"^\s*(\w+)\s*=\s*(.+?)\s*$", group.state_updater.abstract_code, flags=re.M)
    return [(name, right) for name, right in pairs if name != "not_refractory"]


def _given_state_update(model: Model) -> list[tuple[str, str]]:
    """The statements of ``integrate`` as (name, right-hand side) pairs."""
    return [(name, right) for name, _, right, _ in statements(model.integrate, _raise(model))]


def _unit(unit: str) -> str:
    """A unit as Brian2's equations can read it: base units in powers, such as "second**-1"."""
    powers = zip(("metre", "kilogram", "second", "amp", "kelvin", "mole", "candle"), dimensions(unit), strict=True)
    return "*".join(f"{name}**{power:g}" for name, power in powers if power) or "1"


def _integrate(code: list[tuple[str, str]], env: dict, variables: dict, waiting: sympy.Expr, deaf: list[str],
               parts: Parts | None) -> dict:  # fmt: skip
    """Run the state update, awake and refractory; what differs becomes a selection. ``deaf``: not written while refractory."""
    cases = []
    for awake in (1, 0):
        now = dict(env)
        for name, right in code:
            used = bool(awake) or (name in env and name not in deaf)
            new = _value(right, now | {"not_refractory": sympy.Integer(awake)}, variables, parts, finite=used)
            now[name] = new if awake or name not in deaf else env[name]
        cases.append(now)
        if waiting == 0:  # never refractory
            return now
    both, old = cases
    return {n: e if e == old[n] else Select(IsZero(waiting), e, old[n]) for n, e in both.items() if n in env}
