"""NeuronGroup -> Plan: Brian2's own state update, threshold and reset in the words of a Model."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from brian2 import second
from brian2.groups.group import CodeRunner
from brian2.groups.neurongroup import Resetter, StateUpdater, SubexpressionUpdater, Thresholder
from brian2.input.poissoninput import PoissonInput
from brian2.parsing.expressions import parse_expression_dimensions
from brian2.stateupdaters.base import UnsupportedEquationsException
from brian2.units.fundamentalunits import DIMENSIONLESS, Quantity

from ...compile.quantities import UNITS
from ...model import State
from .errors import refuse
from .expressions import Names, evaluate, identifiers, lines_of, name_node, parse, replace_parts
from .inputs import drive_of
from .plan import Plan, Value, unit_text

BEFORE = ("before_start", "start", "after_start", "before_groups")
AFTER = ("after_groups", "before_thresholds")


def start_plan(group: Any, namespace: Mapping[str, Any], trained: set[str]) -> Plan:
    """Check a group and find out which of its variables change; the texts are read later, when all synapses are known."""
    eqs = group.equations
    if eqs.stochastic_variables:
        line = next(str(eq) for eq in eqs.values() if eq.expr is not None and eq.stochastic_variables)
        refuse(group, line, "stochastic differential equations have no fixed step to differentiate",
               "bring the noise in from a PoissonGroup or PoissonInput")  # fmt: skip
    if group._linked_variables:
        name = min(group._linked_variables)
        refuse(group, f"{name} (linked)", "linked variables reach into another group", "connect the groups with Synapses")
    if extra := sorted(set(group.events) - {"spike"}):
        refuse(group, f"{extra[0]}: {group.events[extra[0]]}", "a custom event", "keep the one event 'spike', from threshold=")
    plan = Plan(group, Names(group, namespace), set(eqs.diff_eq_names), trained)
    for runner in parts(group):
        if isinstance(runner, (Thresholder, StateUpdater)):
            continue
        code = group.event_codes["spike"] if isinstance(runner, Resetter) else runner.abstract_code
        plan.written |= {name for name, _, _ in lines_of(group, code)} & set(group.variables)
    return plan


def parts(group: Any) -> Iterator[Any]:
    """The code runners of a group in their place of the schedule; anything else is refused."""
    legal = {Thresholder: "thresholds", Resetter: "resets", StateUpdater: "groups"}
    for thing in group.contained_objects:
        if isinstance(thing, PoissonInput) or not thing.active:
            continue
        if not isinstance(thing, CodeRunner):
            refuse(thing, "", f"it belongs to {group.name!r} and cannot be imported", "leave it out")
        wanted = legal.get(type(thing))
        if wanted and thing.when != wanted:
            refuse(thing, str(thing.abstract_code), f"it runs in the slot {thing.when!r}", f"let it run in {wanted!r}")
        yield thing


def read_group(plan: Plan) -> None:
    """Fill a plan from its group."""
    _states(plan)
    _refractory(plan)
    _integrate(plan)
    _threshold(plan)


def _states(plan: Plan) -> None:
    group = plan.group
    for name in sorted(plan.written):
        variable = group.variables[name]
        equation = group.equations.get(name)
        frozen = group._refractory is not False and equation is not None and "unless refractory" in equation.flags
        if variable.scalar:
            refuse(group, name, f"{name!r} is shared by all neurons and changes", "make it a variable of each neuron")
        discrete = np.dtype(variable.dtype).kind in "iub"
        plan.states[plan.word(name)] = State(unit=unit_text(variable.dim), discrete=discrete, unless_refractory=frozen)
        plan.initial[plan.word(name)] = Value(np.array(variable.get_value(), float), variable.dim)


def _refractory(plan: Plan) -> None:
    group, period = plan.group, plan.group._refractory
    if period is False:
        return
    if isinstance(period, Quantity):
        plan.refractory = plan.parameter("refractory_period", float(period), second.dim)
        return
    tree = plan.names.expand(parse(group, period), f"refractory: {period}")
    if trained := sorted(identifiers(tree) & plan.trained):
        refuse(
            group, f"refractory: {period}", f"a number of steps has no derivative by {trained[0]!r}", "train another parameter"
        )
    if isinstance(tree, (ast.Compare, ast.BoolOp)) or any(plan.is_state(n) for n in identifiers(tree)):
        refuse(group, f"refractory: {period}", "a refractory period that depends on the state", "give a time, such as 2*ms")
    plan.refractory = plan.text(tree, f"refractory: {period}")


def _integrate(plan: Plan) -> None:
    """Statements between the reset of one step and the threshold of the next, in Brian2's order."""
    group = plan.group
    before, after = [], []
    for runner in parts(group):
        if not isinstance(runner, (Thresholder, Resetter, StateUpdater)):
            (before if _is_before(plan, runner) else after).append(runner)
    order = {slot: k for k, slot in enumerate((*BEFORE, "groups", *AFTER))}
    for stage in (before, after):
        stage.sort(key=lambda r: (order[r.when], r.order, r.name))
    known: set[str] = set()
    for code in (*(r.abstract_code for r in before), _state_update(plan), *(r.abstract_code for r in after)):
        for name, right, line in lines_of(group, code):
            if name == "not_refractory":
                continue
            tree = _with_drives(plan, plan.names.expand(parse(group, right), line), line, known)
            text = plan.text(tree, line, known | {f"I_{p}" for p in plan.ports})
            plan.integrate.append(f"{plan.word(name) if plan.is_state(name) else name} = {text}")
            known |= set() if plan.is_state(name) else {name}
    for name in sorted(set(plan.states) - {line.split(" ")[0] for line in plan.integrate}):
        plan.integrate.append(f"{name} = {name}")


