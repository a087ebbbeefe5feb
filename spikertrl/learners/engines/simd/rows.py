"""Vector primitives of all influence updates: rows become weighted sums of rows, with partial sums kept in registers.

``combine(target, at, scale, source, places, weights, n, width)`` does

    target[at : at + width] = scale * target[at : at + width]
                              + sum over e < n of weights[e] * source[places[e] : places[e] + width]

for a ``width`` that is a multiple of ``lanes(dtype)``. With ``scale == 0`` the old target is not read. numba's own loops store
the partial sums after every few rows; here the code is written as LLVM vectors so that each element is loaded and stored once.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ....loops import inner
from .writer import BYTES, Writer, in_tiles, size_of

FAST = {"contract", "nsz", "arcp"}  # fused multiply-add allowed; nan and inf keep their meaning
HUGE_PAGE, LINE = 1 << 21, 64  # bytes
PAIR_TILES = (6, 2, 1)  # registers a row where two are summed together


def lanes(dtype: np.dtype | str) -> int:
    """Elements in one vector register: rows are padded to a multiple of this."""
    return BYTES // np.dtype(dtype).itemsize


def padded(width: np.ndarray | int, dtype: np.dtype | str) -> np.ndarray | int:
    """``width`` rounded up to whole registers."""
    n = lanes(dtype)
    return (width + n - 1) // n * n


def aligned(elements: int, dtype: np.dtype | str) -> np.ndarray:
    """Zeros that start at a cache line, so that no register is loaded across two."""
    item = np.dtype(dtype).itemsize
    room = np.zeros(elements + LINE // item, dtype)
    first = -room.ctypes.data % LINE // item
    return room[first : first + elements]


def zeros_on_demand(elements: int, dtype: np.dtype | str) -> np.ndarray:
    """Zeros of which little will be touched: in small pages where one can choose, so that the rest takes no room."""
    size = elements * np.dtype(dtype).itemsize
    if size < HUGE_PAGE or not hasattr(mmap, "MADV_NOHUGEPAGE"):
        return aligned(elements, dtype)
    room = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    room.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(room, dtype)


def _combine(typingctx, target, at, scale, source, places, weights, n, width):
    """See the module docstring. ``places`` int64, ``weights`` of the row's type, both contiguous."""
    signature = types.void(target, types.intp, target.dtype, source, places, weights, types.intp, types.intp)

    def codegen(context, builder, sig, args):
        element = context.get_data_type(sig.args[0].dtype)
        arrays = (context.make_array(sig.args[i])(context, builder, args[i]).data for i in (0, 3, 4, 5))
        target, source, places, weights = arrays

        def place(index):
            return builder.load(builder.gep(places, [index]))

        Writer(builder, element, target, source, weights, place, args[1], args[2], args[6]).row(args[7])
        return context.get_dummy_value()

    return signature, codegen


def _combine_pair(typingctx, target, at, other, source, places, weights, first, second, n, width):
    """Two rows of ``combine``, from ``at`` and ``other`` on, with scale 0: their weights begin at ``first`` and ``second``."""
    size = types.intp
    signature = types.void(target, size, size, source, places, weights, size, size, size, size)

    def codegen(context, builder, sig, args):
        element = context.get_data_type(sig.args[0].dtype)
        target, source, places, weights = (
            context.make_array(sig.args[i])(context, builder, args[i]).data for i in (0, 3, 4, 5)
        )
        none = ir.Constant(element, 0.0)

        def place(index):
            return builder.load(builder.gep(places, [index]))

        writer = Writer(builder, element, target, source, weights, place, args[1], none, args[8])
        writer.rows, writer.scales = [args[1], args[2]], [none, none]
        writer.weight_at = lambda index: [builder.add(args[6], index), builder.add(args[7], index)]
        in_tiles(builder, PAIR_TILES, writer.size, args[9], writer.tile)
        return context.get_dummy_value()

    return signature, codegen


def _combine_slots(typingctx, target, at, scale, source, base, stride, slots, first_slot, weights, first_weight, n, width):
    """As ``combine``: places ``base + slots[first_slot + e] * stride`` (slots int32), weights ``weights[first_weight + e]``."""
    size = types.intp
    signature = types.void(target, size, target.dtype, source, size, size, slots, size, weights, size, size, size)

    def codegen(context, builder, sig, args):
        _slot_writer(context, builder, sig, args).row(args[11])
        return context.get_dummy_value()

    return signature, codegen


