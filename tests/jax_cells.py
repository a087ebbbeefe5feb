"""The shipped models by hand in JAX: the cells of ``jax_reference``.

A cell has ``advance(p, s, i, event, dt)``, new states from parameters p, old states s and arrived input i, and
``emit(p, s, event)``, the message of a state. Refractory cells count in ``wait`` the steps still to wait: R - 1 at the step
after a spike, then one less each step; a unit may act when wait <= 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace as Names
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jax.nn import sigmoid

PSI: dict[str, Callable] = {
    "triangle": lambda v, gamma, width: gamma * jnp.where(jnp.abs(v) < width, 1 - jnp.abs(v) / width, 0.0),
    "boxcar": lambda v, gamma, width: jnp.where(jnp.abs(v) < width, gamma, 0.0),
    "fast_sigmoid": lambda v, gamma, beta: gamma * (1 + beta * jnp.abs(v)) ** -2,
    "arctan": lambda v, gamma, alpha: 0.5 * gamma * alpha / (1 + (0.5 * jnp.pi * alpha * v) ** 2),
    "gaussian": lambda v, gamma, sigma: gamma * jnp.exp(-0.5 * (v / sigma) ** 2),
}


def make_event(surrogate: str, constants: Mapping[str, float]) -> Callable[[jax.Array], jax.Array]:
    """event(v) = 1 if v > 0 else 0, with psi(v) of the named surrogate for its derivative."""

    @jax.custom_jvp
    def event(v: jax.Array) -> jax.Array:
        return jnp.where(v > 0, 1.0, 0.0)

    @event.defjvp
    def _(primals: tuple, tangents: tuple) -> tuple:
        (v,), (dv,) = primals, tangents
        return event(v), PSI[surrogate](v, **constants) * dv

    return event


def select(spike: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """a where the 0/1 value ``spike`` is 1, else b; derivative psi (a - b) + spike da + (1 - spike) db."""
    return spike * a + (1 - spike) * b


class Cell(NamedTuple):
    ports: tuple[str, ...]
    states: tuple[str, ...]
    advance: Callable[..., dict]
    emit: Callable[..., jax.Array]


# -- smooth units ------------------------------------------------------------------------------------------------------
def _rnn(p: Names, s: Names, i: Names, event: Callable, dt: float) -> dict:
    return {"h": jnp.tanh(i.h)}


def _gru(p: Names, s: Names, i: Names, event: Callable, dt: float) -> dict:
    u = sigmoid(i.u)
    return {"h": s.h + u * (jnp.tanh(i.x + sigmoid(i.r) * i.h) - s.h)}


def _rhn(p: Names, s: Names, i: Names, event: Callable, dt: float) -> dict:
    candidate = jnp.tanh(i.c)
    return {"h": candidate + sigmoid(i.f) * (s.h - candidate)}


def _graded(p: Names, s: Names, event: Callable) -> jax.Array:
    return s.h


def _li(p: Names, s: Names, i: Names, event: Callable, dt: float) -> dict:
    return {"v": i.v + p.alpha * (s.v - i.v)}


def _turned(p: Names, s: Names, i: Names) -> tuple[jax.Array, jax.Array]:
    """lambda h + sqrt(1 - |lambda|^2) I in complex numbers."""
    h, drive = jax.lax.complex(*jnp.broadcast_arrays(s.re, s.im)), jax.lax.complex(*jnp.broadcast_arrays(i.re, i.im))
    length = jnp.exp(-jnp.exp(p.nu))
    new = length * jnp.exp(1j * jnp.exp(p.theta)) * h + jnp.sqrt(1 - length**2) * drive
    return jnp.real(new), jnp.imag(new)


def _lru(p: Names, s: Names, i: Names, event: Callable, dt: float) -> dict:
    return dict(zip(("re", "im"), _turned(p, s, i), strict=True))


def _rtu(p: Names, s: Names, i: Names, event: Callable, dt: float) -> dict:
    return dict(zip(("re", "im"), map(jnp.tanh, _turned(p, s, i)), strict=True))


def _elstm(p: Names, s: Names, i: Names, event: Callable, dt: float) -> dict:
    candidate = jnp.tanh(i.z + p.w_z * s.c)
    c = candidate + sigmoid(i.f + p.w_f * s.c) * (s.c - candidate)
    return {"c": c, "h": sigmoid(i.o + p.w_o * c) * c}


# -- event-based units -------------------------------------------------------------------------------------------------
def _threshold_rnn(p: Names, s: Names, i: Names, event: Callable, dt: float) -> dict:
    return {"v": i.v}


def _egru(p: Names, s: Names, i: Names, event: Callable, dt: float) -> dict:
    u = sigmoid(i.u)
    left = s.c - p.theta * event(s.c - p.theta)
    return {"c": (1 - u) * left + u * jnp.tanh(i.x + sigmoid(i.r) * i.h)}


def _egru_2023(p: Names, s: Names, i: Names, event: Callable, dt: float) -> dict:
    thr = sigmoid(p.theta)
    i_u, i_r = (p.a * old + (1 - p.a) * new for old, new in ((s.i_u, i.u), (s.i_r, i.r)))
    i_c = p.a * s.i_c + (1 - p.a) * (i.x + sigmoid(i_r) * i.h)
    left = s.c - event(s.c - thr) * thr
    return {"i_u": i_u, "i_r": i_r, "i_c": i_c, "c": (1 - sigmoid(i_u)) * left + sigmoid(i_u) * jnp.tanh(i_c)}


# -- spiking units -----------------------------------------------------------------------------------------------------
def _cuba_lif(p: Names, s: Names, i: Names, event: Callable, dt: float) -> dict:
    current = p.alpha_s * s.i + i.i
    return {"i": current, "v": p.alpha * s.v + current - p.v_th * event(s.v - p.v_th)}


def _alif(p: Names, s: Names, i: Names, event: Callable, dt: float) -> dict:
    spike = _alif_spike(p, s, event)
    return {"v": p.alpha * s.v + i.v - p.v_th * spike, "a": p.rho * s.a + spike}


def _alif_spike(p: Names, s: Names, event: Callable) -> jax.Array:
    return event(s.v - (p.v_th + p.beta * s.a))


def _adlif(p: Names, s: Names, i: Names, event: Callable, dt: float) -> dict:
    spike = event(s.u - p.v_th)
    w = p.beta * s.w + p.a * s.u + p.b * spike
    return {"w": w, "u": p.alpha * (s.u - p.v_th * spike) + (1 - p.alpha) * (i.u - w)}


def _brf(p: Names, s: Names, i: Names, event: Callable, dt: float) -> dict:
    q = p.gamma * s.q + event(s.u - p.v_th - s.q)
    damping = (jnp.sqrt(1 - (p.delta * p.omega) ** 2) - 1) / p.delta - p.b_offset - q
    old = jax.lax.complex(*jnp.broadcast_arrays(s.u, s.v))
    new = old + p.delta * (jax.lax.complex(*jnp.broadcast_arrays(damping, p.omega)) * old + i.u)
    return {"u": jnp.real(new), "v": jnp.imag(new), "q": q}


def _izhikevich(p: Names, s: Names, i: Names, event: Callable, dt: float) -> dict:
    """Volts and seconds."""
    spike = event((s.v - p.v_th) / p.dv)
    v, u = select(spike, p.c, s.v + i.v), s.u + spike * p.d
    return {"v": v + dt * (4e4 * v**2 + 5e3 * v + 140.0 - u), "u": u + dt * p.a * (p.b * v - u)}


def _lif(p: Names, s: Names, i: Names, event: Callable, dt: float) -> dict:
    spike = _lif_spike(p, s, event)
    listens = (s.wait <= 0) & (stop_gradient(spike) == 0)  # as in Brian2: what stands still does not receive either
    v = select(spike, p.v_reset, jnp.where(listens, s.v + i.v, s.v))
    period = jnp.floor(p.t_ref / dt + 1e-3)
    wait = stop_gradient(jnp.where(spike > 0, period - 1, jnp.maximum(s.wait - 1, 0)))
    return {"v": jnp.where(wait <= 0, p.v_rest + (v - p.v_rest) * jnp.exp(-dt / p.tau), v), "wait": wait}


def _lif_spike(p: Names, s: Names, event: Callable) -> jax.Array:
    return event((s.v - p.v_th) / p.dv) * (s.wait <= 0)


def _adex(p: Names, s: Names, i: Names, event: Callable, dt: float) -> dict:
    spike = _adex_spike(p, s, event)
    v = select(spike, p.v_reset, s.v + i.v)
    w = s.w + spike * p.b
    upswing = p.g_l * p.delta_t * jnp.exp(jnp.minimum((v - p.v_t) / p.delta_t, (p.v_th - p.v_t) / p.delta_t))
    return {"v": v + dt * (p.g_l * (p.e_l - v) + upswing - w) / p.c_m, "w": w + dt * (p.a * (v - p.e_l) - w) / p.tau_w}


def _adex_spike(p: Names, s: Names, event: Callable) -> jax.Array:
    return event((s.v - p.v_th) / p.dv)


CELLS = {
    "rnn": Cell(("h",), ("h",), _rnn, _graded),
    "gru": Cell(("u", "r", "x", "h"), ("h",), _gru, _graded),
    "rhn": Cell(("c", "f"), ("h",), _rhn, _graded),
    "threshold_rnn": Cell(("v",), ("v",), _threshold_rnn, lambda p, s, event: event(s.v)),
    "egru": Cell(("u", "r", "x", "h"), ("c",), _egru, lambda p, s, event: s.c * event(s.c - p.theta)),
    "egru_subramoney_2023": Cell(("u", "r", "x", "h"), ("i_u", "i_r", "i_c", "c"), _egru_2023,
                                 lambda p, s, event: s.c * event(s.c - sigmoid(p.theta))),
    "cuba_lif": Cell(("i",), ("i", "v"), _cuba_lif, lambda p, s, event: event(s.v - p.v_th)),
    "alif": Cell(("v",), ("v", "a"), _alif, _alif_spike),
    "lif": Cell(("v",), ("v", "wait"), _lif, _lif_spike),
    "adex": Cell(("v",), ("v", "w"), _adex, _adex_spike),
    "adlif": Cell(("u",), ("w", "u"), _adlif, lambda p, s, event: event(s.u - p.v_th)),
    "brf": Cell(("u",), ("u", "v", "q"), _brf, lambda p, s, event: event(s.u - p.v_th - s.q)),
    "izhikevich": Cell(("v",), ("v", "u"), _izhikevich, lambda p, s, event: event((s.v - p.v_th) / p.dv)),
    "li": Cell(("v",), ("v",), _li, lambda p, s, event: s.v),
    "lru": Cell(("re", "im"), ("re", "im"), _lru, lambda p, s, event: s.re),
    "rtu": Cell(("re", "im"), ("re", "im"), _rtu, lambda p, s, event: s.re),
    "elstm": Cell(("f", "z", "o"), ("c", "h"), _elstm, _graded),
}  # fmt: skip
