"""Emits LLVM code for sums of rows in vector registers (see ``rows``)."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils

BYTES = 32  # one 256-bit register
TILES = (12, 4, 2, 1)  # registers that hold partial sums at a time: wide tiles first, then what is left


def size_of(value: int) -> ir.Constant:
    """A number of elements, or a place, as LLVM's 64-bit integer."""
    return ir.Constant(ir.IntType(64), value)


def in_tiles(builder, tiles: tuple[int, ...], size: int, width, write: Callable) -> None:
    """Emit loops over 0 .. width - 1 in tiles of so many registers, then of fewer: ``write(column, registers)``."""
    begin = size_of(0)
    for registers in tiles:
        step = size_of(size * registers)
        end = builder.add(begin, builder.mul(builder.udiv(builder.sub(width, begin), step), step))
        with cgutils.for_range_slice(builder, begin, end, step) as (column, _):
            write(column, registers)
        begin = end


class Vectors:
    """Emits loads and stores of vectors of so many elements; ``size``: as many as a register holds, unless given."""

    def __init__(self, builder, element, size: int = 0) -> None:
        self.builder, self.element = builder, element
        self.align = 4 if isinstance(element, ir.FloatType) else 8
        self.size = size or BYTES // self.align
        self.vector = ir.VectorType(element, self.size)

    def pointer(self, base, index):
        """Where the vector that begins at an element lies."""
        return self.builder.bitcast(self.builder.gep(base, [index]), self.vector.as_pointer())

    def load(self, base, index):
        """The vector that begins at an element."""
        return self.builder.load(self.pointer(base, index), align=self.align)

    def store(self, value, base, index) -> None:
        """Write a vector."""
        self.builder.store(value, self.pointer(base, index), align=self.align)

    def zeros(self) -> ir.Constant:
        """A vector of zeros."""
        return ir.Constant(self.vector, [0.0] * self.size)

    def splat(self, scalar):
        """A register full of a number."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.size), [0] * self.size)
        return self.builder.shuffle_vector(first, undefined, mask)


class Writer(Vectors):
    """Emits the code: whole tiles of columns, then single registers. ``rows`` and ``scales``: one per row written together."""

    def __init__(self, builder, element, target, source, weights, place, at, scale, n) -> None:
        super().__init__(builder, element)
        self.target, self.source, self.weights = target, source, weights
        self.place, self.n, self.rows, self.scales = place, n, [at], [scale]
        self.weight_at = lambda index: [index]
        self.copy_at, self.copy_scale = None, None  # where in the source a multiple of the row is written, too

    def row(self, width) -> None:
        """All columns."""
        in_tiles(self.builder, TILES, self.size, width, self.tile)

    def tile(self, column, registers: int) -> None:
        """Columns column .. column + registers * size - 1 of every row."""
        b, flags = self.builder, ("contract",)
        offsets = [b.add(column, size_of(r * self.size)) for r in range(registers)]
        sums = [[cgutils.alloca_once(b, self.vector) for _ in offsets] for _ in self.rows]
        for at, scale, line in zip(self.rows, self.scales, sums, strict=True):
            self._begin(at, scale, line, offsets)
        with cgutils.for_range(b, self.n) as loop:
            place = self.place(loop.index)
            loaded = [self.load(self.source, b.add(place, offset)) for offset in offsets]
            for where, line in zip(self.weight_at(loop.index), sums, strict=True):
                weight = self.splat(b.load(b.gep(self.weights, [where])))
                for s, row in zip(line, loaded, strict=True):
                    b.store(b.fadd(b.load(s), b.fmul(weight, row, flags=flags), flags=flags), s)
        for at, line in zip(self.rows, sums, strict=True):
            for s, offset in zip(line, offsets, strict=True):
                self.store(b.load(s), self.target, b.add(at, offset))
                if self.copy_at is not None:
                    copy = b.fmul(self.splat(self.copy_scale), b.load(s), flags=flags)
                    self.store(copy, self.source, b.add(self.copy_at, offset))

    def scaled(self, column, begin, read: bool) -> None:
        """One register of a row: its scale times what the source has from ``begin`` on, or zeros."""
        b, value = self.builder, self.zeros()
        if read:
            value = b.fmul(self.splat(self.scales[0]), self.load(self.source, b.add(begin, column)))
        self.store(value, self.target, b.add(self.rows[0], column))

    def _begin(self, at, scale, line, offsets) -> None:
        """Sums start as scale * old row; with scale 0 the old row is not read."""
        b = self.builder
        fresh = b.fcmp_ordered("==", scale, ir.Constant(self.element, 0.0))
        with b.if_else(fresh) as (then, otherwise):
            with then:
                for s in line:
                    b.store(self.zeros(), s)
            with otherwise:
                factor = self.splat(scale)
                for s, offset in zip(line, offsets, strict=True):
                    b.store(b.fmul(factor, self.load(self.target, b.add(at, offset)), flags=("contract",)), s)
