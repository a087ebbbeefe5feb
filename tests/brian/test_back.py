"""Nothing of the user's network is touched by the import; trained weights go back, and Brian2 then spikes as we do."""

from __future__ import annotations

import brian2 as b2
import numpy as np
import pytest

import spikertrl as srl
from brian_networks import CASES

STEPS = 400


def state(objects: list) -> dict[str, np.ndarray]:
    """Every array of every object."""
    found = {}
    for thing in objects:
        for name, variable in thing.variables.items():
            if hasattr(variable, "get_value") and hasattr(variable, "size") and getattr(variable, "array", True):
                found[f"{thing.name}.{name}"] = np.array(variable.get_value(), copy=True)
    return found


def spikes(monitor: b2.SpikeMonitor) -> list[tuple[int, int]]:
    steps = np.rint(np.asarray(monitor.t) / float(b2.defaultclock.dt)).astype(int)
    return sorted(zip(steps.tolist(), np.asarray(monitor.i).tolist(), strict=True))


def here(net: srl.Network, x: np.ndarray, name: str) -> list[tuple[int, int]]:
    step, _, unit = np.nonzero(srl.simulate(net, x).messages[name])
    return sorted(zip(step.tolist(), unit.tolist(), strict=True))


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("exponential", "synfire")]
TRAINED = ["adaptive_threshold", "conductances", *SLOW]


@pytest.mark.parametrize("name", TRAINED)
def test_trained_weights_go_back(name: str) -> None:
    case = CASES[name]()
    monitors = [b2.SpikeMonitor(g) for g in (*case.groups, *case.sources)]
    brian = b2.Network(*case.objects, *monitors)
    before = state(case.objects)
    net = srl.from_brian(brian, trainable=case.trainable)
    for key, values in state(case.objects).items():
        np.testing.assert_array_equal(values, before[key], err_msg=f"the import changed {key}")
    assert net.to_brian_weights().keys() == {f"{view.group.name}.{view.name}" for view in case.trainable}
    for key, values in state(case.objects).items():
        np.testing.assert_array_equal(values, before[key], err_msg=f"writing back untrained weights changed {key}")

    untrained = srl.from_brian(case.objects)
    trained = np.ones(len(net.theta), bool)
    trained[net.wiring.frozen] = False
    rng = np.random.default_rng(0)
    net.theta[trained] *= 1 + 0.3 * rng.random(trained.sum())
    written = net.to_brian_weights()
    for view in case.trainable:
        key = f"{view.group.name}.{view.name}"
        np.testing.assert_array_equal(np.asarray(view.get_item(slice(None), level=1)), written[key])
        assert not np.array_equal(written[key], before[key])
    others = {k: v for k, v in state(case.objects).items() if k not in written and not any(k == f"{w}" for w in written)}
    for key, values in others.items():
        np.testing.assert_array_equal(values, before[key], err_msg=f"writing back changed {key}")

    brian.run(STEPS * b2.defaultclock.dt)
    replay = {g.name: m for g, m in zip(case.sources, monitors[len(case.groups) :], strict=True)}
    x = net.brian_inputs(STEPS, replace=replay)
    moved = 0
    for group, monitor in zip(case.groups, monitors, strict=False):
        assert here(net, x, group.name) == spikes(monitor)
        moved += len(set(here(untrained, x, group.name)) ^ set(spikes(monitor)))
    assert moved > 5, "the weights that were written back make no difference"


def test_parallel_synapses_and_factors_go_back_in_order() -> None:
    cells = b2.NeuronGroup(4, "v : 1", threshold="v > 1", reset="v = 0", name="cells")
    S = b2.Synapses(cells, cells, "w : 1\nk : 1", on_pre="v_post += 2*k*w", name="S")
    S.connect(i=[3, 0, 3, 1, 3], j=[1, 2, 1, 0, 1])
    S.w, S.k = [1, 2, 3, 4, 5], [1, 2, 0, -1, 0.5]
    net = srl.from_brian([cells, S], trainable=[S.w])
    assert [p.n_synapses for p in net.projections] == [3, 1, 1]
    net.theta[...] += 1.0
    assert net.to_brian_weights()["S.w"].tolist() == [2.0, 2.5, 3.0, 3.0, 7.0]  # k = 0: no weight can be told from it


def test_other_synapses_than_imported_are_noticed() -> None:
    cells = b2.NeuronGroup(4, "v : 1", threshold="v > 1", reset="v = 0", name="cells")
    S = b2.Synapses(cells, cells, "w : 1", on_pre="v_post += w", name="S")
    S.connect(i=[0], j=[1])
    net = srl.from_brian([cells, S], trainable=[S.w])
    S.connect(i=[1], j=[2])
    with pytest.raises(ValueError, match="'S' has 2 entries of 'w' now, 1 were imported"):
        net.to_brian_weights()


def test_neuronal_parameters_go_back() -> None:
    cells = b2.NeuronGroup(
        3, "dv/dt = -v/tau : 1\ntau : second (constant)", threshold="v > 1", reset="v = 0", method="exact", name="cells"
    )
    cells.tau = [5, 10, 20] * b2.ms
    net = srl.from_brian([cells], trainable=[cells.tau])
    net.view(net.theta)["cells"]["tau"][1] = 0.5
    net.to_brian_weights()
    assert np.array_equal(np.asarray(cells.tau), [0.005, 0.5, 0.02])
