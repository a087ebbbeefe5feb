"""Name spoken digits from the spikes of a model cochlea, by exact sparse RTRL.

Aim: event-based GRU networks with sparse connections, trained by exact real-time recurrent learning alone (no backpropagation
through time), name at least 80% of unseen utterances; logistic regression on time bins names 62.7% of them.

Idea: the influence of a network that falls into modules falls into blocks, exactly: with modules of 8 units every parameter
has a sensitivity of 8 rows, however many modules there are. Wide networks of small modules also generalise better here.

Data: 1,500 utterances of 10 digits by 6 speakers (Jackson et al., Free Spoken Digit Dataset, CC BY-SA 4.0) through the cochlea
of Cramer et al. 2022 (lauscher), 70 channels. Official split: takes 0-4 of every speaker and digit are the test (300
utterances), the others are for training (1,200); with --validate takes 5-7 are kept back (180), to compare settings. With
--leave-one-speaker-out each speaker in turn is the test, never heard before.

Method: spike counts per frame are blurred over neighboring channels and compressed; training utterances are varied in speed,
pitch, start and density. Units hear this and the two frames before, through a sparse mask each, and the units of their own
module; all modules share a readout. It names digit and speaker together, at every frame of the second half; Adam with warm-up
and cosine, a number of steps fixed beforehand, and the network that is scored is a running average of the weights (Polyak and
Juditsky 1992). Several networks that differ in their seed vote (--seeds), and each hears a test utterance at three speeds and
three pitches; the answers of a single network are reported too. Settings were compared on held-out takes (5-9; two to
four networks by backpropagation, 600 steps, on the other 15 takes, mean of them alone: 64 units, no modules 69.4%; 256 units in
modules of 16 73.3%, of 8 73.8%; 512 in modules of 16 75.5%); test accuracies were printed beside them. 512 units in modules of
8 were taken without such a comparison, as the cheapest of the wide ones.

Found, official split, two seeds: 85.0 and 84.0% alone, 86.0 and 85.7% at all speeds and pitches; 86.0% together, 85.3% so. 20
minutes a network on one core. 110,000 times fewer multiply-adds than textbook RTRL of a network of 512 units needs, nearly all
of it through the modules and the sparse input: with this wide pseudo-derivative 95% of the units send rows. An earlier version
with one network of 64 units (one random mask of density 0.05, inputs of 0.1) named 71.0 to 76.3%, eight of them together 77.0%.

Sources: Subramoney 2023, arXiv 2303.05641 (sparse RTRL); Subramoney et al. 2023, arXiv 2206.06178 (event-based GRU).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _common import absent, axes, load, parser, positive, store, table

import spikertrl as srl
from spikertrl import plot
from spikertrl.training.fit import Interrupted

NAME, CHECKPOINT, LINEAR = "spoken_digits", 25, 0.627
LEARNERS = {"rtrl": srl.RTRL(), "snap1": srl.SnAp(1), "bptt": srl.BPTT()}
VARY = srl.tasks.Vary(stretch=0.15, shift=2, drop=0.2, delay=20.0)
"""How training utterances are varied."""
VIEWS = [(speed, shift) for speed in (0.9, 1.0, 1.1) for shift in (-1, 0, 1)]
"""Speeds and channel shifts at which test utterances are heard; (1, 0) is the utterance itself."""


@dataclass(frozen=True)
class View:
    """One fixed variation of an utterance, called like ``Vary``."""

    speed: float
    shift: int

    def __call__(
        self, rng: np.random.Generator, ms: np.ndarray, unit: np.ndarray, duration: float
    ) -> tuple[np.ndarray, np.ndarray, float]:
        moved = unit + self.shift
        kept = (moved >= 0) & (moved < 70)
        return (ms * self.speed)[kept], moved[kept], duration * self.speed


def make_task(options: argparse.Namespace, speaker: str | None, seed: int) -> Any:
    """Frames of ``--ms``; labels in the second half; without --validate the validation takes are trained on, too."""
    task = srl.tasks.spoken_digits(
        options.data, options.ms, speaker, "half", blur=2.0, compress=3.0, vary=VARY, name_speaker=speaker is None, seed=seed
    )
    if not options.validate:
        task.parts["train"] = np.concatenate((task.parts["train"], task.parts["valid"]))
    return task


def modules(units: int, size: int, density: float, seed: int) -> np.ndarray:
    """Recurrent connections (units, units) that stay within modules of ``size`` units, a share ``density`` of them there."""
    home = np.arange(units) // size
    return (home[:, None] == home) & (np.random.default_rng(seed).random((units, units)) < density)


def network(options: argparse.Namespace, task: Any, seed: int) -> srl.Network:
    """Sparse input from this frame and those before, recurrence within modules, leaky readout of the events."""
    narrow = srl.surrogates.triangle(0.7, options.width)
    net = srl.Network().add_input("x", 70, kind="event")
    net.add_population("h", srl.models.egru, options.units, surrogate=narrow, theta=options.theta)
    spread = 1 / np.sqrt(70 * options.input_density * options.frames)
    for back in range(options.frames):
        net.connect("x", "h", density=options.input_density, seed=100 * seed + back, delay=back, name=f"h<-x{back}",
                    weight=lambda rng, shape: rng.normal(0, spread, shape))  # fmt: skip
    net.connect("h", "h", mask=modules(options.units, options.module, options.density, 100 * seed + 99))
    return net.add_readout("z", "h", task.n_out, decay=0.9).initialize(seed)


@dataclass
class Average:
    """A callback of ``fit``: a running average of the weights, saved with the checkpoints."""

    path: Path
    keep: float = 0.99
    theta: Any = None  # array like theta, None before the first step

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self.theta = np.load(self.path)

    def __call__(self, net: srl.Network, history: Any) -> None:
        keep = min(self.keep, 1 - 1 / len(history))  # at first the plain mean
        self.theta = net.theta.copy() if self.theta is None else keep * self.theta + (1 - keep) * net.theta
        if len(history) % CHECKPOINT == 0:
            self.save()

    def save(self) -> None:
        """For a resumed run."""
        np.save(self.path, self.theta)


def run(options: argparse.Namespace, speaker: str | None, seed: int, base: Path) -> dict[str, Any]:
    """Train one network (going on where an interrupted one stopped) and hear the test part with it."""
    task = make_task(options, speaker, seed)
    net = network(options, task, seed)
    average = Average(base.with_suffix(".average.npy"))
    rate = srl.schedules.warmup_cosine(options.rate, min(50, options.steps - 1), options.steps, floor=0.01 * options.rate)
    optimizer = srl.optimizers.clip_norm(srl.optimizers.adam(rate), 1.0)
    checkpoint = base.with_suffix(".checkpoint")
    try:
        history = srl.fit(net, task, LEARNERS[options.learner], optimizer, steps=options.steps, batch=options.batch,
                          callbacks=[average], checkpoint=checkpoint, checkpoint_every=CHECKPOINT)  # fmt: skip
    except Interrupted:
        average.save()
        raise
    net.theta = average.theta
    history.to_csv(base.with_suffix(".csv"))
    np.save(base.with_suffix(".theta.npy"), net.theta)
    for file in (checkpoint, average.path):
        file.unlink(missing_ok=True)
    part = "valid" if options.validate else "test"
    costs = {name: history.last(name) for name in ("macs", "macs_dense") if name in history.columns}
    return {
        "speaker": speaker, "seed": seed, "learner": options.learner, "network": repr(net), "parameters": len(net.theta),
        "steps": len(history), "part": part, "digit": task.data["digit"][task.parts[part]],
        "evidence": [evidence(net, task, task.parts[part], View(*view)) for view in VIEWS],
        "activity": float(history["activity"][-100:].mean()), "seconds": history.last("seconds"),
        "gradient_activity": float(history["gradient_activity"][-100:].mean()), "loss": history["loss"],
    } | costs  # fmt: skip


def evidence(net: srl.Network, task: Any, numbers: np.ndarray, view: View) -> np.ndarray:
    """Log probability of every digit, (utterances, 10)."""
    x, labels = task.frames(numbers, view)
    z = srl.simulate(net, x, record=srl.Record(states=False, messages=False, events=False)).z
    return task.evidence(z, labels)


def votes(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Accuracies of a committee: each network alone, all together, and all together at all speeds and pitches."""
    digit, heard = np.array(results[0]["digit"]), np.array([r["evidence"] for r in results])  # (networks, views, n, 10)
    plain = heard[:, VIEWS.index((1.0, 0))]
    chosen = heard.sum((0, 1)).argmax(1)
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (digit, chosen), 1)
    return {
        "alone": [float((one.argmax(1) == digit).mean()) for one in plain],
        "alone_views": [float((one.sum(0).argmax(1) == digit).mean()) for one in heard],
        "committee": float((plain.sum(0).argmax(1) == digit).mean()),
        "committee_views": float((chosen == digit).mean()),
        "confusion": confusion,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is missing, then draw and print; 2 if the data are absent."""
    options = _options(argv)
    try:
        speakers = make_task(options, None, 0).data["speakers"].tolist()
    except FileNotFoundError as error:
        return absent(NAME, error)
    split = "speakers" if options.leave_one_speaker_out else "validation" if options.validate else "official"
    rows, confusion, scores = [], np.zeros((10, 10), int), []
    for speaker in speakers[: 1 if options.quick else None] if options.leave_one_speaker_out else [None]:
        results = []
        for seed in range(options.seeds):
            settings = "_".join(str(getattr(options, name)) for name in _SETTINGS)
            base = options.out / "runs" / f"{speaker or split}_{settings.replace('.', 'p')}_{seed}"
            print(f"{f'speaker {speaker} left out' if speaker else split}, seed {seed}", flush=True)
            path = base.with_suffix(".json")
            results.append(load(path, options.again) or store(path, run(options, speaker, seed, base)))
        found = votes(results)
        confusion += found["confusion"]
        scores.append(found | {"speaker": speaker})
        rows += [(r, alone, views) for r, alone, views in zip(results, found["alone"], found["alone_views"], strict=True)]
    _draw(rows, confusion, options.out, split)
    mean = {name: float(np.mean([s[name] for s in scores])) for name in ("committee", "committee_views")}
    store(options.out / f"summary_{split}.json", mean | {"logistic_regression": LINEAR, "scores": scores})
    print("\n" + _table(rows))
    print(f"{options.seeds} networks: {mean['committee']:.1%}, at all speeds and pitches {mean['committee_views']:.1%}; "
          f"logistic regression on time bins, official split: {LINEAR:.1%}")  # fmt: skip
    print(f"figures, runs and summary in {options.out}")
    return 0


_SETTINGS = (
    "learner", "steps", "units", "module", "frames", "input_density", "density", "ms", "width", "theta", "rate", "batch",
)  # fmt: skip


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    found = parser(NAME, __doc__, steps=800, seeds=2)
    found.add_argument(
        "--data", type=Path, help="the data file or its folder (default: SPIKERTRL_DATA, or a folder data or shared/data above)"
    )
    found.add_argument("--leave-one-speaker-out", action="store_true", help="tested on a speaker never heard, each in turn")
    found.add_argument("--validate", action="store_true", help="train without takes 5-7 and score these, not the test")
    found.add_argument("--learner", choices=LEARNERS, default="rtrl", help="default rtrl; bptt gives the same gradient")
    found.add_argument("--units", type=positive, default=512, help="hidden units (default 512)")
    found.add_argument("--module", type=positive, default=8, help="units of a module (default 8; as --units: a single one)")
    found.add_argument(
        "--frames", type=positive, default=3, help="frames that a unit hears: this one and those before (default 3)"
    )
    found.add_argument("--input-density", type=float, default=0.05, help="share of input connections that exist (default 0.05)")
    found.add_argument("--density", type=float, default=1.0, help="share of connections within a module (default 1)")
    found.add_argument("--ms", type=positive, default=20, help="length of a frame in ms (default 20)")
    found.add_argument("--width", type=float, default=0.5, help="half width of the pseudo-derivative (default 0.5)")
    found.add_argument("--theta", type=float, default=0.05, help="initial threshold (default 0.05)")
    found.add_argument("--rate", type=float, default=5e-3, help="peak learning rate (default 0.005)")
    found.add_argument("--batch", type=positive, default=64, help="utterances a step (default 64)")
    options = found.parse_args(argv)
    if options.quick:
        options.steps, options.units, options.seeds = min(options.steps, 60), min(options.units, 128), min(options.seeds, 2)
    return options


def _table(rows: list[tuple[dict[str, Any], float, float]]) -> str:
    head = ("test part", "seed", "learner", "alone", "at all speeds", "fire", "send rows", "minutes", "multiply-adds",
            "fewer than dense")  # fmt: skip
    lines: list[tuple] = [head]
    for r, alone, views in rows:
        macs = (f"{r['macs']:.2e}", f"{r['macs_dense'] / r['macs']:.0f}x") if r.get("macs") else ("-", "-")
        name = r["speaker"] or r["part"]
        lines.append((name, r["seed"], r["learner"], f"{alone:.1%}", f"{views:.1%}", f"{r['activity']:.0%}",
                      f"{r['gradient_activity']:.0%}", f"{r['seconds'] / 60:.1f}", *macs))  # fmt: skip
    return table(lines)


def _draw(rows: list[tuple[dict[str, Any], float, float]], confusion: np.ndarray, out: Path, split: str) -> None:
    """Loss while training; confusions of the committee, all test parts added up."""
    ax = axes()
    for r, alone, _ in rows:
        smooth = np.convolve(r["loss"], np.ones(20) / 20, "valid") if len(r["loss"]) > 20 else r["loss"]
        ax.plot(smooth, label=f"{r['speaker'] or split}, seed {r['seed']}: {alone:.1%}")
    ax.set(xlabel="training step", ylabel="loss (mean of 20 steps)")
    ax.legend(fontsize=7, frameon=False)
    plot.save(ax, out / f"loss_{split}.png")
    ax = axes(4.8, 4.4)
    ax.imshow(confusion / np.maximum(confusion.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    for (i, j), n in np.ndenumerate(confusion):
        if n:
            dark = n > 0.5 * confusion[i].sum()
            ax.text(j, i, str(n), ha="center", va="center", fontsize=7, color="white" if dark else "black")
    ax.set(xlabel="digit named", ylabel="digit spoken", xticks=range(10), yticks=range(10), title=f"utterances, {split}")
    plot.save(ax, out / f"confusion_{split}.png")


if __name__ == "__main__":
    sys.exit(main())
