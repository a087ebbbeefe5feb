"""Parts of the equations that depend on time alone (TimedArray, sin(2*pi*f*t), ...): inputs that are known beforehand."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
from brian2.core.functions import Function
from brian2.input.timedarray import TimedArray
from brian2.parsing.expressions import parse_expression_dimensions

from .errors import refuse
from .expressions import NUMPY, RANDOM_FUNCTIONS, Names, evaluate, functions, identifiers, timed_array
from .plan import Drive, Plan


def known_values(names: Names, tree: ast.AST, line: str, dt: float) -> dict[str, Any]:
    """Values in SI units of every name in the tree but ``t``, TimedArrays included."""
    found: dict[str, Any] = {"dt": dt}
    for name in sorted(functions(tree) - set(NUMPY)):
        function = names.find(name, line)
        if isinstance(function, TimedArray):
            found[name] = timed_array(function, dt)
        elif name in RANDOM_FUNCTIONS:
            refuse(names.group, line, f"{name}() is random", "random input comes from PoissonGroup or PoissonInput")
        else:
            refuse(names.group, line, f"the function {name}() is not known here", "sample it into a TimedArray")
    for name in sorted(identifiers(tree) - set(NUMPY) - {"t", "dt"}):
        variable = names.find(name, line)
        if isinstance(variable, Function):
            refuse(names.group, line, f"{name!r} is a function, not a number", f"call it, as in {name}(t)")
        found[name] = np.array(variable.get_value())
    return found


def drive_of(plan: Plan, tree: ast.expr, line: str) -> str:
    """Register the part as a drive; returns the name of its port. Equal parts share one."""
    text = ast.unparse(tree)
    if have := next((d for d in plan.drives if d.text == text), None):
        return have.port
    dt = float(plan.group.clock.dt_)
    values = known_values(plan.names, tree, line, dt)
    channels = plan.size if any(np.ndim(v) for v in values.values() if not callable(v)) else 1
    names = identifiers(tree) | functions(tree)
    variables = plan.group.resolve_all(names, plan.names.namespace, user_identifiers=set())
    port = plan.port("drive", parse_expression_dimensions(text, variables), text)

    def sample(t: np.ndarray) -> np.ndarray:
        rows = [np.broadcast_to(evaluate(tree, {**values, "t": moment}), (channels,)) for moment in t]
        return np.array(rows, float).reshape(len(t), channels)

    plan.drives.append(Drive(f"{plan.name}.{port}", text, port, channels, sample))
    return port
