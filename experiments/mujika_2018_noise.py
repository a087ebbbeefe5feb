"""How noisy are the unbiased learners? Cosine between estimate and exact gradient, against time and the number of units.

Claim (Mujika, Meier and Steger 2018, arXiv 1805.10842, figure 4): the noise of KF-RTRL does not grow with time nor with the
number of units, UORO's grows with the number of units, and one KF-RTRL sample is about as good as n averaged UORO samples.

Setting: untrained Recurrent Highway Network (weights ~ N(0, 0.01^2)), one lane, characters of the King James text that comes
with the package (the paper reads the Penn Treebank), cross-entropy at the last step read, gradient of the recurrent parameters.
Expected, from an independent run of the same equations on the Penn Treebank: KF-RTRL 0.72 at n = 16 to 0.67 at n = 256, UORO
0.16 to 0.06, the mean of 8 KF-RTRL samples 0.97 and above.

    spikertrl run mujika_2018_noise
    spikertrl run mujika_2018_noise --sizes 16 32 64 128 --repeats 20
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import _common as common
import numpy as np
from tqdm import tqdm

import spikertrl as srl
from spikertrl.models import load

READ = 100  # characters before the gradient is looked at


def network(units: int, symbols: int, seed: int) -> srl.Network:
    """An untrained RHN with weights of standard deviation 0.01, as in the paper."""

    def weight(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        return rng.normal(0.0, 0.01, shape)

    net = srl.Network().add_input("x", symbols).add_population("h", load("rhn"), units)
    net.connect("x", "h", weight=weight).connect("h", "h", weight=weight)
    return net.add_readout("z", "h", symbols, weight=weight).initialize(seed)


def cosines(units: int, steps: list[int], learners: dict[str, Any], seed: int) -> dict[str, list[float]]:
    """Cosine of every learner to exact RTRL on one trajectory; the loss is that of one step, for each of ``steps``."""
    task = srl.tasks.text(split=(1.0, 0.0, 0.0))
    net = network(units, task.n_in, seed)
    x, labels = text(task, max(steps), seed)
    found: dict[str, list[float]] = {name: [] for name in learners}
    for last in steps:
        at = np.zeros(last, bool)
        at[-1] = True
        loss = srl.losses.cross_entropy(labels[:last], at=at)
        compared = (srl.BPTT(), *learners.values())
        gradients = [srl.gradient(net, learner, x[:last], loss)[1][: net.wiring.n_recurrent] for learner in compared]
        exact = gradients[0].astype(float)
        for name, estimate in zip(learners, gradients[1:], strict=True):
            found[name].append(float(estimate @ exact / np.linalg.norm(estimate) / np.linalg.norm(exact)))
    return found


def text(task: Any, length: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One-hot characters (length, 1, symbols) from a place that depends on the seed, and the next ones."""
    start = seed * 997 % (len(task.symbols) - length - 1)
    piece = task.symbols[start : start + length + 1]
    return np.eye(task.n_in, dtype=np.float32)[piece[:-1]][:, None], piece[1:, None]


def against_size(sizes: list[int], repeats: int) -> list[dict[str, Any]]:
    """Rows (learner, n, mean, sd) after ``READ`` characters."""
    rows = []
    for units in sizes:
        drawn: dict[str, list[float]] = {}
        for seed in tqdm(range(repeats), desc=f"n = {units}"):
            learners: dict[str, Any] = {"KF-RTRL": srl.KFRTRL(seed=seed), "8-KF-RTRL-AVG": srl.KFRTRL(samples=8, seed=seed)}
            learners["UORO"] = srl.UORO(seed=seed)
            if units <= 128:
                learners["UORO-AVG(n)"] = srl.UORO(samples=units, seed=seed)
            learners |= {"SnAp-1": srl.SnAp(1), "Immediate": srl.Immediate()}
            for name, values in cosines(units, [READ], learners, seed).items():
                drawn.setdefault(name, []).extend(values)
        rows += [{"learner": name, "n": units, "mean": float(np.mean(v)), "sd": float(np.std(v))} for name, v in drawn.items()]
    return rows


def against_time(units: int, steps: list[int], repeats: int) -> list[dict[str, Any]]:
    """Rows (learner, step, mean, sd) along one text."""
    drawn: dict[str, list[list[float]]] = {}
    for seed in tqdm(range(repeats), desc="time"):
        learners = {"KF-RTRL": srl.KFRTRL(seed=seed), "UORO": srl.UORO(seed=seed)}
        for name, values in cosines(units, steps, learners, seed).items():
            drawn.setdefault(name, []).append(values)
    return [
        {"learner": name, "step": step, "mean": float(np.mean(column)), "sd": float(np.std(column))}
        for name, values in drawn.items()
        for step, column in zip(steps, np.array(values).T, strict=True)
    ]


def figure(rows: list[dict[str, Any]], x: str, path: Path) -> None:
    """Mean and standard deviation of the cosine, one line a learner."""
    ax = common.axes()
    for name in dict.fromkeys(row["learner"] for row in rows):
        mine = [row for row in rows if row["learner"] == name]
        ax.errorbar([r[x] for r in mine], [r["mean"] for r in mine], [r["sd"] for r in mine], label=name, marker="o", capsize=3)
    ax.set(xscale="log", xlabel="hidden units" if x == "n" else "characters read")
    ax.set(ylabel="cosine to the exact gradient", ylim=(-0.2, 1.05))
    ax.legend(frameon=False, fontsize=8)
    ax.figure.savefig(path, dpi=150)


def main(argv: list[str] | None = None) -> int:
    """Run both parts, print the tables, write results and figures."""
    options = common.parser("mujika_2018_noise", __doc__, READ, 1)
    options.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 64])
    options.add_argument("--repeats", type=int, default=20, help="trajectories (and sign draws) per point")
    args = options.parse_args(argv)
    sizes, repeats, times = ([8, 16], 4, [10, 50]) if args.quick else (args.sizes, args.repeats, [10, 50, 100, 300, 1000])
    path = args.out / ("quick.json" if args.quick else "noise.json")
    result = common.load(path, args.again)
    if result is None:
        found = {"size": against_size(sizes, repeats)}
        found["time"] = against_time(sizes[-1], times, max(2, repeats // 2))
        result = common.store(path, found)
    figure(result["size"], "n", args.out / "noise_against_size.png")
    figure(result["time"], "step", args.out / "noise_against_time.png")
    for part, column in (("size", "n"), ("time", "step")):
        rows = ((r["learner"], r[column], r["mean"], r["sd"]) for r in result[part])
        print(common.table([("learner", column, "cosine", "sd"), *rows]), "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
