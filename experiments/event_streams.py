"""Name what a fingertip felt, an event camera saw or a scan read, by exact RTRL beside its approximations.

Claim: at equal updates exact RTRL, online, gets what backpropagation through time gets, and never less than e-prop.

Data (none of it comes with the package; a set that is absent is left out):

* Braille: 27 letters felt 50 times each by a fingertip sensor (Mueller-Cleve et al. 2022), 77 samples in 3 s; takes 40-49 of
  every letter are the test (270), 35-39 are for validation. The four taxels that move become events: a value that has risen or
  fallen by ``STEP`` since the last event sends one up or down (8 channels).
* psMNIST: the pixels of a digit one by one, 784 steps in one fixed random order; 5,000 digits, 4,000 of them for training. On
  all of MNIST, 155,000 parameters: BPTT 73.0%, TBPTT 71.0, e-prop 52.9 (Ma et al. 2025, arXiv 2502.09449).
* NeuroMorse (Neuromorphic Computing and Engineering 2025, doi 10.1088/2634-4386/add36c): the 50 most frequent words of a text
  as Morse code, dots in one channel and dashes in the other, gaps of 5, 10 and 15 steps. Made here from the King James text
  that comes with the package, not from Wikipedia; a tenth of the spikes is left out, a tenth late, as many put in.
* N-MNIST: handwritten digits in front of an event camera (Orchard et al. 2015). The small set of 1,000 and 100 recordings that
  SLAYER ships, or folders Train and Test of the original .bin files (``--limit`` takes so many). Events are counted in frames
  of 10 ms and fields of 4 x 4 pixels, both polarities. Training recordings of both sensors begin up to three frames later, and
  lose a tenth of their events.

Setting: event-based GRUs, sparse recurrent connections, a leaky readout; cross-entropy at every frame of the second half (the
last 15 steps of a word); the answer is the class with the largest mean log probability there. Adam with warm-up and cosine, the
gradient's norm clipped at 1.
Learning rates 10^-1.5, -2, -2.5 by a run of a third of the updates, chosen on validation, the same for every learner; exact
RTRL takes the rate of BPTT, whose gradient it has.

    spikertrl run event_streams --data FOLDER
    spikertrl run event_streams --data FOLDER --sets braille --methods rtrl eprop --seeds 1
"""

from __future__ import annotations

import collections
import gzip
import itertools
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

import spikertrl as srl
import spikertrl.plot
from spikertrl.losses import softmax
from spikertrl.tasks.base import TRAIN, generator
from spikertrl.tasks.series import embedded

NAME, STEP, PIXELS, FIELD = "event_streams", 2, 34, 4
MORSE = ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --..".split()
METHODS: dict[str, tuple[str, Any]] = {
    "rtrl": ("exact RTRL", srl.RTRL()),
    "bptt": ("BPTT", srl.BPTT()),
    "snap1": ("SnAp-1", srl.SnAp(1)),
    "eprop": ("e-prop", srl.EProp()),
}
RATES = (10**-1.5, 1e-2, 10**-2.5)
SWEEP_SEED = 100


@dataclass(frozen=True)
class Recordings:
    """Counts (T, samples, channels), classes, and which samples are for training (0), validation (1) and test (2)."""

    x: np.ndarray
    y: np.ndarray
    part: np.ndarray
    classes: list[str]
    vary: Callable[[np.random.Generator, np.ndarray], np.ndarray] | None  # what is done to training samples
    counted: int = 0  # steps at the end whose answer counts; 0: the second half


