"""Pathways and PoissonInputs as Links: ports of the target, weights, delays and indices per synapse."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy
from brian2.core.functions import DEFAULT_FUNCTIONS
from brian2.core.variables import Constant
from brian2.parsing.expressions import parse_expression_dimensions
from brian2.parsing.sympytools import sympy_to_str
from brian2.units.fundamentalunits import DIMENSIONLESS, Quantity

from ...model import UNITS
from .errors import refuse
from .expressions import evaluate, name_node, parse, replace_names
from .pathways import POST, PRE, SYN, Link, Roles, Term, base, check_synapses, read_pathway
from .plan import Plan


def links_of(syn: Any, plans: Mapping[str, Plan], namespace: Mapping[str, Any], trained: set[str]) -> list[Link]:
    """All pathways of a Synapses object."""
    paths = check_synapses(syn)
    source, target = base(syn.source), base(syn.target)
    pre, post = (np.array(syn.variables[n].get_value()) for n in ("_synaptic_pre", "_synaptic_post"))
    found, seen = [], set()
    for path in paths:
        roles = Roles(syn, namespace, plans.get(source.name), plans[target.name])
        effects, messages = read_pathway(path, roles, trained)
        delay = np.floor(np.asarray(path._delays.get_value(), float) / float(path.clock.dt_) + 0.5).astype(np.int64)
        delay = np.broadcast_to(delay if len(delay) else np.zeros(1, np.int64), pre.shape)
        _message(path, roles, messages, delay)
        name = syn.name if len(paths) == 1 else f"{syn.name}.{path.objname}"
        link = Link(name, syn, source.name, target.name, pre, post, delay)
        used: set[str] = set()
        for weight, effect in effects:
            term = _term(roles, weight, pre, trained, path.code)
            if term.variable in seen:
                refuse(syn, path.code, f"{term.variable!r} is trained but stands for several weights of each synapse",
                       "give every statement a variable of its own")  # fmt: skip
            seen |= {term.variable} - {None}
            term.port = _port(roles, weight, effect, used, path.code)
            used.add(term.port)
            link.terms.append(term)
        found.append(link)
    if missing := sorted(trained - seen):
        refuse(syn, "; ".join(p.code for p in paths), f"{missing[0]!r} is to be trained but no pathway adds it to its target",
               "name a variable that stands in on_pre as a factor")  # fmt: skip
    return found


def _message(path: Any, roles: Roles, messages: set[sympy.Expr], delay: np.ndarray) -> None:
    """A state of the sender in the statement scales its message; Brian2 reads it when the spike arrives."""
    found = {m for m in messages if m != 1} or {sympy.Integer(1)}
    if roles.sender is None or len(messages) == 0:
        return
    factor = next(iter(found))
    if len(messages) > 1:
        refuse(
            path.synapses,
            path.code,
            "its statements read the sender's state in different ways",
            "read one factor in all of them",
        )
    if factor != 1 and np.any(delay):
        refuse(path.synapses, path.code, "it reads a state of the sender when a delayed spike arrives",
               "use no delay, or add the value to a variable of the target at once")  # fmt: skip
    text = (
        "spike" if factor == 1 else ast.unparse(parse(roles.syn, f"({_words(roles, factor, path.code, roles.sender)})*spike"))
    )
    if roles.sender.message not in ("", text):
        refuse(path.synapses, path.code, f"the sender's message is {roles.sender.message!r} elsewhere and {text!r} here",
               "let all synapses of a group read the same state of it")  # fmt: skip
    roles.sender.message = text


def _term(roles: Roles, weight: sympy.Expr, pre: np.ndarray, trained: set[str], line: str) -> Term:
    """Values of W per synapse, and how the trained variable stands in it."""
    values = _numbers(roles, weight, pre)
    senders = {s.name.removeprefix(PRE) for s in weight.free_symbols if s.name.startswith(PRE)}
    if roles.sender is not None and (late := sorted(senders & roles.sender.trained)):
        refuse(
            roles.syn, line, f"{late[0]!r} of the sender is to be trained but stands in the weight", "train the weight instead"
        )
    inside = sorted(s.name.removeprefix(SYN) for s in weight.free_symbols if s.name.startswith(SYN))
    wanted = [n for n in inside if n in trained]
    if not wanted:
        return Term("", values)
    symbol = sympy.Symbol(SYN + wanted[0], real=True)
    factor = sympy.diff(weight, symbol)
    if len(wanted) > 1 or factor.has(symbol) or sympy.expand(weight - factor * symbol) != 0:
        refuse(roles.syn, line, f"{wanted[0]!r} is to be trained but {str(weight).replace(SYN, '')} is not linear in it alone",
               "make the whole expression one variable of the synapse and train that")  # fmt: skip
    if roles.meaning[SYN + wanted[0]].scalar:
        refuse(roles.syn, line, f"{wanted[0]!r} is shared by all synapses", "declare it without (shared)")
    factors = _numbers(roles, factor, pre)
    return Term("", values, wanted[0], factors)


def _numbers(roles: Roles, expr: sympy.Expr, pre: np.ndarray) -> np.ndarray:
    """An expression of the synapse and constants of the sender, for every synapse."""
    table: dict[str, Any] = {}
    for symbol in expr.free_symbols:
        number = np.asarray(roles.meaning[symbol.name].get_value())
        where = roles.syn.variables.indices[symbol.name.partition("__")[2]] if symbol.name.startswith(SYN) else ""
        if where == "_postsynaptic_idx":
            number = number[np.asarray(roles.syn.variables["_synaptic_post"].get_value())]
        elif number.ndim and (where == "_presynaptic_idx" or symbol.name.startswith(PRE)):
            number = number[pre]
        table[symbol.name] = number
    return np.array(np.broadcast_to(evaluate(sympy_to_str(expr), table), pre.shape), float)


def _port(roles: Roles, weight: sympy.Expr, effect: Mapping[str, sympy.Expr], used: set[str], line: str) -> str:
    """The port of the target with this effect, made if there is none."""
    plan = roles.receiver
    table: dict[str, Any] = {**DEFAULT_FUNCTIONS, **roles.meaning}
    dim = parse_expression_dimensions(sympy_to_str(weight), table) if weight.free_symbols else DIMENSIONLESS
    texts = {target: _words(roles, expr, line, plan) for target, expr in sorted(effect.items())}
    for expr in effect.values():
        states = {s.name.removeprefix(POST) for s in expr.free_symbols if s.name.startswith(POST)}
        if late := sorted(states & plan.receiving):
            refuse(roles.syn, line, f"it reads {late[0]!r}, which synapses of the same step change", "read another variable")
    name = "_".join(plan.word(t) for t in texts)
    return effect_port(plan, name, texts, dim, used)


def effect_port(plan: Plan, name: str, texts: Mapping[str, str], dim: Any, used: set[str]) -> str:
    """A port of the plan whose input does ``texts`` (target variable -> factor), not among ``used``."""
    key = (tuple(texts.items()), dim)
    for port, have in plan.effects.items():
        if have == key and port not in used:
            return port
    port = plan.port(name, dim, ", ".join(f"{t} += input" if f == "1" else f"{t} += {f} * input" for t, f in texts.items()))
    plan.effects[port] = key
    for target, factor in texts.items():
        plan.receive.append(
            f"{plan.word(target)} += I_{port}" if factor == "1" else f"{plan.word(target)} += ({factor})*I_{port}"
        )
    return port


def _words(roles: Roles, expr: sympy.Expr, line: str, plan: Plan) -> str:
    """An expression in the words of a plan's model."""

    def word(name: str) -> Any:
        bare = name.partition("__")[2]
        if name.startswith((POST, PRE)):
            return name_node(plan.resolve(bare, line, set()))
        variable = roles.meaning[name]
        if bare not in roles.syn.variables and UNITS.fullmatch(bare) and isinstance(variable, Constant):
            return name_node(bare)
        return name_node(plan.parameter(bare, variable.get_value(), variable.dim))

    return ast.unparse(replace_names(parse(roles.syn, sympy_to_str(expr)), word))


def poisson_link(thing: Any, plans: Mapping[str, Plan], namespace: Mapping[str, Any]) -> Link:
    """A PoissonInput: one channel per neuron, whose message is the number of spikes of the step."""
    group = base(thing.group)
    plan = plans[group.name]
    start = getattr(thing._group, "start", 0) or 0
    stop = getattr(thing._group, "stop", plan.size) or plan.size
    units = np.arange(start, stop)
    line = f"{thing.target_var} += weight * binomial"
    if thing.when != "synapses":
        refuse(thing, line, f"it runs in the slot {thing.when!r}", "leave when= at 'synapses'")
    if isinstance(thing.weight, str):
        factor = plan.text(parse(thing, thing.weight), thing.weight)
    else:
        weight = Quantity(thing.weight)
        factor = plan.parameter("poisson_weight", float(weight), weight.dim)
    port = effect_port(plan, plan.word(thing.target_var), {thing.target_var: factor}, DIMENSIONLESS, set())
    zero = np.zeros(len(units), np.int64)
    return Link(thing.name, thing, thing.name, group.name, units - start, units, zero, [Term(port, np.ones(len(units)))])
