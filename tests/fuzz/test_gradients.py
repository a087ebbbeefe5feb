"""Random networks: exact learners, by any route and with pieces of any length, against backpropagation through one tape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spikertrl as srl
from fuzzing import REFUSED, SURVIVED, fuzz
from networks import TRAINED, randomize, worst_block
from spikertrl.learners.engines.choose import ROUTES, override

SAME = 1e-9  # of the largest entry of a block: the same sums in another order, over at most 30 steps
LARGEST = 1e30  # a gradient beyond is an explosion, whose digits say nothing
TUNINGS: list[dict[str, Any]] = [
    {"block_columns": 1}, {"lanes_at_a_time": 1}, {"deferred_bytes": 0, "dense_deferred_bytes": 0}, {"store_bytes": 1},
    {"deferred_bytes": 0, "most_active": 1.0}, {"segment_length": 3}, {"tile_bytes": 64}, {"product_rate": 1e9},
    {"dense_product_rate": 1e9, "all_to_all": 0.0}, {"all_to_all": 2.0}, {"most_visits": 1.0, "most_arrivals": 1e9},
    {"transition_rate": 0.0}, {"transition_rate": 1e9}, {"aside_bytes": 1, "jacobian_bytes": 1},
    {"message_rate": 0.0, "tile_bytes": 4096},
]  # fmt: skip


@pytest.mark.slow
def test_random_networks() -> None:
    fuzz("gradients", 60, attempt)


def attempt(seed: int) -> str:
    """One network, one loss, three learners."""
    rng = np.random.default_rng([seed, 1])
    net = network(rng)
    steps, lanes = int(rng.integers(1, 31)), int(rng.integers(1, 7))
    x, loss = driven(net, rng, steps, lanes), random_loss(net, rng, steps, lanes)
    try:
        value, expected = srl.gradient(net, srl.BPTT(), x, loss)
    except FloatingPointError:
        return REFUSED  # said by population, unit and step
    if not np.abs(expected).max() < LARGEST:
        return REFUSED
    refused = 0
    for _ in range(3):
        learner, tuning = random_learner(rng), TUNINGS[int(rng.integers(len(TUNINGS)))] if rng.random() < 0.5 else {}
        tau = None if rng.random() < 0.3 else int(rng.integers(1, steps + 1))
        try:
            with override(**tuning):
                found_value, found = srl.gradient(net, learner, x, loss, tau=tau)
        except ValueError as error:
            if "cannot serve here" not in str(error):
                raise
            refused += 1
            continue
        gap, where = worst_block(net, found, expected)
        if not gap < SAME or not abs(found_value - value) <= SAME * abs(value):
            return f"{learner!r}, tau={tau}, {tuning}: {gap:.2g} in {where} of {net!r}"
    return REFUSED if refused == 3 else SURVIVED


def random_learner(rng: np.random.Generator) -> srl.learners.Learner:
    """RTRL by one of its routes, by the textbook, or as the SnAp that reaches everything."""
    how = int(rng.integers(10))
    if how == 0:
        return srl.RTRL(dense=True)
    if how == 1:
        return srl.SnAp(60)
    return srl.RTRL(route=None if how < 5 else str(rng.choice(ROUTES)))


# -- what is learned ---------------------------------------------------------------------------------------------------
def network(rng: np.random.Generator) -> srl.Network:
    """One to three populations of any models, any of the things that a connection can have, one or two readouts."""
    net = srl.Network("float64", dt=float(rng.choice([1e-3, 5e-4])))
    for k in range(int(rng.integers(1, 3))):
        net.add_input(f"x{k}", int(rng.integers(1, 4)), kind=str(rng.choice(["analog", "event"])))
    for k in range(int(rng.choice([1, 1, 2, 3]))):
        add_population(net, f"h{k}", rng)
    names = list(net.populations)
    for source in net.inputs:
        connect(net, source, str(rng.choice(names)), rng)
    for target in names:
        for source in names:
            if rng.random() < (0.9 if source == target else 0.5):
                for _ in range(int(rng.choice([1, 1, 1, 2]))):
                    connect(net, source, target, rng)
    if not any(p.source in net.inputs for p in net.projections if p.target == names[0]):
        connect(net, "x0", names[0], rng)
    for k in range(int(rng.integers(1, 3))):
        net.add_readout(f"z{k}", str(rng.choice(names)), int(rng.integers(1, 4)), decay=float(rng.choice([0.0, 0.5, 0.95])))
    return randomize(net.initialize(int(rng.integers(1000))), rng, strength=float(rng.choice([0.3, 1.0])))


def add_population(net: srl.Network, name: str, rng: np.random.Generator) -> None:
    model = str(rng.choice(srl.models.names()))
    options: dict[str, Any] = {"trainable": TRAINED[model]} if model in TRAINED and rng.random() < 0.7 else {}
    if rng.random() < 0.1 and model in ("egru", "lif", "alif"):
        options["reset_gradient"] = False
    if model == "lif" and rng.random() < 0.4:
        options["t_ref"] = "3*ms"
    net.add_population(name, srl.models.load(model), int(rng.integers(1, 8)), **options)


def connect(net: srl.Network, source: str, target: str, rng: np.random.Generator) -> None:
    post, pre = net.populations[target], net.populations.get(source) or net.inputs[source]
    shape, least = (post.size, pre.size), 1 if source in net.populations else 0
    options: dict[str, Any] = {}
    if (how := rng.random()) < 0.4:
        options = {"density": float(rng.uniform(0.1, 1.0)), "seed": int(rng.integers(100))}
    elif how < 0.6:
        options = {"mask": rng.random(shape) < 0.5}
    if (how := rng.random()) < 0.3:
        options["delay"] = int(rng.integers(least, 5))
    elif how < 0.6:
        options["delay"] = rng.integers(least, 8, shape)
    ports = list(post.model.ports)
    if rng.random() < 0.3:
        options["ports"] = tuple(rng.choice(ports, int(rng.integers(1, len(ports) + 1)), replace=False).tolist())
    if rng.random() < 0.15:
        options["trainable"] = False
    net.connect(source, target, name=f"c{len(net.projections)}", **options)


def driven(net: srl.Network, rng: np.random.Generator, steps: int, lanes: int) -> np.ndarray:
    """Input around a positive mean, of which a random share is silent."""
    channels = sum(i.size for i in net.inputs.values())
    x = rng.normal(0.3, 1.0, (steps, lanes, channels))
    return x * (rng.random(x.shape) < rng.choice([1.0, 0.5, 0.1]))


def random_loss(net: srl.Network, rng: np.random.Generator, steps: int, lanes: int) -> srl.losses.Loss:
    """A sum of losses at all steps, some, or the last, and of the activity."""
    first = net.readouts[0]
    loss = srl.losses.squared_error(rng.normal(size=(steps, lanes, first.size)), readout=first.name)
    if rng.random() < 0.5:
        last = net.readouts[-1]
        at = "last" if rng.random() < 0.5 else rng.random(steps) < 0.5
        at = at if isinstance(at, str) or at.any() else "last"
        loss = loss + srl.losses.cross_entropy(rng.integers(0, last.size, (steps, lanes)), at=at, readout=last.name)
    if rng.random() < 0.4:
        loss = loss + 0.3 * srl.losses.activity(str(rng.choice(list(net.populations))), 0.2)
    return loss
