"""What a peer of the comparison is, the problem that all of them solve, and how they are timed: in turn, round after round."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import spikertrl as srl


@dataclass(frozen=True)
class Problem:
    """A sequence for one network: inputs x (T, B, channels); the loss is the sum of signal * z, signal (T, B, outputs)."""

    net: srl.Network
    share: float
    x: np.ndarray
    signal: np.ndarray
    peak: float  # giga multiply-adds a second of a matrix product

    @property
    def steps(self) -> int:
        return len(self.x)

    @property
    def seconds_dense(self) -> float:
        """What the textbook influence, every mask filled, would take at the speed of a matrix product."""
        w = self.net.wiring
        return 1e-9 * self.steps * w.n_units**2 * w.n_filled / self.peak

    def seconds_structured(self, columns: int) -> float:
        """One matrix product a step, with so many columns."""
        return 1e-9 * self.steps * self.net.wiring.n_units**2 * columns / self.peak


@dataclass
class Limits:
    """What one peer may take: seconds a call, bytes."""

    seconds: float
    bytes: float


class Peer:
    """One way to the gradient. ``needs``: the library; ``claim``: "exact", or what else its gradient is."""

    name = ""
    needs = ""
    claim = "exact"
    network = "egru"
    sweeps: tuple[str, ...] = ("units", "density", "rate")

    def available(self) -> bool:
        """Is its library here?"""
        return not self.needs or importlib.util.find_spec(self.needs) is not None

    def refuses(self, problem: Problem, limits: Limits) -> str:
        """Why it is not run on this problem; empty if it is."""
        return ""

    def prepare(self, problem: Problem) -> None:
        """Build everything that is built once."""

    def step(self) -> Any:
        """The forward pass and the gradient of the whole sequence, from the start state."""
        raise NotImplementedError

    def gradient(self) -> np.ndarray | None:
        """The last gradient, flat like theta, nan where the peer has none; None if there is no gradient."""
        return None

    def bytes(self) -> float:
        """What it keeps of the past: influence, factors, traces or record."""
        return float("nan")

    def extra(self) -> dict[str, float]:
        """More columns of its row."""
        return {}

    def release(self) -> None:
        """Let go of the large arrays."""
        self.__dict__.clear()


@dataclass
class Clock:
    """Seconds a call of one peer, a mean for each turn."""

    peer: Peer
    first: float = 0.0
    calls: int = 1
    turns: list[float] = field(default_factory=list)

    def turn(self) -> None:
        began = time.perf_counter()
        for _ in range(self.calls):
            self.peer.step()
        self.turns.append((time.perf_counter() - began) / self.calls)


def difference(found: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Largest difference relative to the largest entry, and the cosine, over the parameters that both have."""
    both = np.isfinite(found) & np.isfinite(reference)
    a, b = found[both].astype(float), reference[both].astype(float)
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.abs(a - b).max() / np.abs(b).max()), float(a @ b) / scale if scale else float("nan")


def measure(peers: Sequence[Peer], problem: Problem, limits: Limits, rounds: int, turn: float = 0.03) -> list[dict[str, Any]]:
    """One row a peer. The first peer that is here and claims to be exact is the reference of the differences."""
    rows, clocks, reference = [], [], None
    w = problem.net.wiring
    for peer in peers:
        row: dict[str, Any] = {
            "peer": peer.name, "network": peer.network, "claim": peer.claim, "units": w.n_units, "share": problem.share,
            "parameters": w.n_recurrent, "steps": problem.steps, "lanes": problem.x.shape[1], "note": "",
        }  # fmt: skip
        rows.append(row)
        if not peer.available():
            row["note"] = f"not installed ({peer.needs})"
            continue
        if reason := peer.refuses(problem, limits):
            row["note"] = f"skipped: {reason}"
            continue
        began = time.perf_counter()
        try:
            peer.prepare(problem)
            peer.step()
            row["first_call_s"] = time.perf_counter() - began
            row["bytes"] = peer.bytes()
        except Exception as error:  # a row, whatever a library raises: one peer must not end the run
            row["note"] = f"failed: {type(error).__name__}: {(str(error) or '-').splitlines()[0][:120]}"
            continue
        found = peer.gradient()
        if found is not None:
            if reference is None and peer.claim == "exact":
                reference = found.copy()
            if reference is not None:
                row["difference"], row["cosine"] = difference(found, reference)
        began = time.perf_counter()
        peer.step()
        once = time.perf_counter() - began
        clock = Clock(peer, calls=int(np.clip(turn / once, 1, 50)))
        row["ms"] = row["ms_min"] = 1e3 * once / problem.steps
        if once > limits.seconds:
            row["note"] = "one call only: it took longer than --slowest"
            continue
        clocks.append((clock, row))
    for _ in range(rounds):
        for clock, _ in clocks:
            if len(clock.turns) < 3 or clock.calls * sum(clock.turns) < limits.seconds:  # three turns at least
                clock.turn()
    for clock, row in clocks:
        row["ms"] = 1e3 * float(np.median(clock.turns)) / problem.steps
        row["ms_min"] = 1e3 * min(clock.turns) / problem.steps
        row |= clock.peer.extra()
    for peer in peers:
        peer.release()
    return rows
