"""How noisy are the unbiased learners? Cosine between estimate and exact gradient, against time, size and activity.

Claim (Mujika, Meier and Steger 2018, arXiv 1805.10842, figure 4): the noise of KF-RTRL does not grow with time nor with the
number of units, UORO's grows with the number of units, and one KF-RTRL sample is about as good as n averaged UORO samples.

Setting: untrained recurrent highway network (weights ~ N(0, 0.01^2)), one lane, characters of the King James text that comes
with the package (the paper reads the Penn Treebank), cross-entropy at the last step read, gradient of the recurrent parameters.
Expected, from an independent run of the same equations on the Penn Treebank: KF-RTRL 0.72 at n = 16 to 0.67 at n = 256, UORO
0.16 to 0.06, UORO averaged over n samples 0.65, the mean of 8 KF-RTRL samples 0.97 and above.

Beyond the paper: the same after training, and on event-based GRUs, whose threshold sets how many units are gradient-active
(send sensitivity); runs in which nothing speaks at the end have no gradient and do not count.

    spikertrl run mujika_2018_noise
    spikertrl run mujika_2018_noise --parts size --sizes 16 32 64 128 256 --repeats 20
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import _common as common
import numpy as np
from tqdm import tqdm

import spikertrl as srl
from spikertrl.models import load
from spikertrl.simulation.run import simulator
from spikertrl.threads import one_pool
from spikertrl.training.gradients import signal_of

READ = 100  # characters before the gradient is looked at
TIMES = [10, 50, 100, 300, 1000, 2000]
THRESHOLDS = [0.1, 0.3, 0.5, 0.7, 0.8]  # of the event-based units
Learners = Callable[[int, int], dict[str, Any]]  # (units, seed) -> name -> learner


def highway(units: int, symbols: int, seed: int) -> srl.Network:
    """An untrained RHN with weights of standard deviation 0.01, as in the paper."""

    def weight(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        return rng.normal(0.0, 0.01, shape)

    net = srl.Network().add_input("x", symbols).add_population("h", load("rhn"), units)
    net.connect("x", "h", weight=weight).connect("h", "h", weight=weight)
    return net.add_readout("z", "h", symbols, weight=weight).initialize(seed)


def trained(units: int, symbols: int, seed: int, steps: int) -> srl.Network:
    """The same network after some training by truncated BPTT."""
    net = highway(units, symbols, seed)
    task = srl.tasks.text(tau=25, split=(1.0, 0.0, 0.0))
    srl.fit(net, task, srl.BPTT(25, 25), srl.optimizers.adam(3e-3), steps=steps, batch=32, progress=False)
    return net


def events(units: int, symbols: int, seed: int, theta: float) -> srl.Network:
    """Event-based GRU with strong input weights and a narrow pseudo-derivative."""

    def strong(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        return rng.normal(0.0, 1.0, shape)

    net = srl.Network().add_input("x", symbols)
    net.add_population("h", load("egru"), units, theta=theta, surrogate=srl.surrogates.triangle(0.7, 0.1))
    return net.connect("x", "h", weight=strong).connect("h", "h").add_readout("z", "h", symbols).initialize(seed)


def cosines(
    net: srl.Network, steps: list[int], learners: dict[str, Any], seed: int
) -> tuple[dict[str, list[float]], float, float]:
    """Cosine of every learner to the exact gradient of the loss of one step, for each of ``steps``; activity of the run."""
    task = srl.tasks.text(split=(1.0, 0.0, 0.0))
    x, labels = text(task, max(steps), seed)
    w, machine, sent, active = net.wiring, simulator(net), [], []
    found: dict[str, list[float]] = {name: [] for name in learners}
    exact = [srl.gradient(net, srl.BPTT(), x[:last], last_only(labels[:last]))[1][w.col_theta].astype(float) for last in steps]
    state, memories = machine.start(1), {name: learner.init(net, 1) for name, learner in learners.items()}
    with one_pool():
        for first, last, reference in zip([0, *steps], steps, exact, strict=False):
            tape = machine.run(state, x[first:last])
            told = signal_of(net, last_only(labels[first:last]), tape, 0, last - first)
            for name, learner in learners.items():
                estimate = learner.update(memories[name], tape, told)[w.col_theta].astype(float)
                size = np.linalg.norm(estimate) * np.linalg.norm(reference)
                found[name].append(float(estimate @ reference / size) if size else np.nan)  # all silent: no gradient
            sent.append(np.count_nonzero(tape.units(w)) / tape.units(w).size)
            active.append(float(tape.active(w)[0].mean()) / w.n_units)
    return found, float(np.mean(sent)), float(np.mean(active))


def last_only(labels: np.ndarray) -> srl.losses.Loss:
    """Cross-entropy of the last step."""
    return srl.losses.cross_entropy(labels, at=np.arange(len(labels)) == len(labels) - 1)


def text(task: Any, length: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One-hot characters (length, 1, symbols) from a place that depends on the seed, and the next ones."""
    start = seed * 997 % (len(task.symbols) - length - 1)
    piece = task.symbols[start : start + length + 1]
    return np.eye(task.n_in, dtype=np.float32)[piece[:-1]][:, None], piece[1:, None]


def family(units: int, seed: int, averaged: bool = True) -> dict[str, Any]:
    """The learners of the figure, with signs of this seed."""
    found: dict[str, Any] = {"KF-RTRL": srl.KFRTRL(seed=seed), "8-KF-RTRL-AVG": srl.KFRTRL(8, seed), "8-OK": srl.OK(8, seed)}
    found["UORO"] = srl.UORO(seed=seed)
    if averaged:
        found["UORO-AVG(n)"] = srl.UORO(units, seed)
    return found | {"SnAp-1": srl.SnAp(1), "Immediate": srl.Immediate()}


