"""The adjoint of a tape: backpropagation as products of matrices where synapses are dense and as loops where they are not.

Backwards in time (lambda = dL/ds, gamma = dL/dI; arrays flat as on the tape):

    ybar_j(t) = dL/dy_j(t) + sum over synapses j -> i of theta_c gamma_i(t + d_c)
    lambda(t) = A(t+1)^T lambda(t+1) + o(t) ybar(t),    gamma(t) = B(t)^T lambda(t)
    dL/dtheta_c += gamma_i(t) y_j(t - d_c),    dL/dphi += P(t)^T lambda(t) + q(t) ybar(t)

A step sends gamma back through the synapses; their own gradients follow for all steps of the tape at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from ....network.projections import Link
from ....network.wiring import Wiring
from ....tape import Tape
from ....threads import in_parts, threads_for
from ..choose import tuning
from ..records import linear
from ..weights import dense_weights, outgoing
from .kernel import all_inside, back_dense, inside, send_sparse, to_active, weights_sparse
from .tables import dense_links, own_synapses, tables_of


@dataclass
class Adjoint:
    """What passes from a tape to the one before: lambda A (flat like o), and ybar of the last steps, ring (D + 1, B, N)."""

    wiring: Wiring
    batch: int
    carry: np.ndarray = field(init=False)
    ring: np.ndarray = field(init=False)
    phi: np.ndarray = field(init=False)  # gradients of the units' own parameters, flat like q for one lane

    def __post_init__(self) -> None:
        w = self.wiring
        self.carry = np.zeros(self.batch * w.n_states, w.dtype)
        self.ring = np.zeros((max(w.row_history, 1) + 1, self.batch, w.n_units), w.dtype)
        self.phi = np.zeros(int(w.Q.sum()), w.dtype)

    def forget(self, lanes: np.ndarray) -> None:
        """Nothing reaches further back in these lanes (B, bool)."""
        if not lanes.any():
            return
        self.ring[:, lanes] = 0
        w = self.wiring
        tables = tables_of(w)
        for first, n, S in zip(tables.first, tables.size, tables.S, strict=True):
            at = w.start_o[first] * self.batch
            self.carry[at : at + self.batch * S * n].reshape(self.batch, S, n)[lanes] = 0

    def back(self, tape: Tape, direct: np.ndarray, first: int, thetas: np.ndarray | None = None) -> np.ndarray:
        """Steps len(direct)-1 .. first of a tape; ``direct`` (steps, B, N) is dL/dy through the readouts and the loss.

        ``thetas`` (steps, parameters): the parameters of each step, if they are not the same for all. Returns gamma, flat as
        (steps, ``B * gammas``), see ``tables``; ``into_parameters`` makes the gradient of it.
        """
        w, batch, tables = self.wiring, self.batch, tables_of(self.wiring)
        steps = len(direct) - first
        gamma = np.empty((steps, batch * tables.gammas), w.dtype)
        jacobians, into = linear(tape), (batch, tables.start, tables.first, self.carry, self.phi)
        sending = [link for link in w.links if link.source >= w.n_channels]
        dense = dense_links(w) if thetas is None else None
        filled: dict[int, np.ndarray] = {}  # first unit of a link -> its weights, zeros in the gaps of its mask
        with threads_for(batch * tables.work):
            if dense is not None:
                back_dense(w.tables, jacobians, direct, self.ring, tape.start, first, *into, gamma, *dense, tape.theta)
            for t in range(len(direct) - 1, first - 1, -1) if dense is None else ():
                now, k = (tape.start + t) % len(self.ring), t - first
                inside(t, w.tables, jacobians, direct[t], self.ring[now], *into, gamma[k])
                self.ring[now] = 0
                for n, link in enumerate(sending):
                    errors = _ports(w, gamma[k : k + 1], link, batch)[0]
                    weight = (tape.theta if thetas is None else thetas[t])[link.theta]
                    if thetas is None and _many_errors(link, errors):
                        if n not in filled:
                            filled[n] = _filled(link, weight)
                        weight = filled[n]
                    self._send(link, weight, errors, tape.start + t)
        return gamma

    def inside_units(self, tape: Tape, ybar: np.ndarray) -> np.ndarray:
        """gamma, as ``back`` returns it, where ``ybar`` (tau, B, N) = dL/dy, all that follows included, is known: only the
        units' own paths are left."""  # fmt: skip
        w, tables = self.wiring, tables_of(self.wiring)
        gamma = np.empty((tape.tau, self.batch * tables.gammas), w.dtype)
        all_inside(w.tables, linear(tape), ybar, self.batch, tables.start, tables.first, self.carry, self.phi, gamma)
        return gamma

    def immediate(self, tape: Tape, lam: np.ndarray) -> np.ndarray:
        """gamma, as ``back`` returns it, of a tape whose ``lam`` (tau, B, N) = dL/ds is known, of units with one state.

        Adds P^T lambda to the gradients of the units' own parameters; q ybar is added by ``messages``.
        """
        w, batch, tables, tau = self.wiring, self.batch, tables_of(self.wiring), tape.tau
        gamma = np.empty((tau, batch * tables.gammas), w.dtype)
        for i, n, G, Q in zip(tables.first, tables.size, tables.G, w.Q[tables.first], strict=True):
            mine, shape = lam[:, :, None, i : i + n], (tau, batch, G, n)
            at, into, wide = w.start_B[i] * batch, tables.start[i] * batch, batch * G * n
            np.multiply(tape.B[:, at : at + wide].reshape(shape), mine, out=gamma[:, into : into + wide].reshape(shape))
            at = w.start_P[i] * batch
            own = np.einsum("tbqn,tbn->qn", tape.P[:, at : at + batch * Q * n].reshape(tau, batch, Q, n), mine[:, :, 0])
            self.phi[w.start_q[i] : w.start_q[i] + Q * n] += own.reshape(-1)
        return gamma

    def messages(self, tape: Tape, gamma: np.ndarray, direct: np.ndarray, lists: bool) -> None:
        """phi += q ybar at every step: what units' own parameters do to their messages, which arrive after one step.

        Units have one state, so that gamma lies as B does. ``lists``: from lists of synapses, not as a product of matrices, and
        for gradient-active units alone: others have q = 0.
        """
        w, batch, tables, tau = self.wiring, self.batch, tables_of(self.wiring), tape.tau
        if not len(self.phi):
            return
        ybar = direct.copy()
        if len(w.pair_pre):  # else nothing comes from other units, and there are no tables
            self._through_synapses(tape, gamma, lists, ybar)
        for i, n, Q in zip(tables.first, tables.size, w.Q[tables.first], strict=True):
            at = w.start_q[i] * batch
            q = tape.q[:, at : at + batch * Q * n].reshape(tau, batch, Q, n)
            self.phi[w.start_q[i] : w.start_q[i] + Q * n] += np.einsum("tbqn,tbn->qn", q, ybar[:, :, i : i + n]).reshape(-1)

    def _through_synapses(self, tape: Tape, gamma: np.ndarray, lists: bool, ybar: np.ndarray) -> None:
        """ybar(t) += what gamma(t + 1) says through the synapses."""
        w, batch, tables = self.wiring, self.batch, tables_of(self.wiring)
        W = None if lists else dense_weights(w, tape.theta)
        if W is None:
            count, units, _ = tape.active(w)
            weight = outgoing(w, tape.theta).weight
            to_active(count, units, w.out_ptr, w.out_post, weight, w.heard_ports, w.G, w.size, w.local, w.start_B, gamma, ybar)
            return
        for i, n, G in zip(tables.first, tables.size, tables.G, strict=True):
            errors = gamma[1:, tables.start[i] * batch : (tables.start[i] + G * n) * batch].reshape(-1, G * n)
            ybar[:-1] += (errors @ W[0, :G, i : i + n].reshape(G * n, -1)).reshape(len(ybar) - 1, batch, w.n_units)

    def count(self, gamma: np.ndarray) -> int:
        """Multiply-adds with which gamma (as ``back`` returns it) was sent back, and met messages, where synapses are lists."""
        tables, done = tables_of(self.wiring), 0
        for i, n, G in zip(tables.first, tables.size, tables.G, strict=True):
            at = tables.start[i] * self.batch
            alive = (gamma[:, at : at + self.batch * G * n].reshape(-1, G, n) != 0).any(1).sum(0)
            done += int(alive @ tables.reads[i : i + n])
        return done

    def _send(self, link: Link, weight: np.ndarray, gamma: np.ndarray, time: int) -> None:
        """ybar of the sources of a link, from gamma (B, ports, post) of one step; ``weight`` by lists, or as ``_filled``."""
        source = link.source - self.wiring.n_channels
        if link.is_dense or weight.ndim > 1:
            into = self.ring[(time - int(link.delay)) % len(self.ring)][:, source : source + link.shape[1]]
            into += gamma.reshape(len(gamma), -1) @ weight.reshape(-1, link.shape[1])
        else:
            weight, gamma = weight.reshape(len(link.ports), -1), np.ascontiguousarray(gamma)
            given = (gamma, weight, link.indptr, link.indices, link.delays, source, time, self.ring)
            in_parts(lambda part: send_sparse(*given, part.start, part.stop), len(gamma))

    def own_parameters(self, gradient: np.ndarray) -> None:
        """Add what has come together for the units' own parameters, once after the last tape."""
        tables = tables_of(self.wiring)
        gradient[tables.own] += self.phi[tables.place]


