"""Laws of a learner: its contract, and what its ``claim`` promises ("exact", "truncated", "unbiased" or "approximate")."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from ..learners import BPTT
from ..learners.base import Learner
from ..models import load
from ..simulation.run import as_input, simulator
from ..training.gradients import signal_of
from .networks import EXACT, LivingNetwork, arrays_of, gradient_by, living_network, relative, state_bytes
from .report import Law, Skip, judge

CLAIMS = ("exact", "truncated", "unbiased", "approximate")
DRAWS, COPIES = 40, 8  # independent runs of an unbiased learner, and how often each lane is in the batch
STANDARD_ERRORS = (
    5.0  # how far the mean may lie from the exact gradient: beyond 4 in 12 directions by chance once in 1000 tests
)
TIGHT = 0.35  # and how large that standard error may be, as a share of the exact gradient's norm


def learner_laws(learner: Learner, models: tuple[str, ...], seed: int) -> Iterator[Law]:
    """Every law, on a network of every model."""
    contract = judge("keeps the contract", partial(_contract, learner))
    yield contract
    if contract.status == "failed":
        return
    for name in models:
        made: list[LivingNetwork] = []
        ready = judge(f"network of {name}", lambda name=name, made=made: made.append(living_network(load(name), seed=seed)))
        if not made:
            yield ready
            continue
        claim = f"claim: {learner.claim}"
        for title, law in {claim: _CLAIMS[learner.claim], **_LAWS}.items():
            yield judge(f"{title} [{name}]", partial(law, learner, made[0]))


def _contract(learner: Learner) -> str | None:
    if not isinstance(learner, Learner):
        return f"{type(learner).__name__} must have claim, init(net, batch) and update(state, tape, signal)"
    if learner.claim not in CLAIMS:
        return f"claim must be one of {CLAIMS}, got {learner.claim!r}"
    if not dataclasses.is_dataclass(learner) or hash(learner) != hash(dataclasses.replace(learner)):  # type: ignore[type-var]
        return "settings must be a frozen dataclass"
    return None


# -- claims --------------------------------------------------------------------------------------------------------------
def _exact(learner: Learner, b: LivingNetwork) -> Any:
    """The whole gradient, for pieces of any length, in both precisions."""
    expected = gradient_by(BPTT(), b)
    gap = max(relative(b.net, gradient_by(learner, b, tau), expected) for tau in (None, 1, 5))
    single = b.in_float32()
    coarse = relative(single.net, gradient_by(learner, single), gradient_by(BPTT(), single))
    if coarse > EXACT["float32"]:
        return coarse, EXACT["float32"], "in float32"
    return gap, EXACT["float64"]


def _truncated(learner: Learner, b: LivingNetwork) -> Any:
    """Exact on sequences no longer than the truncation."""
    reach = getattr(learner, "truncate", None) or 1
    short = b.cut(steps=min(reach, len(b.x)))
    return relative(b.net, gradient_by(learner, short), gradient_by(BPTT(), short)), EXACT["float64"]


def _unbiased(learner: Learner, b: LivingNetwork) -> Any:
    """The mean over independent draws lies around the exact gradient, centred and tight."""
    if "seed" not in {f.name for f in dataclasses.fields(learner)}:  # type: ignore[arg-type]
        return "an unbiased learner needs a field 'seed' to draw its signs from"
    short = b.cut(steps=6)
    exact = gradient_by(BPTT(), short)
    x, targets, labels = (np.concatenate([part] * COPIES, axis=1) for part in (short.x, short.targets, short.labels))
    short = LivingNetwork(b.net, x, targets, labels)
    found = np.array([gradient_by(dataclasses.replace(learner, seed=1000 + k), short) for k in range(DRAWS)])  # type: ignore[type-var]
    columns = b.net.wiring.col_theta
    exact, found = exact[columns], found[:, columns]
    size = np.linalg.norm(exact)
    directions = np.random.default_rng(2).normal(size=(11, len(exact)))
    directions = np.concatenate((exact[None], directions)) / np.linalg.norm([exact, *directions], axis=1)[:, None]
    error = found @ directions.T - directions @ exact
    spread = error.std(0, ddof=1) / np.sqrt(DRAWS)
    if spread.max() == 0:
        return float(np.abs(error).max() / size), EXACT["float64"], "no draw differs from another"
    if spread[0] > TIGHT * size:
        return float(spread[0] / size), TIGHT, "standard error over norm: too loose to tell"
    return (
        float(np.max(np.abs(error.mean(0)) / np.maximum(spread, 1e-14 * size))),
        STANDARD_ERRORS,
        "standard errors off the exact gradient",
    )


def _approximate(learner: Learner, b: LivingNetwork) -> str | None:
    """Nothing is promised but a living gradient of the recurrent parameters."""
    grad = gradient_by(learner, b)[b.net.wiring.col_theta]
    return None if grad.any() else "the gradient of every recurrent parameter is zero"


_CLAIMS = {"exact": _exact, "truncated": _truncated, "unbiased": _unbiased, "approximate": _approximate}


# -- laws of every learner -----------------------------------------------------------------------------------------------
def _once(learner: Learner, b: LivingNetwork) -> tuple[np.ndarray, Any, Any, dict[str, Any]]:
    """One update over the whole sequence: its gradient, the tape, the signal, and copies of both taken before."""
    machine = simulator(b.net)
    state, memory = machine.start(b.x.shape[1]), learner.init(b.net, b.x.shape[1])
    tape = machine.run(state, as_input(b.net, b.x))
    signal = signal_of(b.net, b.loss, tape, 0, len(b.x))
    before = {name: [a.copy() for a in arrays_of(part)] for name, part in _parts(tape, signal).items()}
    return learner.update(memory, tape, signal), tape, signal, before


def _parts(tape: Any, signal: Any) -> dict[str, Any]:
    names = ("theta", "messages", "z", "reset", "traces", "trace_one", "A", "B", "P", "o", "q")
    return {n: getattr(tape, n) for n in names} | {"dz": signal.dz, "dy": signal.dy}


def _shape(learner: Learner, b: LivingNetwork) -> str | None:
    for one in (b, b.in_float32()):
        grad, theta = _once(learner, one)[0], one.net.theta
        if not isinstance(grad, np.ndarray) or grad.shape != theta.shape or grad.dtype != theta.dtype:
            return (
                f"update returned {getattr(grad, 'dtype', type(grad))} {np.shape(grad)}, theta is {theta.dtype} {theta.shape}"
            )
        if not np.isfinite(grad).all():
            return f"the gradient in {theta.dtype} is not finite"
    return None


def _readout(learner: Learner, b: LivingNetwork) -> tuple[float, float]:
    """The readouts' own gradient is exact for every learner."""
    found, expected = gradient_by(learner, b, 5), gradient_by(BPTT(), b)
    for columns in (found, expected):
        columns[b.net.wiring.col_theta] = 0.0
    return relative(b.net, found, expected), EXACT["float64"]