def _is_before(plan: Plan, runner: Any) -> bool:
    """Does a regular operation run before the state update (or after it, before the threshold)?"""
    group, code = plan.group, str(runner.abstract_code)
    regular = isinstance(runner, SubexpressionUpdater)
    if abs(float(runner.clock.dt_) - float(group.clock.dt_)) > 1e-9 * float(group.clock.dt_):
        refuse(runner, code, f"it runs every {float(runner.clock.dt_):g} s", "let it run at every step, that is, leave out dt=")
    if not regular:
        for name, _, line in lines_of(group, code):
            if plan.states.get(plan.word(name), State()).unless_refractory:
                refuse(runner, line, f"it writes {name!r}, which stands still while refractory", "write another variable there")
    same = runner.when == "groups" and runner.order != group.state_updater.order
    if runner.when not in (*BEFORE, *AFTER) and not same:
        refuse(runner, code, f"it runs in the slot {runner.when!r}", "use when='start'")
    return runner.when in BEFORE or (same and runner.order < group.state_updater.order)


def _state_update(plan: Plan) -> str:
    """Brian2's abstract code of one state update; the updater is left as it was."""
    updater = plan.group.state_updater
    if isinstance(updater.method_choice, str) and updater.method_choice.startswith("gsl"):
        refuse(
            plan.group, f"method={updater.method_choice!r}", "its steps adapt inside GSL", "use 'rk4' or 'exponential_euler'"
        )
    kept = {name: getattr(updater, name) for name in ("abstract_code", "user_code")}
    try:
        plan.group.equations.check_units(plan.group, run_namespace=plan.names.namespace)
        updater.update_abstract_code(plan.names.namespace)
        return updater.abstract_code
    except UnsupportedEquationsException as error:
        how = "Brian2 itself cannot integrate these equations so"
        refuse(plan.group, f"method={updater.method_choice!r}", f"{how} ({error})", "use 'rk4' or 'exponential_euler'")
    except KeyError as error:
        refuse(plan.group, str(plan.group.equations), str(error.args[0]).strip("'"), "give it with namespace={...}")
    finally:
        for name, value in kept.items():
            setattr(updater, name, value)


