"""Text of a model -> one discrete step as sympy expressions. Only here Brian2 parses and discretises.

The result, ``Step``, holds for one unit: ``F`` (new states from old states, inputs and parameters) and ``O`` (message from the
new states). For differential equations the order is Brian2's, cut after the state update: receive, reset, state update; emit.
"""

from __future__ import annotations

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

from ..language import statements
from ..model import Model, ModelError
from .quantities import UNITS, base_value, dimension, dimensions, quantity
from .symbols import FUNCTIONS, Event, IsZero, Select, StopEvent, real

__all__ = ["COUNTER", "UNITS", "Step", "base_value", "dimensions", "expression", "quantity", "step"]

COUNTER = "refractory_steps"  # discrete state that ODE models with refractoriness carry: steps still to wait


@dataclass(frozen=True)
class Step:
    """One discrete step of one unit. ``states``: carried names, those with sensitivity first; ``memory``: how many of them."""

    states: tuple[str, ...]
    memory: int
    advance: tuple[sympy.Expr, ...]  # F, one per state, in the symbols of old states, I_<port> and parameters
    message: sympy.Expr  # O, in the symbols of the new states and parameters


def step(model: Model) -> Step:
    """Check the units of a model and turn it into one discrete step.

    Raises
    ------
    ModelError
        If units disagree or Brian2 cannot discretise the equations; the text of Brian2's own message is passed on.
    """
    try:
        return _ode_step(model) if model.is_ode else _update_step(model)
    except (DimensionMismatchError, SyntaxError, TypeError, NotImplementedError, KeyError) as error:
        raise ModelError(f"model {model.name!r}: {error}") from error


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


def _as_event(condition: sympy.Expr, scale: sympy.Expr = sympy.S.One) -> sympy.Expr:
    """A threshold condition as a 0/1 expression in ``Event``; distances are divided by ``scale``."""
    if isinstance(condition, sympy.StrictGreaterThan):
        return Event((condition.lhs - condition.rhs) / scale)
    if isinstance(condition, sympy.StrictLessThan):
        return Event((condition.rhs - condition.lhs) / scale)
    if isinstance(condition, (sympy.GreaterThan, sympy.LessThan)):
        return 1 - Event((condition.lts - condition.gts) / scale)
    if isinstance(condition, sympy.And):
        return sympy.Mul(*(_as_event(part, scale) for part in condition.args if str(part) != "not_refractory"))
    if isinstance(condition, sympy.Or):
        return 1 - sympy.Mul(*(1 - _as_event(part, scale) for part in condition.args))
    wanted = "comparisons joined by 'and'/'or', such as 'v > v_th'"
    raise ModelError(f"cannot read the threshold condition {condition}; write {wanted}")


def _stopped(model: Model, expr: sympy.Expr) -> sympy.Expr:
    """Without reset_gradient, the events inside F are constants to the derivative."""
    return expr if model.reset_gradient else expr.replace(Event, StopEvent)


def _run(text: str, env: dict[str, sympy.Expr], variables: dict[str, Any], fail: Callable) -> dict[str, sympy.Expr]:
    """Execute assignments symbolically: returns the environment after them."""
    env = dict(env)
    for name, _, right, _ in statements(text, fail):
        new = expression(right, {**variables, **{n: variables.get(n, Variable(n)) for n in env}})
        env[name] = new.xreplace({real(n): e for n, e in env.items()})
    return env


# -- update statements -------------------------------------------------------------------------------------------------
def _update_step(model: Model) -> Step:
    variables = _variables(model)
    check_units_statements(_plain(model.update), dict(variables))
    parse_expression_dimensions(model.message, variables)
    message = expression(model.message, variables)
    env: dict[str, sympy.Expr] = {name: real(name) for name in model.states} | {"y": message}
    after = _run(model.update, env, variables, _raise(model))
    names = (*model.memory, *(n for n, s in model.states.items() if s.discrete))
    return Step(names, len(model.memory), tuple(_stopped(model, after[n]) for n in names), message)


