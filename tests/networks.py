"""Networks that the tests share: random weights at the models' own scales, an input that makes them speak, a loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest

import spikertrl as srl
from spikertrl.network import Network

CHANNELS, FIRST, SECOND, OUTPUTS = 3, 6, 4, 2

SMOOTH = ("rnn", "gru", "rhn", "li", "lru", "rtu", "elstm")  # models without events
CORE = "alif cuba_lif egru egru_subramoney_2023 gru lif rhn rnn threshold_rnn".split()
"""Models whose laws run in every test run. Every kind of unit is among them; each model takes minutes of compiling."""


def marked(names: Iterable[str], slow: Iterable[str] = ()) -> list:
    """Models as parameters of a test; those that are not of the core are slow, and others named."""
    return [pytest.param(name, marks=() if name in CORE and name not in slow else pytest.mark.slow) for name in names]


# Parameters trained in the tests where a model declares none; thresholds, leaks and adaptation are all among them.
TRAINED = {"lif": ("tau", "v_th"), "adex": ("tau_w", "b"), "alif": ("rho", "beta"), "cuba_lif": ("alpha", "v_th")}
TRAINED |= {"li": ("alpha",), "izhikevich": ("b", "d")}


def stacked(
    name: str,
    other: str,
    dtype: str = "float64",
    *,
    seed: int = 0,
    delay: Any = None,
    first: Mapping = {},
    second: Mapping = {},
) -> Network:
    """x -> a (of ``name``) -> b (of ``other``), recurrent, masked, delays 1 to 7 per synapse; readouts with and without decay.

    ``delay`` replaces the delays inside a. ``first``, ``second``: keywords of the two populations.
    """
    rng = np.random.default_rng(seed)
    delays = {
        shape: 1 + rng.permutation(np.arange(shape[0] * shape[1]) % 7).reshape(shape)
        for shape in ((FIRST, FIRST), (SECOND, FIRST))
    }
    net = Network(dtype).add_input("x", CHANNELS)
    for label, model, size, keywords in (("a", name, FIRST, first), ("b", other, SECOND, second)):
        trained = {"trainable": TRAINED[model]} if model in TRAINED else {}
        net.add_population(label, srl.models.load(model), size, **trained | dict(keywords))
    net.connect("x", "a").connect("x", "b", density=0.5, seed=seed, delay=2)
    net.connect("a", "a", density=0.6, seed=seed + 1, delay=delays[FIRST, FIRST] if delay is None else delay)
    net.connect("a", "b", mask=rng.random((SECOND, FIRST)) < 0.7, delay=delays[SECOND, FIRST])
    net.connect("b", "b", delay=3)
    net.add_readout("slow", "b", OUTPUTS, decay=0.8).add_readout("fast", "a", OUTPUTS)
    return randomize(net.initialize(seed), rng)


def randomize(net: Network, rng: np.random.Generator, strength: float = 1.0) -> Network:
    """Weights of unit variance times ``strength`` at each port's scale, random biases, parameters 10% around their defaults."""
    for (group, name), (part, _) in net.wiring.layout.items():
        noise = rng.normal(size=part.stop - part.start)
        if group in net.populations:
            net.theta[part] = 0.3 * noise if name.startswith("bias_") else net.theta[part] * (1 + 0.1 * noise)
        elif group in {r.name for r in net.readouts}:
            net.theta[part] = noise
        else:
            target = next(p.target for p in net.projections if p.name == group)
            net.theta[part] = strength * noise * net.populations[target].cell.scale[name]
    return net


def single(
    name: str,
    dtype: str = "float64",
    *,
    units: int = 5,
    seed: int = 0,
    delay: Any = 1,
    kind: str = "analog",
    strength: float = 1.0,
    **keywords: Any,
) -> Network:
    """x -> h, h -> h with half of the synapses, one readout."""
    net = Network(dtype).add_input("x", CHANNELS, kind=kind).add_population("h", srl.models.load(name), units, **keywords)
    net.connect("x", "h").connect("h", "h", density=0.5, seed=seed, delay=delay).add_readout("z", "h", OUTPUTS, decay=0.5)
    return randomize(net.initialize(seed), np.random.default_rng(seed), strength)


def drive(steps: int, lanes: int, seed: int = 0, channels: int = CHANNELS) -> np.ndarray:
    """Input (T, B, channels) around a positive mean."""
    return np.random.default_rng([seed, 7]).normal(0.3, 1.0, (steps, lanes, channels))


def readout_loss(steps: int, lanes: int, seed: int = 0) -> srl.losses.Loss:
    """Squared error at every step of readout z."""
    return srl.losses.squared_error(np.random.default_rng([seed, 8]).normal(size=(steps, lanes, OUTPUTS)))


def worst_block(net: Network, found: np.ndarray, expected: np.ndarray) -> tuple[float, str]:
    """The largest relative difference of any parameter block, and the block's name."""
    gaps = {}
    for key, (part, _) in net.wiring.layout.items():
        if part.stop > part.start:
            size = np.abs(expected[part]).max()
            gap = np.abs(found[part] - expected[part]).max()
            gaps[".".join(key)] = float(gap / size if size else gap)
    name = max(gaps, key=gaps.__getitem__)
    return gaps[name], name
