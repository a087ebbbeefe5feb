"""The parts of a Model: its parameters, states and ports, as records."""

from __future__ import annotations

from dataclasses import dataclass

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
