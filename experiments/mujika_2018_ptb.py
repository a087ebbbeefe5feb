"""Characters of the Penn Treebank, learned at every step: KF-RTRL between truncated BPTT and UORO.

Claim (Mujika, Meier and Steger 2018, arXiv 1805.10842, section 4.2): on character prediction KF-RTRL clearly beats UORO and
comes close to TBPTT-25. Benzing et al. 2019 (arXiv 1902.03993): OK(8) equals TBPTT within noise.

Setting: recurrent highway network of 256 units, batch 32, Adam 10^-3.5, gradient norm clipped at 1, an update at every
character; a lane's state and influence are zeroed with probability 0.01 per step. All methods read the same characters.
Expected of OK(8) on the Penn Treebank, bits per character on the validation text, from the authors' logs of five runs: 2.97 at
10,000 steps, 2.70 at 20,000, 2.53 at 30,000, 2.31 at 50,000, 2.07 at 100,000, 1.748 at 1,000,000.

The Penn Treebank does not come with the package. ``--data`` names a folder with ptb.train.txt, ptb.valid.txt and ptb.test.txt
as prepared by Mikolov (checked by their MD5 sums); without it the King James text that comes with the package is read.

    spikertrl run mujika_2018_ptb --data FOLDER --steps 20000
    spikertrl run mujika_2018_ptb --methods ok8 kf uoro --steps 20000
    spikertrl run mujika_2018_ptb --data FOLDER --units 64 --rates 0.00316 0.001 0.000316 --steps 100000

A run that was interrupted goes on from its checkpoint; logs (CSV) lie beside the figure.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _common as common
import _long as long

import spikertrl as srl

SHOWN = ("ok8", "kf", "uoro", "tbptt25", "tbptt5", "immediate")
HELD_LANES = 100  # lanes in which the held-out texts are read
SUMS = {
    "ptb.train.txt": "f26c4b92c5fdc7b3f8c7cdcb991d8420",
    "ptb.valid.txt": "aa0affc06ff7c36e977d7cd49e3839bf",
    "ptb.test.txt": "8b80168b89c18661a38ef683c0dc3721",
}


def treebank(folder: Path) -> tuple[bytes, tuple[float, float, float]]:
    """The three files as one text, and the shares of its parts.

    Raises
    ------
    ValueError
        If a file is missing or is not the expected one.
    """
    parts = []
    for name, expected in SUMS.items():
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name} is missing; --data needs the folder of {', '.join(SUMS)}")
        parts.append((folder / name).read_bytes())
        if (found := hashlib.md5(parts[-1]).hexdigest()) != expected:
            raise ValueError(f"{folder / name} has MD5 sum {found}, expected {expected}; get Mikolov's preparation of the text")
    total = sum(len(part) for part in parts)
    return b"".join(parts), (len(parts[0]) / total, len(parts[1]) / total, len(parts[2]) / total)


def reader(args: Any, seed: int) -> Any:
    """A fresh task: one character a batch, lanes reset at random."""
    if args.data is None:
        return srl.tasks.text(tau=1, held_lanes=10 if args.quick else HELD_LANES, seed=seed, reset=0.01)
    text, split = treebank(args.data)
    return srl.tasks.text(text, tau=1, split=split, held_lanes=HELD_LANES, seed=seed, reset=0.01)


def main(argv: list[str] | None = None) -> int:
    """Run all methods, one after the other; print bits per character, write logs and the figure."""
    parser = long.options("mujika_2018_ptb", __doc__, 20_000, 256, 32, SHOWN)
    parser.add_argument("--data", type=Path, help="folder of the Penn Treebank files (default: the King James text)")
    parser.add_argument("--validate-every", type=common.positive, default=5000, help="steps between validations")
    parser.add_argument("--rates", type=float, nargs="+", help="learning rates to try; each method goes on with its best one")
    parser.add_argument("--sweep-steps", type=common.positive, default=10_000, help="steps of each try (default 10000)")
    args = parser.parse_args(argv)
    if args.quick:
        args.steps, args.units, args.batch, args.validate_every = min(args.steps, 40), 8, 4, 20
        args.sweep_steps = min(args.sweep_steps, 20)
    found: list[Run] = []
    try:
        for method in args.methods:
            tried = [measured(args, method, 0, rate, args.sweep_steps) for rate in args.rates or ()]
            rate = min(tried, key=lambda run: run.valid).rate if tried else args.rate
            found += tried + [measured(args, method, seed, rate, args.steps) for seed in range(args.seeds)]
    except ValueError as error:
        print(f"mujika_2018_ptb: {error}", file=sys.stderr)
        return 2
    rows = [run.row(args) for run in found]
    print(common.table([list(rows[0]), *(list(row.values()) for row in rows)]))
    common.write_csv(args.out / "table.csv", rows)
    logs = [{"method": run.label, "rate": run.rate, "seed": run.seed} | row for run in found for row in run.log]
    common.write_csv(args.out / "curves.csv", [row for row in logs if "valid" in row])
    last = {f"{run.label}, seed {run.seed}": run.log for run in found if run.steps == args.steps}
    long.curves(last, "bits", "bits per character, training", args.out / "training.png")
    valid = {name: [row for row in log if "valid" in row] for name, log in last.items()}
    long.curves(valid, "valid", "bits per character, validation", args.out / "validation.png")
    return 0


@dataclass
class Run:
    """One method with one rate and seed: its log, and bits per character at the end."""

    label: str
    rate: float
    seed: int
    steps: int
    valid: float
    test: float
    log: list[dict[str, Any]]

    def row(self, args: Any) -> dict[str, Any]:
        """Of the table."""
        last, characters = self.log[-1], self.steps * args.batch
        return {
            "method": self.label, "units": args.units, "rate": self.rate, "seed": self.seed, "steps": self.steps,
            "characters": characters, "valid": round(self.valid, 4), "test": round(self.test, 4),
            "seconds": round(last["seconds"], 1), "ms a step": round(long.pace(self.log), 3),
            "multiply-adds": f"{last['macs']:.3g}" if "macs" in last else "",
        }  # fmt: skip


def measured(args: Any, method: str, seed: int, rate: float, steps: int) -> Run:
    """A run, from its checkpoint if there is one, and its bits per character on the held-out texts at the end."""
    settings = {"rate": rate, "steps": steps} | ({"out": args.out / f"rate_{rate:g}"} if args.rates else {})
    args, task, last = argparse.Namespace(**vars(args) | settings), reader(args, seed), []

    def note(net: srl.Network, history: Any) -> dict[str, float]:
        done, last[:] = len(history), [net]
        if done % args.validate_every and done != steps:
            return {}
        return {"valid": srl.evaluate(net, task, *task.valid)["bits"]}

    log = long.run(args, method, seed, task, note, args.validate_every if args.quick else long.LOG_EVERY)
    path = args.out / f"{method}_{args.units}x{args.batch}_seed{seed}_{steps}.json"
    known = common.load(path)
    if last and (known is None or args.again):
        known = common.store(path, {"test": srl.evaluate(last[0], task, *task.test)["bits"], "valid": log[-1]["valid"]})
    label, known = long.METHODS[method][0], known or {"valid": float("nan"), "test": float("nan")}
    return Run(label, rate, seed, steps, known["valid"], known["test"], [row for row in log if row["step"] <= steps])


if __name__ == "__main__":
    raise SystemExit(main())
