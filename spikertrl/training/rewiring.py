"""Rewiring in the course of training: when, which synapses, and what becomes of everything that lies along theta."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import refuse
from ..network.remask import changing, remask
from ..rewire import Rule

if TYPE_CHECKING:
    from ..network.network import Network

Given = Rule | Iterable[Rule]


class Rewiring:
    """The rules of a run, the signs that their weights keep, and how many updates there were.

    Raises
    ------
    ValueError
        If a rule is none, or its connection cannot be rewired.
    """

    def __init__(self, where: str, net: Network, given: Given) -> None:
        rules: Any = (given,) if isinstance(given, Rule) else tuple(given) if isinstance(given, Iterable) else (None,)
        if not all(isinstance(rule, Rule) for rule in rules):
            raise refuse(where, "rewire", given, "srl.rewire.deep_r(connection), another rule of srl.rewire, or several")
        if len({rule.connection for rule in rules}) < len(rules):
            raise refuse(where, "rewire", given, "one rule for a connection")
        self.rules: tuple[Rule, ...] = rules
        net.ready()
        for rule in rules:
            changing(net, rule.connection)
        self.updates = 0
        self.rngs = [np.random.default_rng(rule.seed) for rule in rules]
        self.signs = [np.sign(_weights(net, rule)) for rule in rules]

    def drift(self, net: Network) -> None:
        """After an update: count it, and let weights drift."""
        self.updates += 1
        for rule, signs, rng in zip(self.rules, self.signs, self.rngs, strict=True):
            weights = _weights(net, rule)
            rule.drift(weights, signs, rng)
            _write(net, rule, weights)

    @property
    def due(self) -> bool:
        """Some rule rewires after the last update."""
        return any(self.updates % rule.every == 0 for rule in self.rules)

    def act(self, net: Network) -> np.ndarray | None:
        """Rewire what is due; for every place of theta its place before, -1 for new synapses, or None if nothing changed."""
        origin = None
        for k, rule in enumerate(self.rules):
            if self.updates % rule.every == 0 and (moved := self._rewire(net, k)) is not None:
                origin = moved if origin is None else np.where(moved >= 0, origin[moved], -1)
        return origin

    def _rewire(self, net: Network, k: int) -> np.ndarray | None:
        rule, rng = self.rules[k], self.rngs[k]
        weights, projection = _weights(net, rule), changing(net, rule.connection)
        assert projection.indptr is not None and projection.indices is not None
        signs = np.where(self.signs[k] == 0, np.sign(weights), self.signs[k])  # of those born at the last rewiring
        post = np.repeat(np.arange(projection.shape[0]), np.diff(projection.indptr))
        keys = post * projection.shape[1] + projection.indices
        free = np.setdiff1d(np.arange(projection.shape[0] * projection.shape[1]), keys, assume_unique=True)
        dead = rule.deaths(weights)[: len(free)]
        self.signs[k] = signs
        if not len(dead):
            return None
        born = rng.choice(free, len(dead), replace=False)
        kept = np.delete(keys, dead)
        new = np.sort(np.concatenate((kept, born)))
        indptr = np.searchsorted(new // projection.shape[1], np.arange(projection.shape[0] + 1))
        origin = remask(net, rule.connection, indptr, new % projection.shape[1])
        fan = len(new) / projection.shape[0] + len(new) / projection.shape[1]
        cell = net.populations[projection.target].cell
        deviation = np.array([cell.scale[port] for port in projection.ports]) * np.sqrt(2.0 / fan)
        fresh = np.isin(new, born)
        moved = _weights(net, rule)
        moved[:, fresh] = rule.birth(rng, (len(moved), len(dead)), deviation)
        _write(net, rule, moved)
        self.signs[k] = np.sign(moved)
        self.signs[k][:, ~fresh] = signs[:, np.searchsorted(keys, new[~fresh])]
        return origin

    def snapshot(self, net: Network) -> dict[str, Any]:
        """Everything that goes on, with the masks, as a checkpoint holds it."""
        masks = [changing(net, rule.connection) for rule in self.rules]
        return {
            "updates": self.updates, "rngs": self.rngs, "signs": self.signs,
            "masks": [{"indptr": p.indptr, "indices": p.indices} for p in masks],
        }  # fmt: skip

    def restore(self, net: Network, saved: dict[str, Any]) -> None:
        """Take back what ``snapshot`` gave; the network gets those masks, its weights have no meaning then."""
        for rule, mask in zip(self.rules, saved["masks"], strict=True):
            remask(net, rule.connection, mask["indptr"], mask["indices"])
        self.go_on(saved)

    def go_on(self, saved: dict[str, Any]) -> None:
        """The same for a network that has these masks already."""
        self.updates, self.rngs, self.signs = int(saved["updates"]), list(saved["rngs"]), list(saved["signs"])


def moved(moments: dict[str, Any], origin: np.ndarray) -> dict[str, Any]:
    """An optimizer's state along the new theta; new synapses begin with nothing."""
    return {
        name: np.where(origin >= 0, value[origin], 0).astype(value.dtype)
        if isinstance(value, np.ndarray) and value.shape == origin.shape
        else moved(value, origin)
        if isinstance(value, dict)
        else value
        for name, value in moments.items()
    }


def _blocks(net: Network, rule: Rule) -> list[slice]:
    return [part for (group, _), (part, _) in net.wiring.layout.items() if group == rule.connection]


def _weights(net: Network, rule: Rule) -> np.ndarray:
    """A copy of the weights, (ports, synapses)."""
    return np.stack([net.theta[part] for part in _blocks(net, rule)])


def _write(net: Network, rule: Rule, weights: np.ndarray) -> None:
    for part, values in zip(_blocks(net, rule), weights, strict=True):
        net.theta[part] = values
