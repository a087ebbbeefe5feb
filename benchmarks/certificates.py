"""Bounds on what SnAp-1 loses, tried on networks with events: how many times larger than the loss itself each of them is.

With the exact influence M(t) = J(t) M(t-1) + F(t) and what is kept, A(t) = keep(J(t) A(t-1) + F(t)), the error E = M - A obeys
E(t) = J(t) E(t-1) + R(t), R being what was dropped, and the gradient is off by the sum of lambda(t) E(t), lambda = dL/ds. Hard
bounds follow from the triangle inequality:

* norm: |E(t)| <= |J|_2 |E(t-1)| + |R|_F, one number;
* rows: e(t) <= |J| e(t-1) + |rows of R|, a number a state: as cheap as a forward step;
* blocks: the same for the columns of each unit apart, a number a state and unit;
* signed: blocks, with the signs of J and lambda kept through the whole sequence: what the triangle inequality costs by itself,
  at the price of the exact gradient.

The last column is the certificate of ``srl.Certified``: 16 random directions, risk 1e-6.

    python benchmarks/certificates.py --figure results/certificates.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import spikertrl as srl
from spikertrl.learners.readout import readout_weights
from spikertrl.network.wiring import BIAS, PHI, synapse_ends
from spikertrl.simulation.run import as_input, simulator
from spikertrl.training.gradients import signal_of

NAMES = ("norm", "rows", "blocks", "signed", "certificate")
THRESHOLD = {"egru": lambda level: {"theta": level}, "alif": lambda level: {"v_th": level},
             "lif": lambda level: {"v_th": f"{20 * level}*mV"}}  # fmt: skip


def network(model: str, units: int, level: float, gain: float) -> srl.Network:
    """All-to-all, the weights between units scaled by ``gain``."""
    net = srl.Network("float64").add_input("x", 8).add_population("h", model, units, **THRESHOLD[model](level))
    net.connect("x", "h").connect("h", "h").add_readout("z", "h", 2).initialize(0)
    for weights in net.view(net.theta)["h<-h"].values():
        weights *= gain
    return net


def tuned(model: str, units: int, activity: float, gain: float, x: np.ndarray) -> tuple[srl.Network, float]:
    """The network whose threshold gives the share of firing units nearest to ``activity``, and that share."""
    low, high, tried = 1e-3, 8.0, []
    for _ in range(16):
        level = float(np.sqrt(low * high))
        net = network(model, units, level, gain)
        tried.append((net, srl.simulate(net, x).activity))
        low, high = (level, high) if tried[-1][1] > activity else (low, level)
    return min(tried, key=lambda one: abs(np.log((one[1] + 1e-9) / activity)))


class Steps:
    """The step Jacobians J (T, R, R), immediate terms F and lambda of one run, as dense matrices; delays of one step."""

    def __init__(self, net: srl.Network, x: np.ndarray, loss: srl.losses.Loss) -> None:
        machine, w = simulator(net), net.wiring
        tape = machine.run(machine.start(1), as_input(net, x))
        self.w, self.T, self.N = w, len(x), w.n_units
        S, G, Q = self.S, self.G, self.Q = int(w.S[0]), int(w.G[0]), int(w.Q[0])
        shapes = {"A": (S, S), "B": (S, G), "P": (S, Q), "o": (S,), "q": (Q,)}
        self.of = {n: getattr(tape, n).reshape(self.T, *shape, self.N) for n, shape in shapes.items()}
        self.messages = tape.messages[:, 0]
        delta = signal_of(net, loss, tape, 0, self.T, ends=True).dz @ readout_weights(w, net.theta)
        self.lam = (delta[:, 0, :, None] * self.of["o"].transpose(0, 2, 1)).reshape(self.T, -1)
        _, post, pre = synapse_ends(w)
        self.W = np.zeros((G, self.N, self.N))
        np.add.at(self.W, (w.syn_port, post, pre), net.theta[w.syn_theta])
        self.active = float(tape.active(w)[0].mean()) / self.N

    def jacobian(self, t: int) -> np.ndarray:
        """ds(t)/ds(t-1)."""
        N, S, units = self.N, self.S, np.arange(self.N)
        found = np.zeros((N, S, N, S))
        found[units, :, units, :] = self.of["A"][t].transpose(2, 0, 1)
        if t:
            found += self._through(t).reshape(N, S, N, 1) * self.of["o"][t - 1].T
        return found.reshape(N * S, N * S)

    def _through(self, t: int) -> np.ndarray:
        """ds(t)/dy(t-1) through synapses."""
        return np.einsum("sgi,gij->isj", self.of["B"][t], self.W).reshape(self.N * self.S, self.N)

    def immediate(self, t: int) -> np.ndarray:
        """F(t): by this step's own terms, and by what trained parameters did to the messages of the last one."""
        w, columns, found = self.w, np.arange(len(self.w.col_theta)), np.zeros((self.N * self.S, len(self.w.col_theta)))
        phi, bias, unit, port = w.col_source == PHI, w.col_source == BIAS, w.col_unit, w.col_port
        value = np.where(bias, 1.0, self.messages[len(self.messages) - self.T + t - w.col_delay, w.col_source])
        for s in range(self.S):
            found[unit[~phi] * self.S + s, columns[~phi]] = self.of["B"][t][s, port[~phi], unit[~phi]] * value[~phi]
            found[unit[phi] * self.S + s, columns[phi]] = self.of["P"][t][s, port[phi], unit[phi]]
        if t and phi.any():
            found[:, phi] += self._through(t)[:, unit[phi]] * self.of["q"][t - 1][port[phi], unit[phi]]
        return found