def _combine_sent(typingctx, target, at, scale, source, base, stride, slots, first_slot, weights, first_weight, n, width, to,
                  gain):  # fmt: skip
    """As ``combine_slots``, and ``gain`` times the new row is written to ``source[to : to + width]``."""
    size, number = types.intp, target.dtype
    signature = types.void(target, size, number, source, size, size, slots, size, weights, size, size, size, size, number)

    def codegen(context, builder, sig, args):
        writer = _slot_writer(context, builder, sig, args)
        writer.copy_at, writer.copy_scale = args[12], args[13]
        writer.row(args[11])
        return context.get_dummy_value()

    return signature, codegen


def _slot_writer(context, builder, sig, args) -> Writer:
    element = context.get_data_type(sig.args[0].dtype)
    arrays = (context.make_array(sig.args[i])(context, builder, args[i]).data for i in (0, 3, 6, 8))
    target, source, slots, weights = arrays
    slots, weights = builder.gep(slots, [args[7]]), builder.gep(weights, [args[9]])

    def place(index):
        slot = builder.sext(builder.load(builder.gep(slots, [index])), ir.IntType(64))
        return builder.add(args[4], builder.mul(slot, args[5]))

    return Writer(builder, element, target, source, weights, place, args[1], args[2], args[10])


def _prefetch(typingctx, array, at, width):
    """Ask for ``array[at : at + width]`` to be brought into the cache."""
    signature = types.void(array, types.intp, types.intp)

    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        item = 4 if sig.args[0].dtype == types.float32 else 8
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        ask = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), (byte, word, word, word)), "llvm.prefetch.p0i8"
        )
        begin = builder.gep(data, [args[1]])
        with cgutils.for_range_slice(builder, size_of(0), args[2], size_of(LINE // item)) as (column, _):
            line = builder.bitcast(builder.gep(begin, [column]), byte)
            builder.call(ask, [line, word(1), word(3), word(1)])
        return context.get_dummy_value()

    return signature, codegen


def _scale_row(typingctx, target, at, factor, source, begin, width):
    """target[at : at + width] = factor * source[begin : begin + width]; with ``factor == 0`` the source is not read."""
    size = types.intp
    signature = types.void(target, size, target.dtype, source, size, size)

    def codegen(context, builder, sig, args):
        element = context.get_data_type(sig.args[0].dtype)
        target, source = (context.make_array(sig.args[i])(context, builder, args[i]).data for i in (0, 3))
        writer = Writer(builder, element, target, source, None, None, args[1], args[2], None)
        silent = builder.fcmp_ordered("==", args[2], ir.Constant(element, 0.0))
        with builder.if_else(silent) as branches:
            for branch, read in zip(branches, (False, True), strict=True):
                with branch:
                    in_tiles(builder, (1,), writer.size, args[5], lambda c, _, read=read: writer.scaled(c, args[4], read))
        return context.get_dummy_value()

    return signature, codegen


combine: Callable[..., None] = intrinsic(_combine)
combine_pair: Callable[..., None] = intrinsic(_combine_pair)
combine_sent: Callable[..., None] = intrinsic(_combine_sent)
combine_slots: Callable[..., None] = intrinsic(_combine_slots)
prefetch: Callable[..., None] = intrinsic(_prefetch)
scale_row: Callable[..., None] = intrinsic(_scale_row)


@inner(fastmath=FAST)
def sum_rows(target, at, scale, source, places, weights, n, width):
    """``combine`` as a call: where it is used often, one compiled copy is enough."""
    combine(target, at, scale, source, places, weights, n, width)


@inner(fastmath=FAST)
def sum_pair(target, at, other, source, places, weights, first, second, n, width):
    """``combine_pair`` as a call."""
    combine_pair(target, at, other, source, places, weights, first, second, n, width)


@inner(fastmath=FAST)
def sum_slots(target, at, scale, source, base, stride, slots, first_slot, weights, first_weight, n, width):
    """``combine_slots`` as a call."""
    combine_slots(target, at, scale, source, base, stride, slots, first_slot, weights, first_weight, n, width)


@inner(fastmath=FAST)
def send_sum(target, at, scale, source, base, stride, slots, first_slot, weights, first_weight, n, width, to, gain):
    """``combine_sent`` as a call."""
    combine_sent(target, at, scale, source, base, stride, slots, first_slot, weights, first_weight, n, width, to, gain)
