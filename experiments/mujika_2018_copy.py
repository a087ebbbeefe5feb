"""String memorisation at a growing length, learned at every step: what noise and truncation cost.

Claim (Mujika, Meier and Steger 2018, arXiv 1805.10842, section 4.1): KF-RTRL reaches strings of 36 bits, UORO 13 on average,
and TBPTT-k not much more than k. Benzing et al. 2019 (arXiv 1902.03993): OK(16) goes further on less.

Setting of Benzing et al.: recurrent highway network of 128 units, batch 16, Adam 10^-3.5, gradient norm clipped at 1, an update
at every step. A lane reads a start symbol, T' bits and T' + 1 blanks and has to say T' + 1 blanks, the start symbol and the
bits; T' is drawn from T - 4 .. T; T grows by one when the running loss (factor 0.999, all positions) falls under 0.15 bits per
symbol, which then restarts at 0.3. State and influence are zeroed where a string begins. The paper's own network is twice as
wide with batch 256 (``--units 256 --batch 256``).
Expected of OK(16), from the authors' logs of five runs: T = 4 at 10,000 steps, 7 to 8 at 20,000, 8 to 10 at 30,000, 11 to 12 at
50,000, 15 to 17 at 100,000. "events" is a sparse event-based GRU trained by exact RTRL on the same strings.

    spikertrl run mujika_2018_copy --methods ok16 --steps 50000
    spikertrl run mujika_2018_copy --steps 100000

A run that was interrupted goes on from its checkpoint; logs (CSV) lie beside the figure.
"""

from __future__ import annotations

from typing import Any

import _common as common
import _long as long

import spikertrl as srl

MARKS = (10_000, 20_000, 30_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)
SHOWN = ("ok16", "kf", "uoro", "snap1", "tbptt25", "tbptt5", "immediate", "events")


def reached(rows: list[dict[str, Any]], step: int) -> int | str:
    """T at a step, or "-" if the run is shorter."""
    there = [row["length"] for row in rows if row["step"] <= step]
    return there[-1] if there and rows[-1]["step"] >= step else "-"


def main(argv: list[str] | None = None) -> int:
    """Run all methods, one after the other; print T reached, write logs and the figure."""
    parser = long.options("mujika_2018_copy", __doc__, 50_000, 128, 16, SHOWN)
    args = parser.parse_args(argv)
    every = long.LOG_EVERY
    if args.quick:
        args.steps, args.units, args.batch, every = min(args.steps, 60), 8, 4, 20
    runs = {}
    for method in args.methods:
        for seed in range(args.seeds):
            task = srl.tasks.copy_stream(seed=seed)

            def note(net: srl.Network, history: Any, task: Any = task) -> dict[str, float]:
                return {"length": task.length, "running": task.running}

            runs[f"{long.METHODS[method][0]}, seed {seed}"] = long.run(args, method, seed, task, note, every)
    marks = [mark for mark in MARKS if mark <= args.steps] or [args.steps]
    head = ["method", *(f"T at {mark:,}" for mark in marks), "T at the end", "steps", "ms a step"]
    rows = [[name, *(reached(r, m) for m in marks), r[-1]["length"], r[-1]["step"], long.pace(r)] for name, r in runs.items()]
    print(common.table([head, *rows]))
    long.curves(runs, "length", "string length T", args.out / "copy.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