def _seeds(learner: Learner, b: LivingNetwork) -> str | None:
    """The same settings give the same gradient, bit by bit."""
    same = np.array_equal(gradient_by(learner, b, 4), gradient_by(learner, b, 4))
    return None if same else "the same settings gave two different gradients"


def _memory(learner: Learner, b: LivingNetwork) -> tuple[float, float, str]:
    """The state holds as much after 48 steps as after 24."""
    if isinstance(learner, BPTT) and learner.truncate is None:
        raise Skip("full BPTT keeps the whole tape by its nature")
    short, long = (state_bytes(learner, b, steps, 4) for steps in (24, 48))
    return float(abs(long - short)), 0.0, f"{long} bytes"


def _unmutated(learner: Learner, b: LivingNetwork) -> str | None:
    """``update`` changes its state and nothing else."""
    _, tape, signal, before = _once(learner, b)
    after = _parts(tape, signal)
    changed = [
        n for n, part in after.items() if any(not np.array_equal(a, c) for a, c in zip(arrays_of(part), before[n], strict=True))
    ]
    return f"update changed {', '.join(changed)}" if changed else None


def _pieces(learner: Learner, b: LivingNetwork) -> tuple[float, float]:
    """A sequence in pieces equals the sequence whole."""
    whole = gradient_by(learner, b)
    return max(relative(b.net, gradient_by(learner, b, tau), whole) for tau in (1, 7)), EXACT["float64"]


def _lanes(learner: Learner, b: LivingNetwork) -> tuple[float, float]:
    """The batch's gradient is the mean of its lanes'."""
    if learner.claim == "unbiased":
        raise Skip("lanes draw their own signs")
    lanes = b.x.shape[1]
    expected = np.mean([gradient_by(learner, b.cut(lanes=slice(k, k + 1))) for k in range(lanes)], axis=0)
    separate = dataclasses.replace(b, coupled=False)
    return relative(b.net, gradient_by(learner, separate), expected), EXACT["float64"]


def _reset(learner: Learner, b: LivingNetwork) -> tuple[float, float]:
    """Lanes put back to the start forget all that was before."""
    if learner.claim == "unbiased":
        raise Skip("signs drawn before the reset are not drawn again")
    machine = simulator(b.net)
    x, expected = as_input(b.net, b.x), gradient_by(learner, b)
    state, memory = machine.start(x.shape[1]), learner.init(b.net, x.shape[1])
    for _ in range(2):
        tape = machine.run(state, x)
        grad = learner.update(memory, tape, signal_of(b.net, b.loss, tape, 0, len(x)))
        state.reset_lanes()
    return relative(b.net, grad, expected), EXACT["float64"]


_LAWS = {
    "gradient is like theta": _shape,
    "readout gradient is exact": _readout,
    "same settings, same gradient": _seeds,
    "memory is flat": _memory,
    "nothing is mutated": _unmutated,
    "pieces equal the whole": _pieces,
    "batch equals the mean of its lanes": _lanes,
    "a reset lane starts anew": _reset,
}