def rows(key: str, value: Any, drawn: dict[str, list[float]], **more: float) -> list[dict[str, Any]]:
    """One row a learner: mean, standard deviation and standard error over the repeats."""
    return [
        {
            "learner": name,
            key: value,
            "mean": float(np.mean(v)),
            "sd": float(np.std(v)),
            "error": float(np.std(v) / len(v) ** 0.5),
        }
        | more
        for name, values in drawn.items()
        if (v := [value for value in values if np.isfinite(value)])
    ]


def collect(into: dict[str, list[float]], found: dict[str, list[float]]) -> None:
    for name, values in found.items():
        into.setdefault(name, []).extend(values)


def against_size(sizes: list[int], repeats: int, symbols: int) -> list[dict[str, Any]]:
    """After ``READ`` characters, for every number of units; the mean of n UORO samples is dear and repeated less often."""
    found = []
    for units in sizes:
        drawn: dict[str, list[float]] = {}
        for seed in tqdm(range(repeats), desc=f"n = {units}"):
            few = seed < max(2, repeats * 32 // units)
            collect(drawn, cosines(highway(units, symbols, seed), [READ], family(units, seed, few), seed)[0])
        found += rows("n", units, drawn)
    return found


def against_time(units: int, times: list[int], repeats: int, symbols: int, training: int) -> list[dict[str, Any]]:
    """Along one text, for an untrained network (``training`` = 0) or a trained one."""
    drawn: list[dict[str, list[float]]] = [{} for _ in times]
    net = trained(units, symbols, 0, training) if training else None
    for seed in tqdm(range(repeats), desc=f"time, after {training} updates"):
        found = cosines(net or highway(units, symbols, seed), times, family(units, seed, False), seed)[0]
        for place, into in enumerate(drawn):
            collect(into, {name: [values[place]] for name, values in found.items()})
    return [row for step, into in zip(times, drawn, strict=True) for row in rows("step", step, into)]


def against_activity(units: int, thresholds: list[float], repeats: int, symbols: int) -> list[dict[str, Any]]:
    """On event-based GRUs, for several thresholds."""
    found = []
    for theta in thresholds:
        drawn: dict[str, list[float]] = {}
        shares = []
        for seed in tqdm(range(repeats), desc=f"threshold {theta}"):
            cosine, *both = cosines(events(units, symbols, seed, theta), [READ], family(units, seed, False), seed)
            collect(drawn, cosine)
            shares.append(both)
        activity, active = np.mean(shares, 0)
        found += rows("theta", theta, drawn, activity=float(activity), gradient_activity=float(active))
    return found


def figure(found: list[dict[str, Any]], x: str, path: Path, label: str) -> None:
    """Mean cosine, one line a learner, bands of one standard deviation."""
    ax = common.axes()
    for name in dict.fromkeys(row["learner"] for row in found):
        mine = [row for row in found if row["learner"] == name]
        at, mean, sd = (np.array([row[key] for row in mine]) for key in (x, "mean", "sd"))
        (line,) = ax.plot(at, mean, label=name, marker="o", markersize=3)
        ax.fill_between(at, mean - sd, mean + sd, color=line.get_color(), alpha=0.2, linewidth=0)
    ax.set(xscale="log", xlabel=label, ylabel="cosine to the exact gradient", ylim=(-0.2, 1.05))
    ax.legend(frameon=False, fontsize=8)
    ax.figure.savefig(path, dpi=150)


PARTS = {  # name -> (key of the rows, x of the figure, its label)
    "size": ("n", "n", "hidden units"),
    "time": ("step", "step", "characters read"),
    "trained": ("step", "step", "characters read, after training"),
    "events": ("theta", "gradient_activity", "share of gradient-active units"),
}


def measure(part: str, args: Any, symbols: int) -> list[dict[str, Any]]:
    """The rows of one part."""
    repeats, quick = (3 if args.quick else args.repeats), args.quick
    if part == "size":
        return against_size([8, 16] if quick else args.sizes, repeats, symbols)
    if part == "events":
        return against_activity(8 if quick else args.units, [0.1, 0.5] if quick else THRESHOLDS, repeats, symbols)
    training = 0 if part == "time" else 10 if quick else 400
    return against_time(8 if quick else args.units, [10, 50] if quick else TIMES, repeats, symbols, training)


def main(argv: list[str] | None = None) -> int:
    """Run the parts, print the tables, write results and figures."""
    options = common.parser("mujika_2018_noise", __doc__, READ, 1)
    options.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    options.add_argument("--units", type=int, default=64, help="of the networks watched over time, and of the event-based ones")
    options.add_argument("--repeats", type=int, default=20, help="trajectories (and sign draws) per point")
    options.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    args = options.parse_args(argv)
    symbols = srl.tasks.text().n_in
    for part in args.parts:
        key, x, label = PARTS[part]
        path = args.out / f"{'quick_' if args.quick else ''}{part}.json"
        found = common.load(path, args.again)
        found = found or common.store(path, {"rows": measure(part, args, symbols)})
        common.write_csv(path.with_suffix(".csv"), found["rows"])
        figure(found["rows"], x, path.with_suffix(".png"), label)
        shown = [c for c in ("learner", key, "gradient_activity", "mean", "sd", "error") if c in found["rows"][0]]
        print(part, common.table([shown, *([row[c] for c in shown] for row in found["rows"])]), "", sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
