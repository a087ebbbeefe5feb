"""Rows that were sent in the last step, made again where blocks hold all units (see ``layout.is_whole``)."""

from __future__ import annotations

from numba import njit

from .vector import FAST, prefetch, sum_rows

AHEAD = 3  # rows asked for in advance: they lie apart, and in an online step they come from main memory


@njit(fastmath=FAST, cache=True)
def send_again(sent, M, base, stride, wide, row_live, lives, units, n, k0, k1, o, q, b, B, size, local, start_o, start_q, Q,
               col_ptr, col_port, run_of, placed, runs, position, places, weights):  # fmt: skip
    """E_j = o_j M_j + q_j of the n units that were gradient-active, one behind the other; M is still that of the last step.

    Keeping them in the meantime would cost more: they would go to main memory and back.
    """
    nothing = M.dtype.type(0)
    for a in range(min(n, AHEAD)):
        prefetch(M, base + units[a] * stride, wide)
    for a in range(n):
        if a + AHEAD < n:
            prefetch(M, base + units[a + AHEAD] * stride, wide)
        j, place = units[a], a * stride
        places[0], weights[0] = base + j * stride, o[start_o[j] * B + b * size[j] + local[j]]
        sum_rows(sent, place, nothing, M, places, weights, 1 if row_live[lives + j] else 0, wide)
        if k0 <= j < k1:
            for c in range(col_ptr[j + 1] - Q[j], col_ptr[j + 1]):
                run = run_of[c]
                at_q = start_q[j] * B + (b * Q[j] + col_port[c]) * size[j] + local[j]
                sent[place + position[b, run] + placed[c] - runs[run]] += q[at_q]
