"""Products of matrices: several rows share what they read; and the step Jacobian laid out for them."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .writer import BYTES, Vectors, Writer, in_tiles, size_of

PANEL = 4  # rows that share what they read in ``combine_panel``
PANEL_TILES = (3, 2, 1)  # registers at a time
MOST_TERMS = 4  # of which one factor each is kept in registers in ``panels_of_products``
CONTRACT = ("contract",)


def _combine_panel(typingctx, target, at, stride, rows, scales, source, base, apart, weights, first_weight, n, width):
    """All rows of a block at once, each hearing the same n source rows, which lie one behind the other:

    target row u <- scales[u] * target row u + sum over a < n of weight(a, u) * source row a, where row u starts at
    ``at + u * stride``, source row a at ``base + a * apart``, and weight(a, u) lies at ``first_weight +
    (u // PANEL * n + a) * PANEL + u % PANEL``. PANEL rows share every load, and a tile of columns stays in the first-level
    cache for all rows: a product of matrices.
    """
    size = types.intp
    signature = types.void(target, size, size, size, scales, source, size, size, weights, size, size, size)

    def codegen(context, builder, sig, args):
        b, element = builder, context.get_data_type(sig.args[0].dtype)
        target, scales, source, weights = (context.make_array(sig.args[i])(context, b, args[i]).data for i in (0, 4, 5, 8))
        stride, rows, apart, n = args[2], args[3], args[7], args[10]
        source, weights = b.gep(source, [args[6]]), b.gep(weights, [args[9]])
        four, quad = size_of(PANEL), b.mul(n, size_of(PANEL))
        whole = b.mul(b.udiv(rows, four), four)

        def place(index):
            return b.mul(index, apart)

        def panel(column, registers, first, count):
            writer = Writer(b, element, target, source, weights, place, None, None, n)
            at = [b.add(first, size_of(r)) for r in range(count)]
            writer.rows = [b.add(args[1], b.mul(u, stride)) for u in at]
            writer.scales = [b.load(b.gep(scales, [u])) for u in at]
            begin = [b.add(b.mul(b.udiv(u, four), quad), b.urem(u, four)) for u in at]
            writer.weight_at = lambda index: [b.add(where, b.mul(index, four)) for where in begin]
            writer.tile(column, registers)

        def tile(column, registers):
            with cgutils.for_range_slice(b, size_of(0), whole, four) as (first, _):
                panel(column, registers, first, PANEL)
            with cgutils.for_range_slice(b, whole, rows, size_of(1)) as (first, _):
                panel(column, registers, first, 1)

        in_tiles(b, PANEL_TILES, BYTES // (4 if isinstance(element, ir.FloatType) else 8), args[11], tile)
        return context.get_dummy_value()

    return signature, codegen


def _panels_of_products(typingctx, target, at, left, first_left, right, units, row, first_right, apart, terms, n):
    """Sums of ``terms`` products, PANEL at a time, for each of ``n`` units a (int32): target[at + a * PANEL + x] =

    sum over r of left[first_left + r * apart + x] * right[units[a] * row + first_right + r * apart + x]
    """
    size = types.intp
    signature = types.void(target, size, left, size, right, units, size, size, size, size, size)

    def codegen(context, builder, sig, args):
        element = context.get_data_type(sig.args[0].dtype)
        arrays = (context.make_array(sig.args[i])(context, builder, args[i]).data for i in (0, 2, 4, 5))
        _Sums(builder, element, *arrays, *(args[i] for i in (1, 3, 6, 7, 8, 9, 10))).write(1)
        return context.get_dummy_value()

    return signature, codegen


class _Sums(Vectors):
    """Emits the loop over units, once for every small number of terms and once for any."""

    def __init__(self, b, element, target, left, right, units, at, first_left, row, first_right, apart, terms, n) -> None:
        super().__init__(b, element, PANEL)
        self.b, self.target, self.left, self.right, self.units = b, target, left, right, units
        self.at, self.first_left, self.row, self.first_right = at, first_left, row, first_right
        self.apart, self.terms, self.n = apart, terms, n

    def write(self, count: int) -> None:
        """For ``count`` terms, if there are so many, or else for more."""
        if count > MOST_TERMS:
            self._units(self._many)
            return
        with self.b.if_else(self.b.icmp_signed("==", self.terms, size_of(count))) as (then, otherwise):
            with then:
                held = [self._term(self.left, self.first_left, size_of(r)) for r in range(count)]  # for all units
                self._units(lambda first: self._few(held, first))
            with otherwise:
                self.write(count + 1)

    def _units(self, total: Callable) -> None:
        b = self.b
        with cgutils.for_range(b, self.n) as loop:
            unit = b.sext(b.load(b.gep(self.units, [loop.index])), ir.IntType(64))
            found = total(b.add(b.mul(unit, self.row), self.first_right))
            self.store(found, self.target, b.add(self.at, b.mul(loop.index, size_of(PANEL))))

    def _few(self, held: list, first):
        total = self.b.fmul(held[0], self._term(self.right, first, size_of(0)), flags=CONTRACT)
        for r in range(1, len(held)):
            product = self.b.fmul(held[r], self._term(self.right, first, size_of(r)), flags=CONTRACT)
            total = self.b.fadd(total, product, flags=CONTRACT)
        return total

    def _many(self, first):
        b, total = self.b, cgutils.alloca_once(self.b, self.vector)
        b.store(self.zeros(), total)
        with cgutils.for_range(b, self.terms) as loop:
            left, right = self._term(self.left, self.first_left, loop.index), self._term(self.right, first, loop.index)
            b.store(b.fadd(b.load(total), b.fmul(left, right, flags=CONTRACT), flags=CONTRACT), total)
        return b.load(total)

    def _term(self, base, first, r):
        return self.load(base, self.b.add(first, self.b.mul(r, self.apart)))


def _add_outer(typingctx, target, at, stride, terms, first, steps, source, places, first_place, apart, rows, width):
    """Columns that take their rows from different places: for rows u and columns c of ``width``,

    target[at + u * stride + c] += sum over t < steps of term(t, c) * source[places[first_place + c] + t * apart + u], where
    term(t, c) lies at ``first + (c // R * steps + t) * R + c % R``, with R elements in a register. ``rows`` and ``width`` are
    whole registers. R columns are summed side by side, rows along their registers, and turned over when they are done.
    """
    size = types.intp
    signature = types.void(target, size, size, terms, size, size, source, places, size, size, size, size)

    def codegen(context, builder, sig, args):
        element = context.get_data_type(sig.args[0].dtype)
        arrays = (context.make_array(sig.args[i])(context, builder, args[i]).data for i in (0, 3, 6, 7))
        _Outer(builder, element, *arrays, *(args[i] for i in (1, 2, 4, 5, 8, 9, 10, 11))).write()
        return context.get_dummy_value()

    return signature, codegen


class _Outer(Vectors):
    """Emits the loops: a register of columns, a register of rows, steps."""

    def __init__(self, b, element, target, terms, source, places, at, stride, first, steps, first_place, apart, rows, width):
        super().__init__(b, element)
        self.b, self.target, self.terms, self.source, self.places = b, target, terms, source, places
        self.at, self.stride, self.first, self.steps, self.first_place = at, stride, first, steps, first_place
        self.apart, self.rows, self.width = apart, rows, width

    def write(self) -> None:
        b, n = self.b, size_of(self.size)
        with cgutils.for_range_slice(b, size_of(0), self.width, n) as (column, _):
            names = [b.add(b.add(self.first_place, column), size_of(c)) for c in range(self.size)]
            places = [b.load(b.gep(self.places, [name])) for name in names]
            terms = b.add(self.first, b.mul(column, self.steps))
            with cgutils.for_range_slice(b, size_of(0), self.rows, n) as (row, _):
                sums = self._turned(self._sums(terms, [b.add(place, row) for place in places]))
                for u, total in enumerate(sums):
                    at = b.add(b.add(self.at, column), b.mul(b.add(row, size_of(u)), self.stride))
                    self.store(b.fadd(self.load(self.target, at), total), self.target, at)

    def _sums(self, terms, places: list) -> list:
        """One register a column, over all steps."""
        b = self.b
        sums = [cgutils.alloca_once(b, self.vector) for _ in places]
        for one in sums:
            b.store(self.zeros(), one)
        with cgutils.for_range(b, self.steps) as loop:
            late, here = b.mul(loop.index, self.apart), b.add(terms, b.mul(loop.index, size_of(self.size)))
            for c, (place, one) in enumerate(zip(places, sums, strict=True)):
                term = self.splat(b.load(b.gep(self.terms, [b.add(here, size_of(c))])))
                product = b.fmul(term, self.load(self.source, b.add(place, late)), flags=CONTRACT)
                b.store(b.fadd(b.load(one), product, flags=CONTRACT), one)
        return [b.load(one) for one in sums]

    def _turned(self, rows: list) -> list:
        """The square of these registers turned over: halves of pairs change places, then quarters, and so on."""
        n, apart = self.size, self.size // 2
        while apart:
            low = [j if not j & apart else n + j - apart for j in range(n)]
            high = [j + apart if not j & apart else n + j for j in range(n)]
            masks = [ir.Constant(ir.VectorType(ir.IntType(32), n), mask) for mask in (low, high)]
            turned = list(rows)
            for i in range(n):
                if not i & apart:
                    turned[i], turned[i + apart] = (self.b.shuffle_vector(rows[i], rows[i + apart], mask) for mask in masks)
            rows, apart = turned, apart // 2
        return rows


add_outer: Callable[..., None] = intrinsic(_add_outer)
combine_panel: Callable[..., None] = intrinsic(_combine_panel)
panels_of_products: Callable[..., None] = intrinsic(_panels_of_products)
