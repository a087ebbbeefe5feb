"""Arrays in compiled loops, looked at in another way: without counting who holds them, or as one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import pack_array
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array


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


def _flat(typingctx, array):
    """``array.reshape(-1)`` of a contiguous array, which numba takes a third of a second to compile."""
    if not isinstance(array, types.Array) or array.layout != "C":
        return None
    row = array.copy(ndim=1)

    def codegen(context, builder, signature, args):
        given, found = context.make_array(array)(context, builder, args[0]), context.make_array(row)(context, builder)
        populate_array(
            found, data=given.data, shape=pack_array(builder, [given.nitems]), strides=pack_array(builder, [given.itemsize]),
            itemsize=given.itemsize, meminfo=given.meminfo, parent=given.parent,
        )  # fmt: skip
        return impl_ret_borrowed(context, builder, row, found._getvalue())

    return row(array), codegen


flat: Callable[..., Any] = intrinsic(_flat)
