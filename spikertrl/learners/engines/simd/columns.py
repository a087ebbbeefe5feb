"""One register, one lane an element: columns of a unit over several steps, for as many lanes as a register holds.

``advance_S`` of a unit of S states does for ``count`` columns that share a drive, with a register for every name,

    m_s    <- sum over r of A_sr(t) m_r + drive_s(t) y(t)        at every step t, old m_r on the right
    g      <- g + sum over s of read_0s(t) m_s
    F_r    <- F_r + sum over s of read_rs(t) m_s                 for the readers r = 1 .. readers - 1

and adds the sum of g over the lanes to ``sums``. ``lines`` holds, step after step, a register for each coefficient.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .writer import BYTES, Vectors, size_of

MOST_STATES, MOST_READERS = 2, 2  # for which there are loops in registers
PANEL = 3  # columns that share every coefficient that is loaded, and whose sums do not wait for each other
_FLAGS = ("contract",)


def width(batch: int, dtype: np.dtype) -> int:
    """Lanes that lie side by side: one alone, or a register full of them."""
    return 1 if batch == 1 else BYTES // dtype.itemsize


def _advance(states: int) -> Callable[..., None]:
    """The intrinsic for units of so many states.

    Column c of ``count``: state s at ``M[at + s * apart + c * size]`` (size: lanes), message at ``Y[heard[c] + t * late]``, F_r
    at ``F[into + (r - 1) * F_apart + c * size]``, sum at ``sums[c]``. Step t has its coefficients from ``lines[t * step]``,
    its drive ``drive`` behind, its readers ``read`` behind.
    """

    def typed(typingctx, M, at, apart, lines, step, drive, read, Y, heard, late, steps, readers, F, into, F_apart, count, sums):
        n = types.intp
        return types.void(M, n, n, lines, n, n, n, Y, heard, n, n, n, F, n, n, n, sums), codegen

    def codegen(context, builder, sig, args):
        element = context.get_data_type(sig.args[0].dtype)
        args = [
            context.make_array(kind)(context, builder, arg).data if isinstance(kind, types.Array) else arg
            for kind, arg in zip(sig.args, args, strict=True)
        ]
        _Columns(builder, element, states, args).write()
        return context.get_dummy_value()

    return intrinsic(typed)


class _Columns(Vectors):
    """Emits the code: columns in panels, then one by one."""

    def __init__(self, builder, element, states: int, arguments: list) -> None:
        super().__init__(builder, element)
        self.b, self.states = builder, states
        self.M, self.at, self.apart, self.lines, self.step, self.drive, self.read, self.Y, self.heard, *rest = arguments
        self.late, self.steps, self.readers, self.F, self.into, self.F_apart, self.count, self.sums = rest

    def write(self) -> None:
        """All columns; the loop is written out for every number of readers."""
        b = self.b
        whole = b.mul(b.udiv(self.count, size_of(PANEL)), size_of(PANEL))
        for begin, end, panel in ((size_of(0), whole, PANEL), (whole, self.count, 1)):
            with cgutils.for_range_slice(b, begin, end, size_of(panel)) as (c, _):
                for known in range(1, MOST_READERS + 1):
                    with b.if_then(b.icmp_signed("==", self.readers, size_of(known))):
                        self._panel(c, panel, known)

    def _panel(self, c, panel: int, readers: int) -> None:
        """``panel`` columns from c on over all steps."""
        b, S = self.b, self.states
        columns = [b.add(c, size_of(i)) for i in range(panel)]
        shifts = [b.mul(one, size_of(self.size)) for one in columns]
        rows = [[b.add(b.add(self.at, shift), b.mul(size_of(s), self.apart)) for s in range(S)] for shift in shifts]
        heard = [b.load(b.gep(self.heard, [one])) for one in columns]
        m = [[cgutils.alloca_once(b, self.vector) for _ in range(S)] for _ in columns]
        sums = [[cgutils.alloca_once(b, self.vector) for _ in range(readers)] for _ in columns]
        apart = [b.mul(size_of(r), self.F_apart) for r in range(readers - 1)]
        kept = [[b.add(b.add(self.into, shift), one) for one in apart] for shift in shifts]
        for i in range(panel):
            for s in range(S):
                b.store(self.load(self.M, rows[i][s]), m[i][s])
            b.store(self.zeros(), sums[i][0])
            for r in range(readers - 1):
                b.store(self.load(self.F, kept[i][r]), sums[i][r + 1])
        with cgutils.for_range(b, self.steps) as loop:
            self._one_step(loop.index, heard, m, sums)
        for i in range(panel):
            for s in range(S):
                self.store(b.load(m[i][s]), self.M, rows[i][s])
            for r in range(readers - 1):
                self.store(b.load(sums[i][r + 1]), self.F, kept[i][r])
            total = b.gep(self.sums, [columns[i]])
            b.store(b.fadd(b.load(total), self._across(b.load(sums[i][0]))), total)

    def _one_step(self, t, heard, m, sums) -> None:
        b, S = self.b, self.states
        here = b.mul(t, self.step)
        a = [[self._line(here, size_of(0), s * S + r) for r in range(S)] for s in range(S)]
        drive = [self._line(here, self.drive, s) for s in range(S)]
        for i, place in enumerate(heard):
            y = self.load(self.Y, b.add(place, b.mul(t, self.late)))
            old = [b.load(one) for one in m[i]]
            for s in range(S):
                new = b.fmul(drive[s], y, flags=_FLAGS)
                for r in range(S):
                    new = self._add(new, a[s][r], old[r])
                b.store(new, m[i][s])
        for r in range(len(sums[0])):
            read = [self._line(here, self.read, r * S + s) for s in range(S)]
            for one, into in zip(m, sums, strict=True):
                total = b.load(into[r])
                for s in range(S):
                    total = self._add(total, read[s], b.load(one[s]))
                b.store(total, into[r])

    def _add(self, total, x, y):
        return self.b.fadd(total, self.b.fmul(x, y, flags=_FLAGS), flags=_FLAGS)

    def _line(self, here, first, number: int):
        b = self.b
        return self.load(self.lines, b.add(here, b.add(first, size_of(number * self.size))))

    def _across(self, value):
        """The sum over the lanes: halves are added until one element is left."""
        b, n = self.b, self.size
        while n > 1:
            n //= 2
            undefined = ir.Constant(value.type, ir.Undefined)
            low, high = (ir.Constant(ir.VectorType(ir.IntType(32), n), list(range(begin, begin + n))) for begin in (0, n))
            halves = [b.shuffle_vector(value, undefined, part) for part in (low, high)]
            value = b.fadd(*halves)
        return b.extract_element(value, ir.Constant(ir.IntType(32), 0))


advance_1: Callable[..., None] = _advance(1)
advance_2: Callable[..., None] = _advance(2)