def _many_errors(link: Link, errors: np.ndarray) -> bool:
    """Whether a product of matrices takes errors (B, ports, post) back through a mask faster than its list does."""
    values, (post, pre) = tuning(), link.shape
    large = len(link.ports) * post * pre > values.product_elements
    if link.is_dense or np.ndim(link.delay) or len(errors) < values.error_product_lanes or large:
        return False
    share, some = link.n_synapses / (post * pre), errors[:2, 0]  # a sample: to count all would take as long
    return bool(share > values.error_product and np.count_nonzero(some) * share > values.error_product * some.size)


def _filled(link: Link, weight: np.ndarray) -> np.ndarray:
    """Weights of a mask, zeros in its gaps, (ports, post, pre)."""
    found = np.zeros((len(link.ports), *link.shape), weight.dtype)
    found[:, link.posts, link.indices] = weight.reshape(len(link.ports), -1)
    return found


Part = tuple[Tape, np.ndarray, int]
"""A tape, gamma of some of its steps (flat, as ``Adjoint.back`` returns it), and the first of them."""


def into_parameters(w: Wiring, parts: Sequence[Part], gradient: np.ndarray) -> int:
    """Add dL/dtheta of synapses and biases; several short tapes are one product of matrices.

    Returns multiply-adds in the gaps of masks that were done as a product, too.
    """
    batch, tables, gaps = parts[0][0].batch, tables_of(w), 0
    with threads_for(sum(len(gamma) for _, gamma, _ in parts) * batch * tables.work):
        for link in w.links:
            if link.is_trained:
                product = link.is_dense or _many_messages(link, parts)
                found = (_dense_weights if product else _listed_weights)(w, link, parts)
                if product and not link.is_dense:
                    found = found.reshape(-1, *link.shape)[:, link.posts, link.indices]
                    missing = link.shape[0] * link.shape[1] - link.n_synapses
                    gaps += sum(len(gamma) for _, gamma, _ in parts) * batch * len(link.ports) * missing
                if not link.trained.all():
                    found *= link.trained[:, None]
                gradient[link.theta] += found.reshape(-1)
    for i, n, G, (port, unit, theta) in zip(tables.first, tables.size, tables.G, tables.bias, strict=True):
        for _, gamma, _ in parts:
            at = tables.start[i] * batch
            rows = gamma[:, at : at + batch * G * n].reshape(len(gamma) * batch, G * n)
            gradient[theta] += (np.ones(len(rows), w.dtype) @ rows)[port * n + unit]
    return gaps


