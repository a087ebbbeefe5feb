"""sympy -> numba source of one expression."""

from __future__ import annotations

from collections.abc import Iterable

import sympy
from sympy.printing.pycode import PythonCodePrinter


class Printer(PythonCodePrinter):
    """sympy -> numba source, with typed numbers and the functions of ``symbols``."""

    def __init__(self, psi_parameters: Iterable[str]) -> None:
        super().__init__({"fully_qualified_modules": False})
        self._psi = "".join(f", {name}" for name in psi_parameters)

    def _print_Integer(self, expr):
        return f"_T({int(expr)}.0)"

    def _print_Float(self, expr):
        return f"_T({float(expr)!r})"

    def _print_Rational(self, expr):
        return f"_T({float(expr)!r})"

    _print_Half = _print_Zero = _print_One = _print_NegativeOne = _print_Rational

    def _print_NumberSymbol(self, expr):
        return f"_T({float(expr)!r})"

    _print_Pi = _print_Exp1 = _print_NumberSymbol

    def _print_Pow(self, expr, rational=False):
        base, power = expr.args
        text = self.parenthesize(base, 100)
        if power.is_Integer and 1 < abs(int(power)) <= 4:
            product = "*".join([text] * abs(int(power)))
            return f"({product})" if power > 0 else f"(_T(1.0)/({product}))"
        if power == -1:
            return f"(_T(1.0)/{text})"
        if power == sympy.Rational(1, 2):
            return f"_math.sqrt({self._print(base)})"
        return f"{text}**{self.parenthesize(power, 100)}"

    def _call(self, name: str, expr) -> str:
        return f"{name}({', '.join(self._print(a) for a in expr.args)})"

    def _print_Event(self, expr):
        return self._call("_event", expr)

    _print_StopEvent = _print_Event

    def _print_Sigmoid(self, expr):
        return self._call("_sigmoid", expr)

    def _print_Sign(self, expr):
        return self._call("_sign", expr)

    def _print_Psi(self, expr):
        return f"_psi({self._print(expr.args[0])}{self._psi})"

    def _print_Absolute(self, expr):
        return self._call("abs", expr)

    def _print_Max(self, expr):
        return self._call("max", expr)

    def _print_Min(self, expr):
        return self._call("min", expr)

    def _print_floor(self, expr):
        return f"_T(_math.floor({self._print(expr.args[0])}))"

    def _print_Clip(self, expr):
        x, low, high = (self._print(a) for a in expr.args)
        return f"min(max({x}, {low}), {high})"

    def _print_IsZero(self, expr):
        return f"(_T(1.0) if {self._print(expr.args[0])} <= _T(0.0) else _T(0.0))"

    def _print_Test(self, expr):
        condition = expr.args[0]
        if condition.is_Symbol or not (condition.is_Relational or condition.is_Boolean):
            return f"(_T(1.0) if {self._print(condition)} != _T(0.0) else _T(0.0))"
        return f"(_T(1.0) if {self._print(condition)} else _T(0.0))"

    def _print_Select(self, expr):
        event, a, b = (self._print(x) for x in expr.args)
        return f"(({a}) if {event} != _T(0.0) else ({b}))"

    def _print_Function(self, expr):
        name = type(expr).__name__
        if name in {"tanh", "exp"}:
            return self._call(f"_{name}", expr)
        if name in {"log", "sin", "cos", "sqrt", "sinh", "cosh", "tan"}:
            return self._call(f"_math.{name}", expr)
        raise NotImplementedError(f"no code for the function {name!r}")

    _print_exp = _print_log = _print_tanh = _print_sin = _print_cos = _print_sinh = _print_cosh = _print_tan = _print_Function
