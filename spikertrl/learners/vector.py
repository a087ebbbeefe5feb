"""One vector primitive for all influence updates: a row becomes a weighted sum of rows, with partial sums kept in registers.

``combine(target, at, scale, source, places, weights, n, width)`` does

    target[at : at + width] = scale * target[at : at + width]
                              + sum over e < n of weights[e] * source[places[e] : places[e] + width]

for a ``width`` that is a multiple of ``lanes(dtype)``. With ``scale == 0`` the old target is not read. numba's own loops store
the partial sums after every few rows; here the code is written as LLVM vectors so that each element is loaded and stored once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

BYTES = 32  # one 256-bit register
TILES = (8, 2, 1)  # registers that hold partial sums at a time: wide tiles first, then what is left


def lanes(dtype: np.dtype | str) -> int:
    """Elements in one vector register: rows are padded to a multiple of this."""
    return BYTES // np.dtype(dtype).itemsize


def padded(width: np.ndarray | int, dtype: np.dtype | str) -> np.ndarray | int:
    """``width`` rounded up to whole registers."""
    n = lanes(dtype)
    return (width + n - 1) // n * n


def _combine(typingctx, target, at, scale, source, places, weights, n, width):
    """See the module docstring. ``places`` int64, ``weights`` of the row's type, both contiguous."""
    signature = types.void(target, types.intp, target.dtype, source, places, weights, types.intp, types.intp)

    def codegen(context, builder, sig, args):
        element = context.get_data_type(sig.args[0].dtype)
        arrays = (context.make_array(sig.args[i])(context, builder, args[i]).data for i in (0, 3, 4, 5))
        target, source, places, weights = arrays

        def place(index):
            return builder.load(builder.gep(places, [index]))

        _Writer(builder, element, target, source, weights, place, args[1], args[2], args[6]).row(args[7])
        return context.get_dummy_value()

    return signature, codegen


def _combine_slots(typingctx, target, at, scale, source, base, stride, slots, first_slot, weights, first_weight, n, width):
    """As ``combine``: places ``base + slots[first_slot + e] * stride`` (slots int32), weights ``weights[first_weight + e]``."""
    size = types.intp
    signature = types.void(target, size, target.dtype, source, size, size, slots, size, weights, size, size, size)

    def codegen(context, builder, sig, args):
        element = context.get_data_type(sig.args[0].dtype)
        arrays = (context.make_array(sig.args[i])(context, builder, args[i]).data for i in (0, 3, 6, 8))
        target, source, slots, weights = arrays
        slots, weights = builder.gep(slots, [args[7]]), builder.gep(weights, [args[9]])

        def place(index):
            slot = builder.sext(builder.load(builder.gep(slots, [index])), ir.IntType(64))
            return builder.add(args[4], builder.mul(slot, args[5]))

        _Writer(builder, element, target, source, weights, place, args[1], args[2], args[10]).row(args[11])
        return context.get_dummy_value()

    return signature, codegen


combine: Callable[..., None] = intrinsic(_combine)
combine_slots: Callable[..., None] = intrinsic(_combine_slots)


class _Writer:
    """Emits the code: whole tiles of columns, then single registers."""

    def __init__(self, builder, element, target, source, weights, place, at, scale, n) -> None:
        self.builder, self.element, self.target, self.source, self.weights = builder, element, target, source, weights
        self.place, self.at, self.scale, self.n = place, at, scale, n
        self.align = 4 if isinstance(element, ir.FloatType) else 8
        self.size = BYTES // self.align
        self.vector = ir.VectorType(element, self.size)

    def row(self, width) -> None:
        """All columns of one row."""
        b = self.builder
        begin = ir.Constant(ir.IntType(64), 0)
        for registers in TILES:
            step = ir.Constant(ir.IntType(64), self.size * registers)
            end = b.mul(b.udiv(width, step), step)
            with cgutils.for_range_slice(b, begin, end, step) as (column, _):
                self.tile(column, registers)
            begin = end

    def _load(self, base, index):
        pointer = self.builder.bitcast(self.builder.gep(base, [index]), self.vector.as_pointer())
        loaded = self.builder.load(pointer, align=self.align)
        return loaded

    def _splat(self, scalar):
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.size), [0] * self.size)
        return self.builder.shuffle_vector(first, undefined, mask)

    def tile(self, column, registers: int) -> None:
        """Columns column .. column + registers * size - 1."""
        b, flags = self.builder, ("contract",)
        sums = [cgutils.alloca_once(b, self.vector) for _ in range(registers)]
        offsets = [b.add(column, ir.Constant(ir.IntType(64), r * self.size)) for r in range(registers)]
        zero = ir.Constant(self.element, 0.0)
        fresh = b.fcmp_ordered("==", self.scale, zero)
        with b.if_else(fresh) as (then, otherwise):
            with then:
                for s in sums:
                    b.store(ir.Constant(self.vector, [0.0] * self.size), s)
            with otherwise:
                factor = self._splat(self.scale)
                for s, offset in zip(sums, offsets, strict=True):
                    b.store(b.fmul(factor, self._load(self.target, b.add(self.at, offset)), flags=flags), s)
        with cgutils.for_range(b, self.n) as loop:
            place = self.place(loop.index)
            weight = self._splat(b.load(b.gep(self.weights, [loop.index])))
            for s, offset in zip(sums, offsets, strict=True):
                row = self._load(self.source, b.add(place, offset))
                b.store(b.fadd(b.load(s), b.fmul(weight, row, flags=flags), flags=flags), s)
        for s, offset in zip(sums, offsets, strict=True):
            pointer = b.bitcast(b.gep(self.target, [b.add(self.at, offset)]), self.vector.as_pointer())
            b.store(b.load(s), pointer, align=self.align)
