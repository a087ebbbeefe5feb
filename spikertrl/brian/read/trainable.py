"""Which variables are to be trained, from what the user named: ``S.w``, ``G.tau``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from brian2.core.variables import ArrayVariable, VariableView

from .collect import Collected
from .errors import BrianImportError, refuse


@dataclass
class Trained:
    """Object name -> names of its trained variables."""

    synaptic: dict[str, set[str]] = field(default_factory=dict)
    neuronal: dict[str, set[str]] = field(default_factory=dict)


def find_trained(trainable: Iterable[Any], found: Collected) -> Trained:
    """Sort what was named into synaptic weights and neuronal parameters.

    Raises
    ------
    BrianImportError
        If something is not a variable of an imported object, or is not a constant with a value per synapse or neuron.
    """
    chosen = Trained()
    things = [trainable] if isinstance(trainable, (str, VariableView)) else list(trainable)
    synapses, groups = {s.name: s for s in found.synapses}, {g.name: g for g in found.groups}
    for thing in things:
        owner, name = _owner_and_name(thing)
        if owner in synapses:
            _check(synapses[owner], name, "synapse")
            chosen.synaptic.setdefault(owner, set()).add(name)
        elif owner in groups:
            _check(groups[owner], name, "neuron")
            chosen.neuronal.setdefault(owner, set()).add(name)
        else:
            raise BrianImportError(f"trainable: {owner}.{name} is not of an imported object; "
                                   f"imported are {sorted({**synapses, **groups})}")  # fmt: skip
    return chosen


def _owner_and_name(thing: Any) -> tuple[str, str]:
    if isinstance(thing, VariableView):
        return thing.group.name, thing.name
    if isinstance(thing, str) and thing.count(".") == 1:
        owner, _, name = thing.partition(".")
        return owner, name
    raise BrianImportError(f"trainable: expected variables such as S.w, or text such as 'S.w', got {type(thing).__name__}")


def _check(thing: Any, name: str, each: str) -> None:
    variable = thing.variables.get(name)
    own = isinstance(variable, ArrayVariable) and thing.variables.indices[name] == "_idx"
    if not own or name not in thing.equations:
        refuse(
            thing,
            f"trainable: {name}",
            f"{name!r} is not a variable of each {each} declared in its model",
            f"declare it there, as in '{name} : 1'",
        )
    if thing.equations[name].type != "parameter":
        refuse(thing, f"trainable: {name}", f"{name!r} changes by itself", "train a parameter")
    if np.dtype(variable.dtype).kind != "f":
        refuse(thing, f"trainable: {name}", f"{name!r} is a whole number or a truth value", "train a real number")
