"""Imported networks, spike for spike against the Brian2 they came from: 1,000 steps in float64."""

from __future__ import annotations

import brian2 as b2
import numpy as np
import pytest

import spikertrl as srl
from brian_networks import CASES, Case

STEPS = 1000
STEP_MS = {"cuba": 0.1, "conductances": 0.1, "adaptive_threshold": 0.1, "exponential": 0.1, "izhikevich": 0.1, "synfire": 0.05,
            "jeffress": 0.1, "balanced": 0.1}  # fmt: skip


def spikes_of(monitor: b2.SpikeMonitor, dt: float) -> set[tuple[int, int]]:
    return set(zip(np.rint(np.asarray(monitor.t) / dt).astype(int).tolist(), np.asarray(monitor.i).tolist(), strict=True))


def spikes_here(net: srl.Network, run: srl.Run, name: str) -> set[tuple[int, int]]:
    step, _, unit = np.nonzero(run.messages[name].transpose(0, 1, 2))
    return set(zip(step.tolist(), unit.tolist(), strict=True))


# to compile; the others meet the same parts
SLOW = ("conductances", "adaptive_threshold", "balanced", "jeffress", "synfire", "izhikevich")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in CASES])
def test_same_spikes(name: str) -> None:
    b2.defaultclock.dt = STEP_MS[name] * b2.ms
    case: Case = CASES[name]()
    monitors = {g.name: b2.SpikeMonitor(g, name=f"spikes_{g.name}") for g in (*case.groups, *case.sources)}
    brian = b2.Network(*case.objects, *monitors.values())
    net = srl.from_brian(brian, trainable=case.trainable)
    dt = STEP_MS[name] * 1e-3
    assert net.dt == pytest.approx(dt)
    brian.run(STEPS * b2.defaultclock.dt)
    x = net.brian_inputs(STEPS, replace={g.name: monitors[g.name] for g in case.sources})
    run = srl.simulate(net, x)
    total = 0
    for group in case.groups:
        ours, theirs = spikes_here(net, run, group.name), spikes_of(monitors[group.name], dt)
        first = min(ours ^ theirs, default=None)
        assert first is None, f"{group.name}: first difference at (step, unit) {first}, {len(ours ^ theirs)} of {len(theirs)}"
        total += len(theirs)
        assert len({unit for _, unit in theirs}) > len(group) / 10, f"{name} is not alive: {len(theirs)} spikes"
    assert total > 60, f"{name} is not alive: {total} spikes"


def test_the_first_deviation_is_rounding_that_grew() -> None:
    """At dt = 0.5 ms this network is chaotic: sums in another order differ by 1e-13 at first and tenfold every 25 steps."""
    b2.defaultclock.dt = 0.5 * b2.ms
    case = CASES["izhikevich"]()
    (group,) = case.groups
    watch = b2.StateMonitor(group, "v", record=True, when="thresholds")
    brian = b2.Network(*case.objects, watch)
    net = srl.from_brian(brian)
    brian.run(300 * b2.defaultclock.dt)
    run = srl.simulate(net, net.brian_inputs(300))
    gap = np.abs(run.states["cells"]["v"][:, 0] - np.asarray(watch.v).T).max(axis=1)
    assert gap[0] < 1e-12 and gap[:30].max() < 1e-9 and gap.max() > 1e3 * gap[:30].max()
