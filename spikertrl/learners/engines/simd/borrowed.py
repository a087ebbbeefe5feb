"""Arrays of the caller, looked at without counting who holds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _borrowed(typingctx, array):
    """The same array without its owner: slices of it need no atomic count, which loops over short rows would feel.

    Only for arguments of a compiled function, which the caller holds until it returns; never for what is made inside it.
    """
    if not isinstance(array, types.Array):
        return None

    def codegen(context, builder, signature, args):
        found = context.make_array(array)(context, builder, args[0])
        found.meminfo = ir.Constant(found.meminfo.type, None)
        found.parent = ir.Constant(found.parent.type, None)
        return found._getvalue()

    return array(array), codegen


borrowed: Callable[..., Any] = intrinsic(_borrowed)