def into_inputs(w: Wiring, tape: Tape, gamma: np.ndarray) -> np.ndarray:
    """dL/dx (tau, B, channels), from gamma (flat, as ``Adjoint.back`` returns it) of all steps of a tape."""
    found = np.zeros((tape.tau, tape.batch, w.n_channels), w.dtype)
    for link in (link for link in w.links if link.source < w.n_channels):
        post, pre = link.shape
        errors, into = _ports(w, gamma, link, tape.batch), found[:, :, link.source : link.source + pre]
        weights = tape.theta[link.theta].reshape(len(link.ports), -1)
        for delay in np.unique(link.delays[link.delays < tape.tau]):
            late = errors[delay:]
            for port, row in enumerate(weights):
                data = np.where(link.delays == delay, row, 0)
                matrix = (
                    data.reshape(post, pre)
                    if link.is_dense
                    else sparse.csr_array((data, link.indices, link.indptr), link.shape)
                )
                sent = late[:, :, port].reshape(-1, post) @ matrix
                into[: tape.tau - delay] += sent.reshape(len(late), tape.batch, pre)
    return found


def _all_ports(w: Wiring, gamma: np.ndarray, link: Link, batch: int) -> np.ndarray:
    """gamma of the units that a link reaches, at all their ports, (steps, B, ports, post)."""
    at, G, n = tables_of(w).start[link.target] * batch, w.G[link.target], link.shape[0]
    return gamma[:, at : at + batch * G * n].reshape(len(gamma), batch, G, n)


