"""The few functions that sympy must know how to differentiate, and how each is printed as compiled code."""

from __future__ import annotations

import sympy
from sympy import Function


def real(name: str) -> sympy.Symbol:
    """The symbol of a name: always real, so that equal names are equal symbols."""
    return sympy.Symbol(name, real=True)


class Event(Function):
    """``event(v)``: 1 if v > 0 else 0; its derivative is the pseudo-derivative ``psi(v)``."""

    nargs = 1
    is_real = True

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return Psi(self.args[0])


class StopEvent(Function):
    """An event that the derivative takes for a constant; its argument may itself be a 0/1 expression."""

    nargs = 1
    is_real = True

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sympy.Integer(0)


class Psi(Function):
    """The pseudo-derivative, opaque to sympy."""

    nargs = 1
    is_real = True


class Sigmoid(Function):
    """Logistic function."""

    nargs = 1
    is_real = True

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return self * (1 - self)


class Select(Function):
    """``select(E, a, b)``: a where E is 1, b where it is 0. Reads as E a + (1 - E) b, without rounding."""

    nargs = 3
    is_real = True

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        event, a, b = self.args
        return (a - b, event, 1 - event)[argindex - 1]


class IsZero(Function):
    """1 if x <= 0 else 0, a constant to the derivative (refractory counters)."""

    nargs = 1
    is_real = True

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sympy.Integer(0)


class Test(Function):
    """A condition as 0 or 1, a constant to the derivative (``where``, ``int``)."""

    nargs = 1
    is_real = True

    def _eval_derivative(self, s: sympy.Symbol) -> sympy.Expr:  # its argument, a relation, has no derivative to ask for
        return sympy.Integer(0)


class Clip(Function):
    """``clip(x, low, high)``; derivative 1 strictly inside, else 0."""

    nargs = 3
    is_real = True

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        x, low, high = self.args
        inside = Test(sympy.And(x > low, x < high))
        return (inside, Test(x <= low), Test(x >= high))[argindex - 1]


class Absolute(Function):
    """``abs(x)`` with derivative sign(x)."""

    nargs = 1
    is_real = True

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return Sign(self.args[0])


class Sign(Function):
    """-1, 0 or 1, a constant to the derivative."""

    nargs = 1
    is_real = True

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sympy.Integer(0)


def _where(condition: sympy.Expr, a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    return Select(Test(condition), a, b)


def _int(condition: sympy.Expr) -> sympy.Expr:
    return Test(condition) if getattr(condition, "is_Relational", False) or condition.is_Boolean else condition


# Names in parsed text (Brian2 renames some) -> the functions above.
FUNCTIONS = {
    "event": Event,
    "sigmoid": Sigmoid,
    "where": _where,
    "int": _int,
    "int_": _int,
    "clip": Clip,
    "abs": Absolute,
    "Abs": Absolute,
    "absolute": Absolute,
    "sign": Sign,
    "sqrt": sympy.sqrt,
}