class Streams(srl.tasks.Sequence):
    """Recordings as a task."""

    name = NAME

    def __init__(self, data: Recordings, seed: int) -> None:
        self.data, self.rng = data, generator(seed, TRAIN)
        self.n_in, self.n_out = data.x.shape[2], len(data.classes)
        self.counted = data.counted or len(data.x) - len(data.x) // 2

    def batch(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.rng.choice(np.flatnonzero(self.data.part == 0), n)
        x, labels = self._of(chosen)
        return (self.data.vary(self.rng, x) if self.data.vary else x), labels

    def _of(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = np.log1p(self.data.x[:, chosen].astype(np.float32))
        labels = np.tile(self.data.y[chosen], (len(x), 1))
        labels[: -self.counted] = -1
        return x, labels

    @property
    def valid(self) -> tuple[np.ndarray, np.ndarray]:
        return self._of(np.flatnonzero(self.data.part == 1))

    @property
    def test(self) -> tuple[np.ndarray, np.ndarray]:
        return self._of(np.flatnonzero(self.data.part == 2))

    def loss(self, labels: np.ndarray) -> srl.losses.Loss:
        return srl.losses.cross_entropy(labels, at=labels >= 0)

    def score(self, z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        return {"accuracy": float((self.answers(z) == labels[-1]).mean())}

    def answers(self, z: np.ndarray) -> np.ndarray:
        """The class with the largest mean log probability in the steps that count."""
        shares = softmax(z[-self.counted :].astype(np.float64))
        return np.log(np.maximum(shares, 1e-300)).mean(0).argmax(1)


def braille(folder: Path, _: int) -> Recordings:
    """Raw taxel values as events up and down."""
    with np.load(folder / "braille" / "braille_taxels.npz") as data:
        x, y, take, letters = data["x"].astype(int), data["y"].astype(int), data["repetition"], data["letters"].tolist()
    moving = [k for k in range(x.shape[2]) if x[:, :, k].std() > 0]
    level, events = x[:, 0, moving].astype(float), np.zeros((x.shape[1], len(x), 2, len(moving)), np.float32)
    for t in range(x.shape[1]):
        gap = np.trunc((x[:, t, moving] - level) / STEP)
        level += STEP * gap
        events[t, :, 0], events[t, :, 1] = np.maximum(gap, 0), np.maximum(-gap, 0)
    part = np.where(take >= 40, 2, np.where(take >= 35, 1, 0))
    return Recordings(events.reshape(len(events), len(x), -1), y, part, letters, moved)


def nmnist(folder: Path, limit: int) -> Recordings:
    """Events of 300 ms in frames of 10 ms and fields of 4 x 4 pixels."""
    home, samples, labels, part = folder / "nmnist_small", [], [], []
    if (folder / "Train").is_dir():
        for k, which in ((0, "Train"), (2, "Test")):
            files = sorted((folder / which).glob("*/*.bin"))
            chosen = np.random.default_rng(0).permutation(len(files))[: limit if k == 0 else max(100, limit // 6)]
            samples += [counts(srl.tasks.read_dvs(files[i])) for i in chosen]
            labels += [int(files[i].parent.name) for i in chosen]
            part += [k] * len(chosen)
    else:
        with np.load(home / "nmnist_small_1ms.npz") as data:
            for k, which in ((0, "train"), (2, "test")):
                unit = data[f"{which}_addr_lo"].astype(int) + 256 * data[f"{which}_addr_hi"].astype(int)
                step, offsets = data[f"{which}_dt_ms"].astype(int), data[f"{which}_offsets"]
                for a, z in itertools.pairwise(offsets):
                    samples.append(counts(np.stack([np.cumsum(step[a:z]), unit[a:z]], 1)))
                labels += data[f"{which}_y"].tolist()
                part += [k] * (len(offsets) - 1)
    parts = np.array(part)
    training = np.flatnonzero(parts == 0)
    parts[np.random.default_rng(1).permutation(training)[: len(training) // 8]] = 1
    return Recordings(np.stack(samples, 1), np.array(labels, int), parts, [str(k) for k in range(10)], moved)


def psmnist(folder: Path, _: int) -> Recordings:
    """Pixels in one random order, (784, samples, 1)."""
    with np.load(folder / "mnist_5k" / "mnist_5k.npz") as data:
        x, y = data["x"].reshape(len(data["x"]), -1), data["y"].astype(int)
    rng = np.random.default_rng(0)
    order, pixels = rng.permutation(len(x)), rng.permutation(x.shape[1])
    part = np.repeat([0, 1, 2], [len(x) - 1000, 500, 500])
    scanned = (x[order][:, pixels].T[:, :, None] / 255).astype(np.float32)
    return Recordings(scanned, y[order], part, [str(k) for k in range(10)], None)


def neuromorse(_: Path, __: int) -> Recordings:
    """Words in Morse code that end together, sixty of each; those that are not for training are noisy already."""
    text = re.findall(r"[a-z]+", gzip.decompress(embedded("kjv_slice.txt.gz")).decode().lower().replace("'s", ""))
    words = [word for word, _ in collections.Counter(text).most_common(50)]
    coded, repeats = [morse(word) for word in words], 60
    steps = max(map(len, coded)) + 15
    x = np.zeros((steps, repeats * len(words), 2), np.float32)
    for n in range(x.shape[1]):
        one = coded[n % len(words)]
        x[steps - 15 - len(one) : steps - 15, n] = one
    part = np.repeat([0, 1, 2], [40 * len(words), 10 * len(words), 10 * len(words)])
    x[:, part > 0] = noisy(np.random.default_rng(0), x[:, part > 0])
    return Recordings(x, np.arange(x.shape[1]) % len(words), part, words, noisy, counted=15)


def morse(word: str) -> np.ndarray:
    """(steps, 2): dots and dashes 5 steps apart, 10 between letters."""
    gaps = [(mark == "-", 5 if k else 10) for letter in word for k, mark in enumerate(MORSE[ord(letter) - ord("a")])]
    at = np.cumsum([0, *(gap for _, gap in gaps[1:])])
    found = np.zeros((at[-1] + 1, 2), np.float32)
    found[at, [int(dash) for dash, _ in gaps]] = 1
    return found


def noisy(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """A tenth of the spikes left out, a tenth a step late, and as many put in anywhere."""
    chance, late = rng.random(x.shape, np.float32), np.zeros_like(x)
    late[1:] = (x * ((chance > 0.1) & (chance < 0.2)))[:-1]
    return np.maximum(np.maximum(x * (chance >= 0.2), late), rng.random(x.shape, np.float32) < 0.1 * x.mean())


def moved(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Up to three frames later, without a tenth of the events."""
    late = rng.integers(0, 4, x.shape[1])
    source = np.arange(len(x))[:, None] - late
    x = np.take_along_axis(x, np.maximum(source, 0)[:, :, None], 0) * (source >= 0)[:, :, None]
    return x * (rng.random(x.shape, np.float32) > 0.1)


def counts(events: np.ndarray) -> np.ndarray:
    """(30 frames, channels) from (time in ms, unit)."""
    side = -(-PIXELS // FIELD)
    found = np.zeros((30, 2, side, side), np.float32)
    time, unit = events[:, 0], events[:, 1].astype(int)
    polarity, y, x = unit // PIXELS**2, unit // PIXELS % PIXELS, unit % PIXELS
    kept = time < 300
    np.add.at(found, ((time // 10).astype(int)[kept], polarity[kept], y[kept] // FIELD, x[kept] // FIELD), 1)
    return found.reshape(30, -1)


SETS: dict[str, Callable[[Path, int], Recordings]] = {
    "braille": braille, "nmnist": nmnist, "psmnist": psmnist, "neuromorse": neuromorse,
}  # fmt: skip


def network(args: Any, task: Streams, seed: int) -> srl.Network:
    """Event-based GRUs, every input, sparse recurrent connections."""
    net = srl.Network().add_input("x", task.n_in)
    net.add_population("h", srl.models.egru, args.units, theta=0.05, surrogate=srl.surrogates.triangle(0.7, 0.5))
    net.connect("x", "h").connect("h", "h", density=args.density, seed=seed)
    return net.add_readout("z", "h", task.n_out, decay=0.9).initialize(seed)


def train(args: Any, name: str, data: Recordings, method: str, rate: float, seed: int, steps: int) -> dict[str, Any]:
    """One network: its accuracy on validation while it learns, on the test at the end, and what that took."""
    task = Streams(data, seed)
    net = network(args, task, seed)
    schedule = srl.schedules.warmup_cosine(rate, max(1, steps // 20), steps, floor=0.01 * rate)
    optimizer = srl.optimizers.clip_norm(srl.optimizers.adam(schedule), 1.0)
    history = srl.fit(net, task, METHODS[method][1], optimizer, steps=steps, batch=args.batch, progress=False,
                      validate_every=max(1, steps // 10))  # fmt: skip
    at, accuracy = history.series("valid_accuracy")
    x, labels = task.test
    said = task.answers(srl.simulate(net, x, record=srl.Record(states=False, messages=False, events=False)).z)
    return {"set": name, "method": method, "rate": rate, "seed": seed, "updates": steps, "at": at, "validation": accuracy,
            "test": float((said == labels[-1]).mean()), "said": said, "true": labels[-1], "seconds": history.last("seconds"),
            "macs": history.last("macs") if "macs" in history.columns else None, "activity": history.last("activity"),
            "gradient_activity": history.last("gradient_activity")}  # fmt: skip


def kept(args: Any, name: str, data: Recordings, method: str, rate: float, seed: int, steps: int) -> dict[str, Any]:
    """``train``, or its stored result."""
    settings = f"{args.units}x{args.batch}_{args.density:g}_{rate:.4f}_{steps}"
    path = args.out / "runs" / f"{name}_{method}_{settings}_seed{seed}.json"
    found = common.load(path, args.again) or common.store(path, train(args, name, data, method, rate, seed, steps))
    print(f"{name} {method} rate {rate:.4g} seed {seed}: test {found['test']:.1%}, {found['seconds']:.0f} s", flush=True)
    return found


def runs_of(args: Any, name: str, data: Recordings) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A sweep of the rates for every method that does not borrow its rate, then every method and seed."""
    borrowed, short = {method: "bptt" if method == "rtrl" else method for method in args.methods}, max(2, args.steps // 3)
    swept = [
        kept(args, name, data, method, rate, SWEEP_SEED, short)
        for method in dict.fromkeys(borrowed.values()) for rate in RATES
    ]  # fmt: skip
    found = []
    for method in args.methods:
        mine = [run for run in swept if run["method"] == borrowed[method]]
        rate = max(mine, key=lambda run: run["validation"][-1])["rate"]
        found += [kept(args, name, data, method, rate, seed, args.steps) for seed in range(args.seeds)]
    return swept, found


def main(argv: list[str] | None = None) -> int:
    """Sweep, train, print the table; write logs and figures. 2 if no set of data is there."""
    options = common.parser(NAME, __doc__, 600, 3)
    options.add_argument("--data", type=Path, default=Path("data"), help="with braille/, nmnist_small/, mnist_5k/")
    options.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    options.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    options.add_argument("--units", type=common.positive, default=128)
    options.add_argument("--density", type=float, default=0.2, help="share of recurrent connections that exist (default 0.2)")
    options.add_argument("--batch", type=common.positive, default=32)
    options.add_argument("--limit", type=common.positive, default=6000, help="training recordings of N-MNIST (default 6000)")
    args = options.parse_args(argv)
    if args.quick:
        args.steps, args.units, args.batch, args.seeds = min(args.steps, 6), 16, 4, 1
    rows, curves = [], []
    for name in args.sets:
        try:
            data = SETS[name](args.data, args.limit)
        except FileNotFoundError as error:
            print(f"{NAME}: {name} skipped. {error}", file=sys.stderr)
            continue
        swept, found = runs_of(args, name, data)
        rows += [_row(args, name, method, found) for method in args.methods]
        curves += [
            {"set": name, "learner": METHODS[r["method"]][0], "rate": round(r["rate"], 5), "seed": r["seed"],
             "of": r["updates"], "updates": at, "validation": value}
            for r in [*swept, *found] for at, value in zip(r["at"], r["validation"], strict=True)
        ]  # fmt: skip
        _draw(args, name, data, found)
    if not rows:
        return 2
    common.write_csv(args.out / "table.csv", rows)
    common.write_csv(args.out / "curves.csv", curves)
    print(common.table([list(rows[0]), *(list(row.values()) for row in rows)]))
    return 0


def _row(args: Any, name: str, method: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    mine = [run for run in found if run["method"] == method]
    test = [100 * run["test"] for run in mine]
    return {
        "set": name, "learner": METHODS[method][0], "test %": round(float(np.mean(test)), 2),
        "sd": round(float(np.std(test)), 2),
        "seeds": " ".join(f"{value:.1f}" for value in test), "updates": args.steps, "rate": round(mine[0]["rate"], 5),
        "s a run": round(float(np.mean([run["seconds"] for run in mine])), 1),
        "multiply-adds": f"{mine[0]['macs']:.2e}" if mine[0]["macs"] else "",
    }  # fmt: skip


def _draw(args: Any, name: str, data: Recordings, found: list[dict[str, Any]]) -> None:
    histories: dict[str, list[Any]] = {}
    for run in found:
        rows = [{"step": at, "accuracy": value} for at, value in zip(run["at"], run["validation"], strict=True)]
        histories.setdefault(METHODS[run["method"]][0], []).append(rows)
    srl.plot.save(srl.plot.learning_curve(histories, metric="accuracy", smooth=1), args.out / f"{name}.png")
    best = max(found, key=lambda run: run["test"])
    srl.plot.save(srl.plot.confusion(best["true"], best["said"], data.classes), args.out / f"{name}_confusion.png")


if __name__ == "__main__":
    raise SystemExit(main())