def _ports(w: Wiring, gamma: np.ndarray, link: Link, batch: int) -> np.ndarray:
    """gamma at the ports of a link, (steps, B, ports, post)."""
    return _all_ports(w, gamma, link, batch)[:, :, link.ports]


def _dense_weights(w: Wiring, link: Link, parts: Sequence[Part]) -> np.ndarray:
    """dL/dtheta of a link with one delay, of all with all: (ports, post * pre)."""
    most = 2 * len(link.ports) >= w.G[link.target]  # of the ports: to leave some out costs more than their product
    sent = [_said(link, part).reshape(-1, link.shape[1]) for part in parts]
    ports = [(_all_ports if most else _ports)(w, gamma, link, tape.batch) for tape, gamma, _ in parts]
    errors = [mine.reshape(mine.shape[0] * mine.shape[1], -1) for mine in ports]
    found = (_together(errors).T @ _together(sent)).reshape(-1, link.shape[0] * link.shape[1])
    return found[link.ports] if most else found


def _together(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _said(link: Link, part: Part) -> np.ndarray:
    """What the sources of a link with one delay said, as it arrived at the steps of gamma, (steps, B, pre)."""
    tape, gamma, first = part
    low = tape.history + first - int(link.delay)
    return tape.messages[low : low + len(gamma), :, link.source : link.source + link.shape[1]]


def _many_messages(link: Link, parts: Sequence[Part]) -> bool:
    """Whether so many synapses of a mask with one delay had something to say that a product of matrices is faster."""
    values = tuning()
    if np.ndim(link.delay) or sum(len(gamma) * tape.batch for tape, gamma, _ in parts) < values.message_product_rows:
        return False
    said = [_said(link, part) for part in parts]
    share = sum(map(np.count_nonzero, said)) / sum(y.size for y in said)
    return bool(share * link.n_synapses > values.message_product * link.shape[0] * link.shape[1])


def _listed_weights(w: Wiring, link: Link, parts: Sequence[Part]) -> np.ndarray:
    """dL/dtheta of a link with lists, (ports, synapses)."""
    found = np.zeros((len(link.ports), link.n_synapses), w.dtype)
    for tape, gamma, first in parts:
        errors, y = np.ascontiguousarray(_ports(w, gamma, link, tape.batch)), np.ascontiguousarray(tape.messages)
        past = int(link.delays.max(initial=0))
        given = (errors, y, tape.history + first, link.source, past, *own_synapses(w, link), found)
        in_parts(lambda part, given=given: weights_sparse(*given, part.start, part.stop), link.shape[1])
    return found