def _plain(text: str) -> str:
    """Statements without augmented assignment, as Brian2's unit check wants them."""
    return "\n".join(f"{name} = {right}" for name, _, right, _ in statements(text, lambda why: None))


def _raise(model: Model) -> Callable[[str], None]:
    def fail(why: str) -> None:
        raise ModelError(f"model {model.name!r}: {why}")

    return fail


# -- differential equations --------------------------------------------------------------------------------------------
def _ode_step(model: Model) -> Step:
    variables = _variables(model)
    for part in (model.receive, model.reset):
        if part:
            check_units_statements(_plain(part), dict(variables))
    for part in filter(None, (model.threshold, model.refractory)):
        parse_expression_dimensions(part, variables)
    refractory = bool(model.refractory)
    alive = IsZero(real(COUNTER)) if refractory else sympy.Integer(1)
    event, message = _emission(model, variables)
    code = _brian_state_update(model) if model.equations else _given_state_update(model)
    start: dict[str, sympy.Expr] = {name: real(name) for name in model.states} | {"y": message * alive}
    env = _run(model.receive, start, variables, _raise(model))
    fired = event * alive
    deaf = re.findall(r"d(\w+)/dt[^\n]*\(\s*unless refractory\s*\)", model.equations)
    deaf += [n for n, state in model.states.items() if state.unless_refractory]
    if refractory:  # Brian2: what stands still while refractory does not receive either
        listens = alive * (1 - StopEvent(fired))
        env |= {n: Select(listens, env[n], real(n)) for n in deaf if env[n] != real(n)}
    received = dict(env)
    after_reset = _run(model.reset, env, variables, _raise(model)) if model.reset else env
    env = {n: e if e == received[n] else Select(fired, e, received[n]) for n, e in after_reset.items()}
    waiting = sympy.Integer(0)
    if refractory:
        steps = sympy.floor(expression(model.refractory, variables) / real("dt") + sympy.Float(1e-3))
        waiting = Select(StopEvent(fired), steps - 1, sympy.Max(real(COUNTER) - 1, 0))
    env = _integrate(code, env, variables, waiting, deaf)
    names = (*model.memory, *(n for n, s in model.states.items() if s.discrete), *((COUNTER,) if refractory else ()))
    env[COUNTER] = waiting
    return Step(names, len(model.memory), tuple(_stopped(model, env[n]) for n in names), message * alive)


def _emission(model: Model, variables: dict[str, Any]) -> tuple[sympy.Expr, sympy.Expr]:
    """(the event that resets, the message): the message's first ``event(...)``, or the threshold condition."""
    scale = expression(model.threshold_scale, variables) if model.threshold_scale else sympy.Integer(1)
    condition = _as_event(sympy.sympify(expression(model.threshold, variables)), scale) if model.threshold else sympy.Integer(0)
    if not model.message:
        return condition, condition
    parse_expression_dimensions(model.message, variables)
    message = expression(model.message, variables)
    if model.threshold and message.has(real("spike")):
        return condition, message.xreplace({real("spike"): condition})
    events = sorted(message.atoms(Event), key=str)
    return (events[0] if events else condition), message


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
            raise ModelError(
                f"model {model.name!r}: state {name!r} has unit {state.unit!r}, but its equation ends in another one"
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


def _integrate(code: list[tuple[str, str]], env: dict, variables: dict, waiting: sympy.Expr, deaf: list[str]) -> dict:
    """Run the state update, awake and refractory; what differs becomes a selection. ``deaf``: not written while refractory."""
    flag = real("not_refractory")
    cases = []
    for awake in (1, 0):
        now = dict(env)
        for name, right in code:
            new = expression(right, {**variables, **{n: variables.get(n, Variable(n)) for n in now}})
            new = new.xreplace({flag: sympy.Integer(awake)}).xreplace({real(n): e for n, e in now.items()})
            now[name] = new if awake or name not in deaf else env[name]
        cases.append(now)
        if waiting == 0:  # never refractory
            return now
    both, old = cases
    return {n: e if e == old[n] else Select(IsZero(waiting), e, old[n]) for n, e in both.items() if n in env}
