"""Synapses -> Links: every pathway statement ``x_post += expression`` as weight per synapse, times what it does to the target.

An expression is split into W, which differs from synapse to synapse (synaptic variables and constants of the sending neuron);
M, a state of the sending neuron, which scales its message; and H, what one unit of weight does to the target (constants,
variables of the receiving neuron). W becomes the parameter, H the port.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy
from brian2.core.variables import ArrayVariable, Variable
from brian2.groups.subgroup import Subgroup
from brian2.parsing.sympytools import str_to_sympy
from brian2.synapses.synapses import Synapses, SynapticPathway

from .errors import refuse
from .expressions import Names, lines_of, name_node, parse, replace_names
from .plan import Plan

SYN, PRE, POST, CONST = "syn__", "pre__", "post__", "const__"


@dataclass
class Term:
    """One parameter per synapse: its values, the port it arrives at, and, if trained, w = value / factor in ``variable``."""

    port: str
    values: np.ndarray
    variable: str | None = None
    factor: np.ndarray | None = None


@dataclass
class Link:
    """A pathway: index arrays (one entry per synapse, in Brian2's order), delays in Brian2's steps, and its terms."""

    name: str
    synapses: Any
    source: str
    target: str
    pre: np.ndarray
    post: np.ndarray
    delay: np.ndarray
    terms: list[Term] = field(default_factory=list)


def base(group: Any) -> Any:
    """The whole group behind a subgroup."""
    inside = group.__repr__.__self__ if hasattr(group.__repr__, "__self__") else group
    return base(inside.source) if isinstance(inside, Subgroup) else inside


def check_synapses(syn: Synapses) -> list[SynapticPathway]:
    """The pathways of Synapses whose statements can be read; everything else is refused by name."""
    for thing, name in ((syn.source, "source"), (syn.target, "target")):
        if isinstance(base(thing), Synapses):
            refuse(syn, "", f"its {name} is a Synapses object", "connect groups of neurons")
    if syn.summed_updaters:
        name, updater = next(iter(syn.summed_updaters.items()))
        line = f"{name} = {updater.expression}"
        refuse(syn, line, "a summed variable couples neurons at every step", "let each spike add to a variable of the target")
    for eq in (*(syn.event_driven or {}).values(), *syn.equations.values()):
        if eq.type == "differential equation":
            what = "event-driven" if "event-driven" in eq.flags else "clock-driven"
            refuse(syn, str(eq), f"a state of each synapse ({what}), such as a plasticity trace, cannot be trained through",
                   "keep the dynamics in the neurons: let on_pre add to a variable that decays there")  # fmt: skip
    pathways = set(syn._pathways)
    for thing in syn.contained_objects:
        if thing not in pathways:
            refuse(
                syn, str(getattr(thing, "abstract_code", "")), "regular operations on synapses change weights", "leave it out"
            )
    for path in syn._pathways:
        if path.prepost == "post":
            refuse(syn, f"on_post: {path.code}", "what spikes of the target do to the synapse (plasticity) is not imported",
                   "leave on_post out: the learner changes the weights")  # fmt: skip
        if path.event != "spike":
            refuse(syn, f"on_event: {path.event}", "a custom event", "let the pathway follow 'spike'")
        if path.when != "synapses":
            refuse(syn, f"on_pre: {path.code}", f"it runs in the slot {path.when!r}", "let it run in 'synapses'")
    if len(syn) == 0 and not syn._connect_called:
        refuse(syn, "", "it holds no synapses", "call its connect() first, or leave it out")
    return [path for path in syn._pathways if path.active]


def written_by(syn: Synapses) -> set[str]:
    """Variables of the target that the pathways assign; refuses every other assignment."""
    found = set()
    for path in check_synapses(syn):
        temporaries: set[str] = set()
        for name, _, line in lines_of(syn, path.code):
            variable, where = syn.variables.get(name), syn.variables.indices[name] if name in syn.variables else ""
            if variable is None:
                temporaries.add(name)
            elif where == "_postsynaptic_idx" and isinstance(variable, ArrayVariable):
                found.add(variable.name)
            elif where == "_presynaptic_idx":
                refuse(syn, line, "a synapse that changes the neuron it comes from", "change it in the reset of that neuron")
            else:
                refuse(syn, line, f"it changes {name!r} of the synapse at spikes (plasticity)",
                       "leave it out: the learner changes the weights")  # fmt: skip
    return found


class Roles:
    """The names of a pathway by role: variables of the synapse, of the sender, of the receiver, and constants."""

    def __init__(self, syn: Synapses, namespace: Mapping[str, Any], sender: Plan | None, receiver: Plan) -> None:
        self.syn, self.names, self.sender, self.receiver = syn, Names(syn, namespace), sender, receiver
        self.meaning: dict[str, Variable] = {}

    def of(self, name: str, line: str) -> str:
        """The name with its role in front; remembers the variable."""
        variable = self.names.find(name, line)
        if name in ("t", "lastupdate", "lastspike", "not_refractory") or name.startswith(
            ("t_", "lastspike_", "not_refractory_")
        ):
            refuse(
                self.syn, line, f"it depends on {name!r} at the time of the spike", "use constants and variables of the neurons"
            )
        where = self.syn.variables.indices[name] if name in self.syn.variables else "0"
        role = {"_idx": SYN, "_presynaptic_idx": PRE, "_postsynaptic_idx": POST}.get(where, CONST)
        if role in (PRE, POST) and getattr(variable.owner, "name", "") == self.syn.name:
            role = SYN  # N_incoming, N_outgoing: of the synapses, one value for each neuron
        word = f"{role}{name if role in (SYN, CONST) else variable.name}"
        self.meaning[word] = variable
        return word

    def expression(self, tree: ast.expr, line: str, done: Mapping[str, sympy.Expr]) -> sympy.Expr:
        """The tree as sympy, in words with roles; ``done`` holds temporaries."""
        tree = self.names.expand(tree, line)
        self.names.check_functions(tree, line)
        keep = set(done) | {"pi", "e"}
        tree = replace_names(tree, lambda n: None if n in keep else name_node(self.of(n, line)))
        found = sympy.sympify(str_to_sympy(ast.unparse(tree)))
        return found.xreplace({s: done[s.name] for s in found.free_symbols if s.name in done})


def read_pathway(path: SynapticPathway, roles: Roles, trained: set[str]) -> tuple[list[tuple], set[str]]:
    """Terms of a pathway: ([(W, {target variable: H})], states of the sender that scale its message)."""
    syn = roles.syn
    done: dict[str, sympy.Expr] = {}
    effects: dict[sympy.Expr, dict[str, sympy.Expr]] = {}
    messages: set[sympy.Expr] = set()
    for name, right, line in lines_of(syn, path.code):
        expr = roles.expression(parse(syn, right), line, done)
        if name not in syn.variables:
            done[name] = expr
            continue
        target = syn.variables[name].name
        added = sympy.expand(expr - sympy.Symbol(POST + target, real=True))
        if added.has(sympy.Symbol(POST + target, real=True)):
            refuse(syn, line, f"it does not add to {target!r} but makes it from its own value",
                   f"write it as '{target}_post += ...' without {target!r} on the right")  # fmt: skip
        for term in sympy.Add.make_args(added):
            weight, message, effect = _split(roles, term, line)
            messages.add(message)
            into = effects.setdefault(weight, {})
            into[target] = into.get(target, sympy.Integer(0)) + effect
    return [(w, e) for w, e in effects.items() if w != 0], messages


def _split(roles: Roles, term: sympy.Expr, line: str) -> tuple[sympy.Expr, sympy.Expr, sympy.Expr]:
    """(W, M, H) of one product."""
    weight = message = effect = sympy.Integer(1)
    for factor in sympy.Mul.make_args(term):
        kinds = {s.name.split("__")[0] + "__" for s in factor.free_symbols}
        moving = roles.sender is not None and any(
            s.name.startswith(PRE) and roles.sender.is_state(s.name.removeprefix(PRE)) for s in factor.free_symbols
        )
        if kinds <= {CONST, POST}:
            effect *= factor
        elif moving and kinds <= {CONST, PRE}:
            message *= factor
        elif not moving and kinds <= {CONST, PRE, SYN}:
            weight *= factor
        else:
            refuse(roles.syn, line, f"{factor} mixes variables of synapse, sender and receiver in one factor",
                   "write the statement as a sum of products, each factor of one of them")  # fmt: skip
    return weight, message, effect
