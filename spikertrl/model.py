"""Model: a frozen record that says what a unit is, in equations, and checks itself.

A model is text in Brian2's language, never code. It comes in three forms:

* **update statements** (``update=``): one discrete step, line by line, as in
  ``c = (1 - u)*(c - theta*event(c - theta)) + u*g``;
* **differential equations** (``equations=``, with ``threshold``, ``reset``, ``refractory``, ``method``, ``receive``), which
  Brian2 discretises, in Brian2's own order of a step;
* **an integrated step** (``integrate=`` in place of ``equations=`` and ``method=``): the same order, with the state update
  given as statements, as Brian2 itself writes them down. Imported Brian2 groups take this form.

Inside the text, the state variables hold their values of the previous step until they are assigned, ``I_<port>`` is the input
that arrived at a port, ``y`` is the unit's own previous message, ``event(v)`` is 1 if v > 0 else 0, and ``sigmoid``, ``tanh``,
``exp``, ``log``, ``sqrt``, ``sin``, ``cos``, ``clip`` and ``where(condition, a, b)`` are known. Every other name assigned is a
temporary. With ``threshold=``, the message may speak of ``spike``, the 0 or 1 of the threshold, as in ``message="u*spike"``,
and ``threshold_scale`` divides the distance to the threshold before the pseudo-derivative sees it; by default, where the
threshold has a unit, the distance at which the reset leaves the unit.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import keyword
import math
import numbers
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from .html import table
from .language import CONSTANTS, FUNCTIONS, TextError, name_fault, names_in, parse, statements
from .surrogates import Surrogate, surrogate_of, triangle

__all__ = ["Model", "ModelError", "Parameter", "Port", "State", "statements"]


# Units of Brian2 may stand in the text as they are: mV, msecond, Hz, ...
UNITS = re.compile(
    "[pnumkM]?(volt|amp|ohm|siemens|farad|second|hertz|metre|meter|mole)|[pnumkM](V|A|F|S|Hz|ohm)|[pnum]s|[num]M|[cmu]m|Hz"
)


# Names that mean something to every text; to the forms in Brian2's order of a step; and to Brian2 itself.
RESERVED = frozenset({*FUNCTIONS, *CONSTANTS, "y", "t"})
RESERVED_IN_STEP = frozenset({"spike", "not_refractory", "refractory_steps"})
RESERVED_IN_EQUATIONS = frozenset({"i", "j", "N", "xi", "inf", "lastspike", "t_in_timesteps"})

ASSIGNED_BY_NOBODY = frozenset({*FUNCTIONS, *CONSTANTS, "t"})

TEXTS = tuple("update equations integrate threshold threshold_scale reset refractory receive method message".split())

OF_ADD_POPULATION = frozenset("name model size surrogate trainable reset_gradient bias initial".split())

PORT_KINDS = ("input", "recurrent", "both")


@dataclass(frozen=True)
class Parameter:
    """A constant of the unit: ``default`` (number, or text such as "20*ms"), Brian2 ``unit``, ``trainable`` or not."""

    default: float | str
    unit: str = "1"
    trainable: bool = False
    meaning: str = ""


@dataclass(frozen=True)
class State:
    """A variable carried from step to step: ``initial``, Brian2 ``unit``; ``discrete`` ones (counters) carry no sensitivity.

    ``unless_refractory`` says for a model with ``integrate=`` what ``(unless refractory)`` says in an equation: the state
    stands still and receives nothing while the unit is refractory.
    """

    initial: float | str = 0.0
    unit: str = "1"
    discrete: bool = False
    meaning: str = ""
    unless_refractory: bool = False


@dataclass(frozen=True)
class Port:
    """A place where weighted input arrives as ``I_<name>``.

    ``kind`` says which connections use it by default: "input" (from inputs and other populations), "recurrent" (from the
    population itself) or "both". ``bias`` adds a trainable bias. ``unit`` is the unit of the input and so of the weights;
    ``scale`` (number or text with units) multiplies the default initial weights.
    """

    kind: str = "both"
    bias: bool = False
    unit: str = "1"
    scale: float | str = 1.0
    meaning: str = ""


class ModelError(ValueError):
    """A model record that contradicts itself."""


@dataclass(frozen=True)
class Model:
    """A unit type, as text; see the module docstring for the language.

    Raises
    ------
    ModelError
        If a name is undefined or defined twice, a statement does not parse, a state or port is never used, or the parts of
        the two forms are mixed.

    Examples
    --------
    >>> leaky = Model("leaky", update="h = a*h + (1 - a)*tanh(I_h)", message="h", states={"h": State()},
    ...               ports={"h": Port(bias=True)}, parameters={"a": Parameter(0.9)})
    >>> leaky.ports_for("input"), leaky.memory
    (('h',), ('h',))
    >>> Model("bad", update="h = tanh(I_x)", message="h", states={"h": State()}, ports={"h": Port()})
    Traceback (most recent call last):
        ...
    spikertrl.model.ModelError: model 'bad': undefined name 'I_x' in update, 'h = tanh(I_x)'; did you mean 'I_h'?
    """

    name: str
    summary: str = ""
    update: str = ""
    equations: str = ""
    integrate: str = ""
    threshold: str = ""
    threshold_scale: str = ""
    reset: str = ""
    refractory: str = ""
    receive: str = ""
    method: str = "exact"
    message: str = ""
    states: Mapping[str, State] = field(default_factory=dict)
    ports: Mapping[str, Port] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    surrogate: Surrogate = field(default_factory=triangle)
    reset_gradient: bool = True
    reference: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.surrogate, Surrogate):
            object.__setattr__(self, "surrogate", surrogate_of(f"model {self.name!r}", self.surrogate))
        self._check_form()
        self._check_names()
        self._check_values()
        self._check_text()

    # -- what others ask -----------------------------------------------------------------------------------------------
    @property
    def is_ode(self) -> bool:
        """True for the forms that run in Brian2's order of a step: differential equations, or an integrated step."""
        return bool(self.equations or self.integrate)

    @property
    def memory(self) -> tuple[str, ...]:
        """Names of the states that carry sensitivity."""
        return tuple(name for name, state in self.states.items() if not state.discrete)

    @property
    def trainable(self) -> tuple[str, ...]:
        """Names of the trainable parameters."""
        return tuple(name for name, parameter in self.parameters.items() if parameter.trainable)

    def ports_for(self, kind: str) -> tuple[str, ...]:
        """Ports that a connection of this kind ("input" or "recurrent") uses by default."""
        return tuple(name for name, port in self.ports.items() if port.kind in (kind, "both"))

    def _repr_html_(self) -> str:
        rows = [("state", name, "", state.meaning) for name, state in self.states.items()]
        rows += [("port", name, "", port.meaning) for name, port in self.ports.items()]
        rows += [("parameter", name, value.default, value.meaning) for name, value in self.parameters.items()]
        return table(f"Model {self.name}: {self.summary}", rows, ("", "name", "default", "meaning"))

    def replace(self, **changes: object) -> Model:
        """A copy with some fields changed; the copy checks itself again."""
        return dataclasses.replace(self, **changes)

    def with_trainable(self, names: tuple[str, ...] | list[str]) -> Model:
        """A copy in which exactly these parameters are trainable."""
        unknown = sorted(set(names) - set(self.parameters))
        if unknown:
            self._fail(f"cannot train {unknown}: no such parameter; it has {sorted(self.parameters)}")
        parameters = {n: dataclasses.replace(p, trainable=n in names) for n, p in self.parameters.items()}
        return self.replace(parameters=parameters)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that shapes the generated code (parameter values do not)."""
        parts: list[object] = [self.name, self.update, self.equations, self.threshold, self.reset, self.refractory]
        parts += [self.receive, self.method, self.message, self.reset_gradient]
        parts += [self.surrogate.derivative, sorted(self.surrogate.parameters)]
        parts += [list(self.states.items()), list(self.ports.items()), list(self.parameters.items())]
        parts += [self.integrate, self.threshold_scale]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    # -- checks --------------------------------------------------------------------------------------------------------
    def _fail(self, what: str) -> None:
        raise ModelError(f"model {self.name!r}: {what}")

    def _check_form(self) -> None:
        for part in ("name", *TEXTS):
            if not isinstance(text := getattr(self, part), str):
                self._fail(f"{part}= must be text, got {text!r}")
        for part, kind in (("states", State), ("ports", Port), ("parameters", Parameter)):
            records = getattr(self, part)
            if not isinstance(records, Mapping) or not all(isinstance(record, kind) for record in records.values()):
                self._fail(f"{part}= must be a mapping, name -> {kind.__name__}, got {records!r}")
        if not self.name.isidentifier() or not self.name.isascii():
            self._fail("the name must be a Python identifier")
        if [bool(self.update), bool(self.equations), bool(self.integrate)].count(True) != 1:
            self._fail(
                "give either update= (statements), equations= (ODEs) or integrate= (a state update), and only one of them"
            )
        if self.update:
            for part in ("threshold", "threshold_scale", "reset", "refractory", "receive"):
                if getattr(self, part):
                    self._fail(f"{part}= belongs to models with equations=; write it into update= or message=")
            if not self.message:
                self._fail("update= needs message=, for example message='c*event(c - theta)'")
        elif self.equations and not self.receive:
            self._fail("equations= needs receive=, for example receive='v += I_v'")
        elif not (self.threshold or self.message):
            self._fail("equations= and integrate= need threshold= (or message= for a graded unit)")
        if not self.states:
            self._fail("declare at least one state")
        if not self.ports:
            self._fail("declare at least one port")

    def _check_names(self) -> None:
        inputs = [f"I_{port}" for port in self.ports]
        names = [*self.states, *inputs, *self.parameters]
        for name in names:
            self._check_name(name)
            if names.count(name) > 1:
                self._fail(f"name {name!r} is defined twice")
        for port, record in self.ports.items():
            if record.kind not in PORT_KINDS:
                self._fail(f"port {port!r} has kind {record.kind!r}; legal kinds: {', '.join(PORT_KINDS)}")

    def _check_name(self, name: str) -> None:
        if not isinstance(name, str) or keyword.iskeyword(name) or name.startswith("_"):
            self._fail(f"{name!r} is not a usable name; a name is no keyword of Python and begins with a letter")
        if fault := name_fault(name):
            self._fail(f"{name!r} is not a usable name; {fault}")
        kept = RESERVED | (RESERVED_IN_STEP if self.is_ode else set()) | (RESERVED_IN_EQUATIONS if self.equations else set())
        if name in kept:
            self._fail(f"name {name!r} is reserved; call it for example {name + '_'!r}; reserved are {', '.join(sorted(kept))}")

    def _check_values(self) -> None:
        values = {f"parameter {n!r}: default": p.default for n, p in self.parameters.items()}
        values |= {f"state {n!r}: initial": s.initial for n, s in self.states.items()}
        values |= {f"port {n!r}: scale": p.scale for n, p in self.ports.items()}
        for what, value in values.items():
            plain = isinstance(value, numbers.Real) and not isinstance(value, bool)
            if not (isinstance(value, str) or hasattr(value, "dim") or (plain and math.isfinite(value))):
                self._fail(f"{what} must be a finite number or text with a unit such as '20*ms', got {value!r}")
        for name in sorted(self.parameters.keys() & OF_ADD_POPULATION):
            self._fail(f"parameter {name!r} could not be given to add_population, which has an argument of that name")

    def _check_text(self) -> None:
        known = {*self.states, *(f"I_{p}" for p in self.ports), *self.parameters, *CONSTANTS, "y"}
        used: set[str] = set()
        assigned: set[str] = set()
        for part in ("receive", "reset", "update", "integrate"):
            shared = known if part == "update" else known | {"not_refractory"} if part == "integrate" else set(known)
            used |= self._check_statements(part, shared, assigned)
        if self.equations:
            for line in filter(None, (re.sub(r"#.*", "", text).strip() for text in self.equations.splitlines())):
                match = re.match(r"(?:d(\w+)/dt|(\w+))\s*=\s*([^:]+):", line)
                if not match:
                    self._fail(f"cannot read {line!r} in equations; write 'dv/dt = ... : unit' or 'name = ... : unit'")
                assert match
                (assigned if match[1] else known).add(match[1] or match[2])
                used |= self._names(match[3], "equations", line, None)
            if unknown := sorted(n for n in used - known if not UNITS.fullmatch(n)):
                self._unknown(unknown[0], "equations", self.equations.strip(), known)
        for part in ("message", "threshold", "threshold_scale", "refractory"):
            if text := getattr(self, part):
                more = {"spike"} if part == "message" and self.threshold else set()
                used |= self._names(text, part, text, known | {"not_refractory"} | more)
        if never := [s for s in self.states if s not in assigned]:
            self._fail(f"state {never[0]!r} is never assigned")
        if never := [p for p in self.ports if f"I_{p}" not in used]:
            self._fail(f"port {never[0]!r} is never read; use I_{never[0]} or remove the port")

    def _check_statements(self, part: str, known: set[str], assigned: set[str]) -> set[str]:
        used: set[str] = set()
        for name, _, right, line in statements(getattr(self, part), lambda why, part=part: self._fail(f"{why} in {part}")):
            used |= self._names(right, part, line, known)
            if name in self.parameters or name.startswith("I_") or name in ASSIGNED_BY_NOBODY:
                self._fail(f"{line!r} in {part} assigns {name!r}, which is not a state")
            if fault := name_fault(name) or ("it is a keyword of Python" if keyword.iskeyword(name) else ""):
                self._fail(f"{line!r} in {part} assigns {name!r}; {fault}")
            if part not in ("update", "integrate") and name not in self.states:
                self._fail(f"{line!r} in {part} assigns {name!r}, which is not a state")
            known.add(name)
            assigned.add(name)
        return used

    def _names(self, text: str, part: str, line: str, known: set[str] | None) -> set[str]:
        names: set[str] = set()
        try:
            names, _ = names_in(parse(text, condition=part == "threshold"))
        except TextError as error:
            self._fail(f"{error}, in {part}, {line if len(line) < 200 else line[:150] + ' ...'!r}")
        if known is not None and (unknown := sorted(n for n in names - known if not UNITS.fullmatch(n))):
            self._unknown(unknown[0], part, line, known)
        return names

    def _unknown(self, name: str, part: str, line: str, known: set[str]) -> None:
        close = difflib.get_close_matches(name, sorted(known), 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known names: {', '.join(sorted(known))}"
        self._fail(f"undefined name {name!r} in {part}, {line!r}; {hint}")
