"""What "exact" is exact for: gradients through a pseudo-derivative, beside derivatives of spike times without one.

Eight neurons with a synaptic current (``cuba_lif``; tau 20 and 5 ms), six channels of three spikes each in the first 30 of 60
ms, a readout that decays with 20 ms and is asked for two numbers at the end, four patterns. Two programs: exact RTRL in
discrete time, and here, in continuous time, neurons whose threshold crossings are found by bisection of the closed solution.
Their times are differentiated as implicit functions, each through those before it, which is the gradient that spike-time
methods (EventProp: Wunderlich and Pehle 2021, Scientific Reports 11:12829; DelGrad; Eventax) compute; central differences check
it.

Printed: how far the answers of the two programs are apart as steps become shorter, the cosines of the two gradients along the
readout's weights (both have the plain derivative there) and along the input's, and the loss in continuous time after Adam went
down either, from weights with which neurons fire and from some with which all are silent.

    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/spike_times.py
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np

import spikertrl as srl

CHANNELS, UNITS, OUTPUTS, LANES, END, TAU_M, TAU_S = 6, 8, 2, 4, 60.0, 20.0, 5.0  # ms
PEAK = float(np.max([math.exp(-t / TAU_M) - math.exp(-t / TAU_S) for t in np.linspace(0, 30, 3001)]))
Gradients = tuple[np.ndarray, np.ndarray]  # along the input's weights (units, channels), the readout's (outputs, units)


class Problem:
    """Spike times (lanes, channels, 3) of the input, in whole ms, and what the readout is to say (lanes, outputs)."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.times = rng.integers(0, 30, (LANES, CHANNELS, 3)).astype(float)
        self.wanted = rng.normal(size=(LANES, OUTPUTS))

    def continuous(self, w: np.ndarray, out: np.ndarray) -> tuple[float, Gradients, np.ndarray, int]:
        """Loss, its gradient, what the readout says, and how many spikes there are."""
        count, faded, moved = 0, np.zeros((LANES, UNITS)), np.zeros((LANES, UNITS, CHANNELS))
        for lane, unit in np.ndindex(LANES, UNITS):
            spikes, slopes = crossings(self.times[lane], w[unit])
            left = np.exp(-(END - np.array(spikes)) / TAU_M)
            faded[lane, unit], count = left.sum(), count + len(spikes)
            moved[lane, unit] = (left / TAU_M) @ np.reshape(slopes, (-1, CHANNELS))
        said = faded @ out.T
        error = (said - self.wanted) / LANES
        gradient = np.einsum("bo,ou,buc->uc", error, out, moved), error.T @ faded
        return 0.5 * LANES * float((error**2).sum()), gradient, said, count

    def spike_times(self, w: np.ndarray, out: np.ndarray) -> Gradients:
        """The gradient alone."""
        return self.continuous(w, out)[1]

    def differences(self, w: np.ndarray, out: np.ndarray, step: float = 1e-5) -> np.ndarray:
        """The loss along the input's weights, by central differences."""
        found = np.zeros_like(w)
        for place in np.ndindex(w.shape):
            kept, ends = w[place], []
            for side in (-step, step):
                w[place] = kept + side
                ends.append(self.continuous(w, out)[0])
            w[place], found[place] = kept, (ends[1] - ends[0]) / (2 * step)
        return found

    def discrete(self, w: np.ndarray, out: np.ndarray, dt: float, width: float) -> tuple[Gradients, np.ndarray]:
        """Gradient and answer by exact RTRL with steps of ``dt`` ms. The voltage is that of continuous time between spikes."""
        keep_m, keep_s, steps = math.exp(-dt / TAU_M), math.exp(-dt / TAU_S), round(END / dt)
        net = srl.Network("float64").add_input("x", CHANNELS, kind="event")
        net.add_population("h", "cuba_lif", UNITS, alpha=keep_m, alpha_s=keep_s, surrogate=srl.surrogates.triangle(1.0, width))
        net.connect("x", "h").add_readout("z", "h", OUTPUTS, decay=keep_m).initialize(0)
        scale = (keep_m - keep_s) / PEAK
        net.theta[...] = 0
        view = net.view(net.theta)
        view["h<-x"]["i"][...], view["z"]["weight"][...] = scale * w, out
        x = np.zeros((steps, LANES, CHANNELS))
        for lane, channel, k in np.ndindex(self.times.shape):
            x[round(self.times[lane, channel, k] / dt), lane, channel] += 1
        _, gradient = srl.gradient(net, srl.RTRL(), x, srl.losses.squared_error(self.wanted, at="last"))
        parts = net.view(gradient)
        return (scale * parts["h<-x"]["i"], parts["z"]["weight"].copy()), srl.simulate(net, x).z[-1]