def _with_drives(plan: Plan, tree: ast.expr, line: str, temporaries: set[str]) -> ast.expr:
    """The tree with every largest part that depends on time alone replaced by an input."""

    def visit(part: ast.expr) -> ast.expr | None:
        names = identifiers(part)
        if "t" not in names or any(n in temporaries or plan.is_state(n) or n in plan.trained for n in names):
            return None
        return name_node(f"I_{drive_of(plan, part, line)}") if not names & {"not_refractory", "lastspike"} else None

    return replace_parts(tree, visit) if "t" in identifiers(tree) else tree


def _threshold(plan: Plan) -> None:
    group = plan.group
    if "spike" not in group.events:
        moving = sorted(group.equations.diff_eq_names) or sorted(plan.written)
        if not moving:
            refuse(group, str(group.equations), "nothing in it ever changes", "leave the group out, or give it an equation")
        plan.message = plan.word(moving[0])
        return
    line = f"threshold: {group.events['spike']}"
    tree = plan.names.expand(parse(group, group.events["spike"]), line)
    if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And):
        rest = [v for v in tree.values if not (isinstance(v, ast.Name) and v.id == "not_refractory")]
        tree = rest[0] if len(rest) == 1 else tree
    plan.names.check_functions(tree, line)
    if (
        not isinstance(tree, ast.Compare)
        or len(tree.ops) != 1
        or not isinstance(tree.ops[0], (ast.Gt, ast.GtE, ast.Lt, ast.LtE))
    ):
        refuse(group, line, "only one comparison has a pseudo-derivative", "write it as 'v > v_th'")
    plan.threshold = plan.text(tree, line)
    code = group.event_codes.get("spike") or ""
    reset = []
    for name, right, one in lines_of(group, code):
        if not plan.is_state(name):
            refuse(group, f"reset: {one}", f"{name!r} is not a variable of the group", "assign its variables only")
        reset.append(f"{plan.word(name)} = {plan.text(parse(group, right), f'reset: {one}')}")
    plan.reset = "\n".join(reset)


def values_now(plan: Plan) -> dict[str, Any]:
    """Initial states and parameters of a plan, with its units' names, for ``evaluate``."""
    found: dict[str, Any] = {name: float(unit) for name, unit in UNITS.items()}
    found |= {n: v.number for n, v in (plan.parameters | plan.initial).items()} | {"dt": float(plan.group.clock.dt_)}
    return found | {"not_refractory": np.ones(plan.size, bool)}


def threshold_scale(plan: Plan) -> float:
    """How far a unit stands from its threshold after a reset, in SI units: the median of all units.

    Raises
    ------
    BrianImportError
        If a unit stands above its threshold before the first step.
    """
    now = values_now(plan)
    if np.any(evaluate(plan.threshold, now)):
        refuse(plan.group, f"threshold: {plan.threshold}", "a neuron starts above its threshold",
               "start it below: the first update comes before the first threshold")  # fmt: skip
    for name, right, _ in lines_of(plan.group, plan.reset):
        now[name] = evaluate(right, now)
    tree = parse(plan.group, plan.threshold)
    assert isinstance(tree, ast.Compare)
    gap = float(np.median(np.abs(evaluate(tree.left, now) - evaluate(tree.comparators[0], now))))
    return gap if np.isfinite(gap) and gap > 0 else 1.0


def scale_dim(plan: Plan) -> Any:
    """The dimension of the two sides of the threshold."""
    tree = plan.names.expand(parse(plan.group, plan.group.events["spike"]), "threshold")
    compare = next(node for node in ast.walk(tree) if isinstance(node, ast.Compare))
    text = ast.unparse(compare.left)
    variables = plan.group.resolve_all(set(_all_names(compare.left)), plan.names.namespace, user_identifiers=set())
    return parse_expression_dimensions(text, variables) or DIMENSIONLESS


def _all_names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
