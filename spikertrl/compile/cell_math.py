"""What generated cells are made with beside their own equations, so that a loop over units becomes vector instructions.

A compiler turns a loop into vector instructions only if nothing in it is a call and if it can tell that what is written is not
what is read. ``exp`` is plain arithmetic for that, and ``apart`` says that the arrays of a cell do not overlap.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_DATA = ".4"  # name of an array argument's data pointer: the fifth member of numba's array structure
_LIMIT = 700.0  # beyond it, exp in double precision is close to what a double cannot hold
_PER_LN2, _LN2 = 1.0 / math.log(2.0), math.log(2.0)
_ROUND = 1.5 * 2.0**52  # added to a double of moderate size, it leaves the nearest integer in the lowest bits
_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10 = (1.0 / math.factorial(k) for k in range(2, 11))


def _apart(typingctx):
    """Promise that the data of the array arguments of the function around this call do not overlap."""

    def codegen(context, builder, signature, args):
        for argument in builder.function.args:
            if argument.name.endswith(_DATA) and isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
        return context.get_dummy_value()

    return types.void(), codegen


def _times_power_of_two(typingctx, value, power):
    """``value`` times 2 to the integer in the lowest bits of ``power`` (both float64): an addition to the exponent."""

    def codegen(context, builder, signature, args):
        word = ir.IntType(64)
        shift = builder.shl(builder.bitcast(args[1], word), ir.Constant(word, 52))
        return builder.bitcast(builder.add(builder.bitcast(args[0], word), shift), args[0].type)

    return types.float64(types.float64, types.float64), codegen


apart: Callable[..., None] = intrinsic(_apart)
times_power_of_two: Callable[..., float] = intrinsic(_times_power_of_two)


@njit(inline="always")
def exp(v):
    """e to the power v in double precision with a relative error below 1e-12: once rounded to float32 exact, but for rare ties.

    v = k ln 2 + r with |r| <= ln 2 / 2; the series of e^r to the tenth order leaves r^11 / 11! < 3e-13. Not a number stays so.
    """
    v = -_LIMIT if v < -_LIMIT else (_LIMIT if v > _LIMIT else v)
    rounded = v * _PER_LN2 + _ROUND
    r = v - (rounded - _ROUND) * _LN2
    series = _C4 + r * (_C5 + r * (_C6 + r * (_C7 + r * (_C8 + r * (_C9 + r * _C10)))))
    return times_power_of_two(1.0 + r * (1.0 + r * (_C2 + r * (_C3 + r * series))), rounded)