def crossings(times: np.ndarray, w: np.ndarray) -> tuple[list[float], list[np.ndarray]]:
    """When the voltage of one neuron, closed form, crosses 1 from below (1 is subtracted then), and how that moves with w."""
    grid, spikes, slopes = np.linspace(0, END, 601), [], []

    def kernels(t: np.ndarray, order: int = 0) -> np.ndarray:
        """Each channel's part of the voltage, or its slope in time, for a weight of 1."""
        late = np.asarray(t)[..., None, None] - times
        m, s = (np.exp(-np.maximum(late, 0) / tau) * (-1 / tau) ** order for tau in (TAU_M, TAU_S))
        return np.where(late > 0, m - s, 0).sum(-1) / PEAK

    driven = kernels(grid) @ w
    while True:
        resets = sum((np.where(grid >= t, np.exp(-np.maximum(grid - t, 0) / TAU_M), 0) for t in spikes), np.zeros_like(grid))
        above = driven - resets >= 1
        begin = int(np.searchsorted(grid, spikes[-1], side="right")) if spikes else 0
        up = np.flatnonzero(above[begin + 1 :] & ~above[begin:-1])
        if not len(up):
            return spikes, slopes
        low, high = grid[begin + up[0]], grid[begin + up[0] + 1]
        for _ in range(40):
            middle = 0.5 * (low + high)
            over = kernels(middle) @ w - sum(math.exp(-(middle - t) / TAU_M) for t in spikes) >= 1
            low, high = (low, middle) if over else (middle, high)
        resets = [math.exp(-(high - t) / TAU_M) / TAU_M for t in spikes]
        rising = kernels(high, 1) @ w + sum(resets)
        pulled = sum((reset * slope for reset, slope in zip(resets, slopes, strict=True)), np.zeros(len(w)))
        slopes.append(-(kernels(high) - pulled) / rising)
        spikes.append(high)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """0 where one of them is."""
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / norms if norms else 0.0


def descend(problem: Problem, w: np.ndarray, out: np.ndarray, slope: Callable[..., Gradients], updates: int) -> float:
    """The loss in continuous time after Adam (rate 0.02) went down ``slope``."""
    w, out = w.copy(), out.copy()
    moments = [[np.zeros_like(one), np.zeros_like(one)] for one in (w, out)]
    for k in range(1, updates + 1):
        for array, gradient, (first, second) in zip((w, out), slope(w, out), moments, strict=True):
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient**2 - second)
            array -= 0.02 * first / (1 - 0.9**k) / (np.sqrt(second / (1 - 0.999**k)) + 1e-8)
    return problem.continuous(w, out)[0]


def main(argv: list[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--dt", type=float, nargs="+", default=[1.0, 0.1, 0.02], help="steps in ms (default 1 0.1 0.02)")
    parser.add_argument("--width", type=float, default=0.5, help="half width of the triangle (default 0.5)")
    options = parser.parse_args(argv)
    for seed in range(options.seeds):
        problem, rng = Problem(seed), np.random.default_rng(100 + seed)
        w, out = rng.normal(0.15, 0.15, (UNITS, CHANNELS)), rng.normal(0, 0.5, (OUTPUTS, UNITS))
        loss, (by_time, readout), said, count = problem.continuous(w, out)
        print(f"seed {seed}: {count} spikes, loss {loss:.3f}; times differentiated, and by differences: cosine "
              f"{cosine(by_time, problem.differences(w, out)):.6f}")  # fmt: skip
        for dt in options.dt:
            found, told = problem.discrete(w, out, dt, options.width)
            print(f"  dt {dt:g} ms: answers differ by {np.abs(told - said).max():.3f}; cosine along the readout's weights "
                  f"{cosine(found[1], readout):.4f}, the input's {cosine(found[0], by_time):.3f}", flush=True)  # fmt: skip
        slopes = problem.spike_times, lambda a, b, of=problem: of.discrete(a, b, 1.0, options.width)[0]
        for name, start in (("firing", w), ("silent", 0.2 * w)):
            loss, _, _, count = problem.continuous(start, out)
            timed, pseudo = (descend(problem, start, out, slope, options.updates) for slope in slopes)
            print(f"  {name}, {count} spikes: loss {loss:.3f}, by spike times {timed:.3f}, by pseudo-derivatives {pseudo:.3f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
