"""What a Brian2 NeuronGroup becomes: the record that the readers fill and the network is built from."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from brian2.core.functions import Function
from brian2.units.fundamentalunits import Dimension, Quantity

from ...compile.quantities import UNITS as BRIAN_UNITS
from ...model import FUNCTIONS, UNITS, Model, Parameter, Port, State
from .errors import refuse
from .expressions import PLAIN, Names, name_node, replace_names

RESERVED = {*FUNCTIONS, "y", "spike", "threshold_scale", "dt", "pi", "e", "refractory_steps", "not_refractory"}
RESERVED |= {"name", "model", "size", "surrogate", "trainable", "reset_gradient", "bias", "initial"}  # of add_population
POWERS = ("metre", "kilogram", "second", "amp", "kelvin", "mole", "candle")
SHORT = ("volt", "amp", "second", "siemens", "farad", "ohm", "hertz", "metre")


def unit_text(dim: Dimension) -> str:
    """A dimension as text that models can read, such as "volt" or "metre**-2*siemens"."""
    exponents = tuple(float(x) for x in dim._dims)
    for name in SHORT:
        if tuple(float(x) for x in BRIAN_UNITS[name].dim._dims) == exponents:
            return name
    return "*".join(f"{name}**{power:g}" for name, power in zip(POWERS, exponents, strict=True) if power) or "1"


@dataclass
class Value:
    """Numbers in SI base units, one or one per unit, and their dimension."""

    number: np.ndarray
    dim: Dimension

    def quantity(self) -> Any:
        """As a Brian2 quantity, for ``add_population``."""
        return Quantity(self.number, dim=self.dim) if any(self.dim._dims) else np.asarray(self.number, float)


@dataclass
class Drive:
    """A part of the equations that depends on time alone: an analog input. ``sample(t)`` gives (T, channels) at times (T,)."""

    name: str
    text: str
    port: str
    channels: int
    sample: Callable[[np.ndarray], np.ndarray]


@dataclass
class Plan:
    """One population in the making. ``written``: variables that something assigns, so that they are states."""

    group: Any
    names: Names
    written: set[str]
    trained: set[str] = field(default_factory=set)
    integrate: list[str] = field(default_factory=list)
    threshold: str = ""
    reset: str = ""
    refractory: str = ""
    receive: list[str] = field(default_factory=list)
    message: str = ""
    states: dict[str, State] = field(default_factory=dict)
    initial: dict[str, Value] = field(default_factory=dict)
    parameters: dict[str, Value] = field(default_factory=dict)
    ports: dict[str, Port] = field(default_factory=dict)
    drives: list[Drive] = field(default_factory=list)
    receiving: set[str] = field(default_factory=set)  # states that synapses add to
    effects: dict[str, tuple] = field(default_factory=dict)  # port -> what its input does

    @property
    def name(self) -> str:
        return self.group.name

    @property
    def size(self) -> int:
        return int(self.group.variables["N"].get_value())

    # -- names ---------------------------------------------------------------------------------------------------------
    def word(self, name: str) -> str:
        """The model's name of a variable: the same unless the model language keeps it for itself."""
        return f"{name}_" if name in RESERVED or name.startswith("I_") else name

    def is_state(self, name: str) -> bool:
        """Does the variable change from step to step?"""
        return name in self.written

    def parameter(self, name: str, number: Any, dim: Dimension) -> str:
        """Register a constant; returns its name in the model."""
        number = np.asarray(number, float)
        word, value = self.word(name), Value(number.reshape(()) if number.size == 1 else number, dim)
        for candidate in (word, *(f"{word}_{k}" for k in range(2, 100))):
            have = self.parameters.get(candidate)
            if have is None and candidate not in self.states:
                self.parameters[candidate] = value
                return candidate
            if have is not None and have.dim == dim and np.array_equal(have.number, value.number):
                return candidate
        raise AssertionError(name)

    def resolve(self, name: str, line: str, known: set[str]) -> str:
        """The model's name behind a name of the equations, registering constants on the way."""
        if name in known or name in PLAIN or name == "not_refractory":
            return name
        if name in ("t", "t_in_timesteps", "lastspike"):
            refuse(self.group, line, f"it depends on {name!r} where only states and constants can stand",
                   "let a state of its own count the time, with dx/dt = 1/second")  # fmt: skip
        if self.is_state(name):
            return self.word(name)
        if name not in self.group.variables and UNITS.fullmatch(name):
            return name
        found = self.names.find(name, line)
        if isinstance(found, Function):
            refuse(self.group, line, f"{name!r} is a function, not a number", f"call it, as in {name}(...)")
        return self.parameter(name, found.get_value(), found.dim)

    def text(self, tree: ast.expr, line: str, known: set[str] | None = None) -> str:
        """An expression in the model's words; subexpressions are written out, functions checked."""
        tree = self.names.expand(tree, line)
        self.names.check_functions(tree, line)
        return ast.unparse(replace_names(tree, lambda name: name_node(self.resolve(name, line, known or set()))))

    # -- result --------------------------------------------------------------------------------------------------------
    def port(self, name: str, dim: Dimension, meaning: str) -> str:
        """Register a port under this name, or the next free one; returns the name."""
        name = next(n for n in (name, *(f"{name}_{k}" for k in range(2, 1000))) if n not in self.ports)
        self.ports[name] = Port(unit=unit_text(dim), meaning=meaning)
        return name

    def model(self) -> Model:
        """The Model record. Values stay with the population, so that equal equations share compiled code."""
        if not self.ports:
            self.port("none", self.group.variables["N"].dim, "nothing arrives here")
            self.receive.append(f"{next(iter(self.states))} += 0*I_none*{next(iter(self.states))}")
        trained = {self.word(n) for n in self.trained}
        parameters = {
            n: Parameter(f"1*{unit_text(v.dim)}" if any(v.dim._dims) else 1.0, unit=unit_text(v.dim), trainable=n in trained)
            for n, v in sorted(self.parameters.items())
        }
        return Model(
            name="imported",
            summary=f"imported from {self.group.name}",
            integrate="\n".join(self.integrate),
            threshold=self.threshold,
            threshold_scale="threshold_scale" if "threshold_scale" in self.parameters else "",
            reset=self.reset,
            refractory=self.refractory,
            receive="\n".join(self.receive),
            message=self.message,
            states=self.states,
            ports=self.ports,
            parameters=parameters,
        )
