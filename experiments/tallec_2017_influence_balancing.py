"""Influence balancing: truncation walks the wrong way, unbiased learners do not.

Claim (Tallec and Ollivier 2017, arXiv 1702.05043, section 4.1): 23 linear units s(t+1) = A s(t) + theta * sign, A = 1/2 on the
diagonal and on the one above, the first 10 signs +1 and the other 13 -1. The loss 1/2 (s_1 - 1)^2 must move the one parameter
theta. Over a short time only positive influences reach s_1, so that BPTT in chunks of 1, 10 and 100 steps goes the wrong way;
RTRL and UORO converge.

Setting: theta starts at 0.5 with the units at rest; an update at every step, SGD at 10^-4. UORO takes 10^-5, as in the paper,
and so does KF-RTRL, whose estimate of a single parameter is as noisy; both for ten times as many steps. At rest
s_1 = -6 theta, so theta = -1/6 is the optimum, and s_1 = -3 at the start. A loss inside a chunk reaches back to the chunk's
first step. Expected: RTRL, OK, KF-RTRL and UORO end near -1/6 with a loss near 0; TBPTT-1, -10 and -100 move away until the
loss explodes; chunks of 200 steps are long enough.

    spikertrl run tallec_2017_influence_balancing
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import _common as common
import numpy as np
from tqdm import trange

import spikertrl as srl
from spikertrl import Model, Port, State

POSITIVE, NEGATIVE, START, OPTIMUM = 10, 13, 0.5, -1 / 6
REST = 200  # steps before the first update, until the units have come to rest
LINEAR = Model("linear", update="h = I_h", message="h", states={"h": State()}, ports={"h": Port()})
METHODS: dict[str, tuple[Any, float]] = {  # name -> (learner, factor of the learning rate)
    "RTRL": (srl.RTRL(), 1.0),
    "OK(2)": (srl.OK(2), 1.0),
    "KF-RTRL": (srl.KFRTRL(), 0.1),
    "UORO": (srl.UORO(), 0.1),
    # chunks of 1, 10, ... steps; theta itself sits one step further back, in a unit of its own
    "TBPTT-1": (srl.BPTT(2, 1), 1.0),
    "TBPTT-10": (srl.BPTT(11, 10), 1.0),
    "TBPTT-100": (srl.BPTT(101, 100), 1.0),
    "TBPTT-200": (srl.BPTT(201, 200), 1.0),
}


def network(units: int) -> srl.Network:
    """One trained weight, from the constant input to a unit that speaks to all others with their fixed signs."""
    positive = round(units * POSITIVE / (POSITIVE + NEGATIVE))
    sign = np.where(np.arange(units) < positive, 1.0, -1.0)
    A = 0.5 * np.eye(units) + 0.5 * np.eye(units, k=1)
    net = srl.Network("float64").add_input("one", 1).add_population("theta", LINEAR, 1).add_population("s", LINEAR, units)
    net.connect("one", "theta", weight=np.array([[START]]))
    net.connect("theta", "s", weight=sign[:, None], trainable=False).connect("s", "s", weight=A, trainable=False)
    return net.add_readout("z", "s", 1, weight=np.eye(1, units), trainable=False).initialize(0)


def walk(name: str, steps: int, rate: float, units: int) -> dict[str, list[float]]:
    """theta and the loss at every step."""
    net, (learner, factor) = network(units), METHODS[name]
    online = srl.Online(net, learner, srl.optimizers.sgd(rate * factor), loss=srl.losses.squared_error)
    theta, losses = net.view(net.theta)["theta<-one"]["h"], []
    path = []
    for _ in range(REST):
        online.predict_one([1.0])  # without a label
    for _ in trange(round(steps / factor), desc=name):
        online.predict_one([1.0])
        losses.append(online.learn_one([1.0]))
        path.append(float(theta[0, 0]))
        if losses[-1] > 1e6:
            break  # it will not come back
    return {"theta": path, "loss": losses}


def figure(found: dict[str, dict[str, list[float]]], path: Path) -> None:
    """theta against steps."""
    ax = common.axes()
    for name, values in found.items():
        ax.plot(values["theta"], label=name)
    ax.axhline(OPTIMUM, color="0.5", linestyle=":", label="optimum")
    ax.set(xlabel="steps", ylabel="theta", ylim=(-1, 3))
    ax.legend(frameon=False, fontsize=8)
    ax.figure.savefig(path, dpi=150)


def main(argv: list[str] | None = None) -> int:
    """Run all methods, print the table, write results and the figure."""
    options = common.parser("tallec_2017_influence_balancing", __doc__, 3000, 1)
    options.add_argument("--rate", type=float, default=1e-4)
    args = options.parse_args(argv)
    steps, units = (200, 5) if args.quick else (args.steps, POSITIVE + NEGATIVE)
    found = {}
    for name in METHODS:
        path = args.out / f"{name}_{units}_{steps}.json"
        found[name] = common.load(path, args.again) or common.store(path, walk(name, steps, args.rate, units))
    rows = [{"method": name, "steps": len(v["theta"]), "theta": v["theta"][-1], "loss": v["loss"][-1],
             "direction": "towards" if abs(v["theta"][-1] - OPTIMUM) < START - OPTIMUM else "away"}
            for name, v in found.items()]  # fmt: skip
    common.write_csv(args.out / "table.csv", rows)
    print(common.table([list(rows[0]), *(list(row.values()) for row in rows)]))
    figure(found, args.out / "influence_balancing.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
