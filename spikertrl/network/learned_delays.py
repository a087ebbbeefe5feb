"""Delays that learn: a synapse with a real delay is one ordinary synapse, a *tap*, at each whole delay that it may take.

The message is interpolated between the two neighbouring steps: with k = floor(d) and f = d - k a synapse of weight w and delay
d delivers w [(1 - f) y(t - k) + f y(t - k - 1)]. That is the sum over whole delays k of the taps w hat(d - k) y(t - k), where
hat(u) = max(0, 1 - |u|). So simulator and learners have ordinary synapses alone, with whole delays. What they call theta is
``net.theta`` with the taps behind it (``Taps.expand``), and what they find for the taps, g_k, becomes the gradient of what
``net.theta`` holds by the chain rule (``Taps.pull_back``), for any learner:

    dL/dw = sum over k of hat(d - k) g_k,      dL/dd = w (g_(k+1) - g_k), k = floor(d).

An influence that is carried is that of the taps: it stays what it is when a delay passes a whole number. At a whole number the
slope is that to its right, at the longest delay that to its left.

Source of the interpolation by taps: Hammouamri, Khalfaoui-Hassani and Masquelier (2023), Learning delays in spiking neural
networks using dilated convolutions with learnable spacings, arXiv:2306.17670; there the kernel is a Gaussian that is narrowed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from ..units import steps
from .elements import DELAY, Elements, NetworkError, Projection
from .weights import per_synapse

Layout = dict[tuple[str, str], tuple[slice, tuple[int, ...]]]


class Taps(NamedTuple):
    """The taps of a network, in the order in which they stand behind its parameters; (taps) each."""

    weight: np.ndarray  # place of the synapse's weight in theta
    delay: np.ndarray  # place of its delay
    step: np.ndarray  # the tap's whole delay
    low: np.ndarray  # the least delay of the synapse
    high: np.ndarray  # the longest
    trained: np.ndarray  # bool: the weight is learned

    def expand(self, theta: np.ndarray) -> np.ndarray:
        """Theta with the taps behind it; a delay beyond its range counts as the end of it.

        >>> a = np.array
        >>> taps = Taps(a([0, 0, 0]), a([1, 1, 1]), a([1, 2, 3]), a([1, 1, 1]), a([3, 3, 3]), a([True] * 3))
        >>> taps.expand(np.array([8.0, 1.25])).tolist()
        [8.0, 1.25, 6.0, 2.0, 0.0]
        >>> taps.pull_back(np.array([8.0, 1.25]), np.array([0.0, 0.0, 1.0, 2.0, 5.0])).tolist()
        [1.25, 8.0]
        """
        share = 1 - np.abs(theta[self.delay].clip(self.low, self.high) - self.step)
        return np.concatenate((theta, (theta[self.weight] * np.maximum(share, 0)).astype(theta.dtype)))

    def pull_back(self, theta: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """The gradient like theta, from one like ``expand(theta)``."""
        n = len(gradient) - len(self.step)
        found, slopes = gradient[:n].copy(), gradient[n:]
        delay = theta[self.delay].clip(self.low, self.high)
        share = np.where(self.trained, np.maximum(1 - np.abs(delay - self.step), 0), 0)
        begin = np.minimum(np.floor(delay), self.high - 1)
        side = (self.step == begin + 1) * 1.0 - (self.step == begin)
        found += np.bincount(self.weight, share * slopes, n)
        found += np.bincount(self.delay, side * theta[self.weight] * slopes, n)
        return found


def delivered(net: Elements) -> Elements:
    """The network as it is run: each projection with delays that learn is one projection for each whole delay."""
    if all(p.bounds is None for p in net.projections):
        return net
    return net._replace(projections=[one for p in net.projections for one in ([p] if p.bounds is None else _taps_of(p))])


def _taps_of(p: Projection) -> list[Projection]:
    """All ports of a tap are learned: the delay is common to them. A line break keeps the name apart from all others."""
    return [
        dataclasses.replace(p, name=f"{p.name}\n{k}", delay=k, bounds=None, weight=None, trained=None) for k in _whole(p.bounds)
    ]


def _whole(bounds: Any) -> range:
    return range(bounds[0], bounds[1] + 1)


def taps(net: Elements, blocks: Layout, end: int, dtype: np.dtype) -> tuple[Taps | None, Layout, int]:
    """The taps behind ``end`` parameters that lie in ``blocks``; their own blocks, and the end of all."""
    rows: list[tuple] = []
    found: Layout = {}
    for p in net.projections:
        if p.bounds is None:
            continue
        for k in _whole(p.bounds):
            for port in p.ports:
                n = p.n_synapses
                found[f"{p.name}\n{k}", port] = slice(end, end + n), (n,)
                weight, delay = (blocks[p.name, name][0].start + np.arange(n) for name in (port, DELAY))
                ends = (np.full(n, x, dtype) for x in (k, *p.bounds))
                rows.append((weight, delay, *ends, np.full(n, port in p.trained_ports)))
                end += n
    return (Taps(*map(np.concatenate, zip(*rows, strict=True))) if rows else None), found, end


def given(p: Projection, delay: Any, longest: Any, lowest: int, dt: float) -> Projection:
    """The projection with delays that learn: ``delay`` and ``max_delay`` of ``connect``, checked.

    Raises
    ------
    NetworkError
        If they do not fit, or a port is named as the delays are.
    """
    where = f"connect {p.name!r}"
    if DELAY in p.ports:
        raise NetworkError(f"{where}: a port is called {DELAY!r}, as delays that learn are; give it another name in the model")
    if callable(delay):
        values: Any = delay
        if longest is None:
            raise NetworkError(f"{where}: delay is a function; say how long delays may become, max_delay=10 for example")
    else:
        values = _begin(p, lowest if delay is None else delay, dt)
        longest = max(lowest + 1, 2 * int(np.ceil(np.max(values, initial=lowest)))) if longest is None else longest
    longest = steps(longest, dt, f"{where}: max_delay")
    if np.ndim(longest) or longest <= lowest:
        raise NetworkError(f"{where}: max_delay is {longest!r} steps; legal: one whole number, at least {lowest + 1}")
    found = dataclasses.replace(p, delay=values, bounds=(lowest, int(longest)))
    return found if callable(values) else dataclasses.replace(found, delay=_checked(found, values))


def _begin(p: Projection, delay: Any, dt: float) -> Any:
    """Delays in steps: one number, or one per synapse in CSR order."""
    what = f"connect {p.name!r}: delay"
    if sparse.issparse(delay):
        return steps(per_synapse(delay, p.indptr, p.indices), dt, what, whole=False)
    found = steps(delay, dt, what, whole=False)
    if np.ndim(found) and np.shape(found) != p.shape:
        raise NetworkError(f"{what} has shape {np.shape(found)}; legal: a number, or one per pair, (post, pre) = {p.shape}")
    return per_synapse(found, p.indptr, p.indices) if np.ndim(found) else found


def _checked(p: Projection, values: Any) -> Any:
    """``values``, if all of them lie in the range."""
    (low, high), found = p.bounds or (0, 0), np.asarray(values)
    if len(wrong := found[~((found >= low) & (found <= high))]):
        raise NetworkError(f"connect {p.name!r}: a delay is {wrong.flat[0]:g} steps; legal: {low} to {high} (max_delay=)")
    return values


def fill(projections: Iterable[Projection], view: Mapping[str, Mapping[str, Any]], rng: np.random.Generator | None) -> None:
    """Write the delays that learn into their views; without ``rng`` only those that need not be drawn."""
    for p in projections:
        if p.bounds is None or (callable(p.delay) and rng is None):
            continue
        into: Any = view[p.name][DELAY]
        data = into.data if sparse.issparse(into) else into.reshape(-1)
        values = p.delay
        if callable(values):
            drawn = steps(values(rng, p.shape), 1.0, f"connect {p.name!r}: delay", whole=False)
            values = _checked(p, per_synapse(np.broadcast_to(drawn, p.shape), p.indptr, p.indices))
        data[...] = values


def none_learned(where: str, projections: Iterable[Projection], error: type[ValueError] = NetworkError) -> None:
    """Raise ``error`` where what can hold whole delays alone is given delays that learn."""
    for p in projections:
        if p.bounds is not None:
            raise error(f"{where}: the delays of {p.name!r} are learned and need not be whole; call net.round_delays() first")


def rounded(projections: Iterable[Projection], view: Mapping[str, Mapping[str, Any]]) -> list[Projection]:
    """All projections, those that learn with whole and fixed delays in their place."""
    found = []
    for p in projections:
        if p.bounds is not None:
            values: Any = view[p.name][DELAY]
            values = values.data if sparse.issparse(values) else values.reshape(-1)
            whole = np.rint(values.clip(*p.bounds)).astype(np.int32)
            alike = len(whole) > 0 and bool((whole == whole[0]).all())
            found.append(dataclasses.replace(p, delay=int(whole[0]) if alike else whole, bounds=None))
        else:
            found.append(p)
    return found