def looseness(steps: Steps) -> tuple[float, float, dict[str, float]]:
    """Distance of SnAp-1 to the exact gradient, both over the norm of SnAp-1's (readout left out), and bounds over distance."""
    w, N, R = steps.w, steps.N, steps.N * steps.S
    mask = np.repeat(np.arange(N), steps.S)[:, None] == w.col_unit
    M, A = np.zeros((2, R, len(w.col_theta)))
    gradients, bounds, jacobians, dropped = np.zeros((2, len(w.col_theta))), dict.fromkeys(NAMES, 0.0), [], []
    norm, e, blocks, of_blocks = 0.0, np.zeros(R), np.zeros((R, N)), np.zeros(N)
    for t in range(steps.T):
        J, F, lam = steps.jacobian(t), steps.immediate(t), steps.lam[t]
        M, full = J @ M + F, J @ A + F
        A = full * mask
        lost = full - A
        rows, by_unit = np.linalg.norm(lost, axis=1), np.sqrt(np.add.reduceat(lost**2, w.col_ptr[:-1], 1))
        norm = np.linalg.norm(J, 2) * norm + np.linalg.norm(lost)
        e, blocks = abs(J) @ e + rows, abs(J) @ blocks + by_unit
        bounds["norm"] += float(np.linalg.norm(lam) * norm)
        bounds["rows"] += abs(lam) @ e
        of_blocks += abs(lam) @ blocks
        gradients += lam @ M, lam @ A
        jacobians.append(J)
        dropped.append(by_unit)
    bounds["blocks"] = float(np.linalg.norm(of_blocks))
    adjoint, total = np.zeros(R), np.zeros(N)
    for J, lam, by_unit in zip(jacobians[::-1], steps.lam[::-1], dropped[::-1], strict=True):
        adjoint = adjoint + lam
        total += abs(adjoint) @ by_unit
        adjoint = adjoint @ J
    bounds["signed"] = float(np.linalg.norm(total))
    distance, size = float(np.linalg.norm(gradients[0] - gradients[1])), float(np.linalg.norm(gradients[1]))
    return distance, size, {name: value / distance for name, value in bounds.items()}


def measure(model: str, units: int, T: int, activity: float, gain: float) -> tuple[list, dict[str, float]]:
    """One line of the table: network, share of firing and of gradient-active units, gain, relative distance; and the bounds."""
    rng = np.random.default_rng(0)
    x, loss = 1.0 * (rng.random((T, 1, 8)) < 0.2), srl.losses.squared_error(rng.normal(size=(T, 1, 2)))
    net, share = tuned(model, units, activity, gain, x)
    steps = Steps(net, x, loss)
    distance, size, bounds = looseness(steps)
    table = srl.compare(net, [srl.RTRL(), srl.SnAp(1)], x, loss, certify=16)
    told, (exact, found) = table.certificate["SnAp(order=1)"], table.gradients.values()
    assert abs(np.linalg.norm(exact - found) - distance) < 1e-8 * distance, "two ways to compute one distance"
    bounds["certificate"] = told.bound / distance
    assert min(bounds.values()) > 1 - 1e-9, "a bound is below what it bounds"
    return [model, units, T, share, steps.active, gain, distance / size], bounds


def draw(rows: list, path: str) -> None:
    """Bounds over distance against the distance; where a bound reaches the norm of the gradient it says nothing any more."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    loss = np.array([line[-1] for line, _ in rows])
    for name, marker in zip(NAMES, "xv^so", strict=True):
        axes.loglog(loss, [bounds[name] for _, bounds in rows], marker, label=name, alpha=0.8, fillstyle="none")
    reach = np.geomspace(loss.min(), loss.max())
    axes.loglog(reach, 1 / reach, "k--", lw=0.8, label="norm of the gradient")
    axes.set(xlabel="distance of SnAp-1 to the exact gradient / norm", ylabel="bound / distance", ylim=(1, 1e6))
    axes.legend(fontsize="small")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--models", nargs="+", default=["egru", "lif", "alif"], choices=sorted(THRESHOLD))
    options.add_argument("--units", nargs="+", type=int, default=[32])
    options.add_argument("--steps", nargs="+", type=int, default=[64])
    options.add_argument("--activity", nargs="+", type=float, default=[0.01, 0.03, 0.1, 0.3])
    options.add_argument("--gain", nargs="+", type=float, default=[0.3, 1.0, 2.0])
    options.add_argument("--figure")
    chosen = options.parse_args()
    print("| model | units | steps | firing | active | gain | distance |", " | ".join(NAMES), "|")
    rows = []
    for model in chosen.models:
        for units in chosen.units:
            for T in chosen.steps:
                for activity in chosen.activity:
                    for gain in chosen.gain:
                        line, bounds = measure(model, units, T, activity, gain)
                        rows.append((line, bounds))
                        cells = [f"{cell:.2g}" if isinstance(cell, float) else str(cell) for cell in line]
                        print("|", " | ".join(cells + [f"{bounds[n]:.2g}" for n in NAMES]), "|", flush=True)
    if chosen.figure:
        draw(rows, chosen.figure)


if __name__ == "__main__":
    main()
