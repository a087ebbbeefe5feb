"""OK, RFLO and RandomPaths, and the roads through the Kronecker kernels: all give what theory says."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats
from threadpoolctl import threadpool_info

import jax_losses
import spikertrl as srl
from jax_reference import from_network, reference_gradient, to_flat
from networks import OUTPUTS, drive, single, stacked, worst_block
from spikertrl.learners.base import Signal
from spikertrl.learners.engines import weights as synapse_tables
from spikertrl.learners.engines.kronecker import reduction as ok_kernel
from spikertrl.learners.engines.kronecker import update as kronecker
from spikertrl.learners.engines.kronecker.groups import groups
from spikertrl.learners.readout import readout_weights
from spikertrl.models import load
from spikertrl.simulation.run import simulator
from spikertrl.threads import one_pool
from tolerances import ALIVE, EXACT64

ROUNDS, COPIES = 40, 100  # 8,000 sign draws in all, as every copy of two lanes draws its own


def small(model: str, **connect) -> srl.Network:
    net = srl.Network("float64").add_input("x", 3).add_population("h", load(model), 5)
    net.connect("x", "h").connect("h", "h", density=0.6, seed=1, **connect)
    return net.add_readout("z", "h", 2, decay=0.5).initialize(0)


def problem(steps: int = 7, copies: int = 1):
    rng = np.random.default_rng(0)
    x, targets = 3 * rng.normal(size=(steps, 2, 3)), rng.normal(size=(steps, 2, 2))
    return np.tile(x, (1, copies, 1)), srl.losses.squared_error(np.tile(targets, (1, copies, 1)))


def draws(net: srl.Network, learner, copies: int, rounds: int, steps: int = 7) -> np.ndarray:
    x, loss = problem(steps, copies)
    return np.array([srl.gradient(net, dataclasses.replace(learner, seed=seed), x, loss)[1] for seed in range(rounds)])


@pytest.mark.parametrize(("model", "connect"), [("rhn", {}), ("egru", {"delay": 2}), ("alif", {"delay": 3})], ids=str)
@pytest.mark.parametrize("rank", [1, 3])
def test_the_mean_of_ok_is_the_exact_gradient(rank, model, connect) -> None:
    """Student's t on random projections (centred), and the distance of the mean against the norm (tight)."""
    net = small(model, **connect)
    exact, found = srl.gradient(net, srl.RTRL(), *problem())[1], draws(net, srl.OK(rank), COPIES, ROUNDS)
    assert np.linalg.norm(exact) > ALIVE
    p = [stats.ttest_1samp(found @ d, exact @ d).pvalue for d in np.random.default_rng(1).normal(size=(6, len(exact)))]
    assert min(p) > 1e-4, f"biased: p values {p}"
    assert np.linalg.norm(found.mean(0) - exact) < 0.1 * np.linalg.norm(exact)
    assert found.std(0).max() > 0 or rank > 1


def test_variance_falls_from_uoro_to_kf_rtrl_to_ok() -> None:
    net = small("rhn")
    learners = (srl.UORO(), srl.KFRTRL(), srl.OK(1), srl.KFRTRL(samples=3), srl.OK(3))
    uoro, kf, ok, kf3, ok3 = (draws(net, learner, 20, 20, 12).var(0).sum() for learner in learners)
    assert uoro > 1.5 * kf and kf > ok > kf3 > 1.5 * ok3, (uoro, kf, ok, kf3, ok3)


@pytest.mark.parametrize("model", ["rhn", "egru", "alif"])
def test_ok_is_exact_while_it_has_a_term_for_every_step(model) -> None:
    net = small(model, delay=2)
    exact, found = (srl.gradient(net, learner, *problem(9))[1] for learner in (srl.RTRL(), srl.OK(9)))
    assert np.linalg.norm(exact) > ALIVE and worst_block(net, found, exact)[0] < EXACT64
    assert worst_block(net, srl.gradient(net, srl.OK(4), *problem(9))[1], exact)[0] > 1e-4


@pytest.mark.parametrize("delay", [1, 2])
def test_ok_is_exact_where_losses_hear_units_at_once(delay) -> None:
    """No readout leaks; thresholds are learned, too."""
    net = srl.Network("float64").add_input("x", 3).add_population("h", load("egru"), 5).connect("x", "h")
    net.connect("h", "h", density=0.6, seed=1, delay=delay).add_readout("z", "h", 2).initialize(0)
    exact, found = (srl.gradient(net, learner, *problem(9))[1] for learner in (srl.BPTT(), srl.OK(9)))
    assert np.linalg.norm(exact) > ALIVE and worst_block(net, found, exact)[0] < EXACT64


@pytest.mark.parametrize("values", [[3.0, 2.0, 1.0], [5.0, 0.1, 0.1, 0.05], [1.0, 0.0, 0.0], [0.0, 0.0]])
def test_mixing_keeps_the_mean_and_the_large_values(values) -> None:
    """All sign patterns: the mean of F^T F is the diagonal of the singular values."""
    n = len(values)
    patterns = np.array(np.meshgrid(*[[-1.0, 1.0]] * n)).reshape(n, -1).T
    found = [ok_kernel.mixing(np.array(values), signs) for signs in patterns]
    np.testing.assert_allclose(np.mean([F.T @ F for F in found], 0), np.diag(values), atol=1e-12)
    if values[0] == 5.0:
        assert all(F[0, 0] ** 2 == pytest.approx(5.0) and not F[0, 1:].any() for F in found)


@pytest.mark.parametrize("learner", [srl.KFRTRL(samples=2), srl.OK(3)], ids=repr)
@pytest.mark.parametrize("name", ["rhn", "egru", "alif"])
@pytest.mark.parametrize("delay", [1, 2])
def test_blas_and_single_rows_give_the_same(learner, name, delay, monkeypatch) -> None:
    """Couplings as a matrix, with and without the unit's own path folded in, or synapse by synapse."""
    net, x = single(name, delay=delay), drive(12, 2)
    loss = srl.losses.squared_error(np.random.default_rng(1).normal(size=(12, 2, OUTPUTS)))
    table, found = kronecker.synapse_tables(net.wiring), []
    for dense, fold in ((True, True), (True, False), (False, False)):
        other = dataclasses.replace(table, dense=dense, foldable=fold and table.foldable)
        for module in (kronecker, synapse_tables):
            monkeypatch.setattr(module, "synapse_tables", lambda w, other=other: other)
        found.append(srl.gradient(net, learner, x, loss)[1])
    assert table.dense and np.linalg.norm(found[0]) > ALIVE
    for one in found[1:]:
        np.testing.assert_allclose(one, found[0], rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(
    "learner", [srl.OK(2, seed=5), srl.UORO(seed=5), srl.KFRTRL(seed=5), srl.RFLO(), srl.RandomPaths(3)], ids=repr
)
def test_a_resumed_run_ends_where_the_whole_one_does(learner, tmp_path) -> None:
    def run(steps, **more):
        net = srl.Network().add_input("x", 2).add_population("h", load("egru"), 6, theta=0.05)
        net.connect("x", "h").connect("h", "h", delay=2).add_readout("z", "h", 2, decay=0.3).initialize(0)
        task = srl.tasks.add(delays=(1, 2), tau=5)
        srl.fit(net, task, learner, srl.optimizers.adam(1e-2), steps=steps, batch=3, tau=1, progress=False, **more)
        return net.theta

    whole = run(8)
    run(4, checkpoint=tmp_path / "half.npz")
    np.testing.assert_array_equal(run(8, checkpoint=tmp_path / "half.npz"), whole)


@pytest.mark.parametrize(("name", "other"), [("alif", "lif"), ("cuba_lif", "egru")])
def test_rflo_is_autodiff_with_gradients_stopped_between_units_and_states(name: str, other: str) -> None:
    net = stacked(name, other)
    x, rng = drive(12, 3), np.random.default_rng(0)
    slow, fast = rng.normal(size=(2, 12, 3, OUTPUTS))
    loss = srl.losses.squared_error(slow, readout="slow") + srl.losses.squared_error(fast, readout="fast")
    reference = jax_losses.add(jax_losses.squared_error(slow, readout="slow"), jax_losses.squared_error(fast, readout="fast"))
    spec, params = from_network(net)
    stopped = dataclasses.replace(spec, stop_between_units=True, stop_between_states=True)
    expected = to_flat(net, reference_gradient(stopped, params, x, reference)[1])
    found, eprop = (srl.gradient(net, kind("symmetric"), x, loss)[1] for kind in (srl.RFLO, srl.EProp))
    assert worst_block(net, eprop, expected)[0] > 1e-3, "paths between states must matter"
    assert np.abs(found - expected).max() <= EXACT64 * np.abs(expected).max()


def test_random_paths_lead_from_local_traces_to_rtrl() -> None:
    net = srl.Network("float64").add_input("x", 3).add_population("h", load("gru"), 8)
    net.connect("x", "h").connect("h", "h").add_readout("z", "h", 2, decay=0.5).initialize(0)
    x, loss = problem(12)
    exact, local = (srl.gradient(net, learner, x, loss)[1] for learner in (srl.RTRL(), srl.EProp()))
    found = [srl.gradient(net, srl.RandomPaths(k), x, loss)[1] for k in (0, 4, 8)]
    assert worst_block(net, found[0], local)[0] < EXACT64 and worst_block(net, found[2], exact)[0] < EXACT64
    assert EXACT64 < np.linalg.norm(found[1] - exact) < np.linalg.norm(found[0] - exact)
    with pytest.raises(ValueError, match="RandomPaths: paths is -1"):
        srl.RandomPaths(-1)


def test_costs_are_counted() -> None:
    """For a recurrent highway network the products are known: terms * n * n * 2n a step and lane."""
    n, steps, lanes = 5, 7, 2
    net = srl.Network("float64").add_input("x", 3).add_population("h", load("rhn"), n)
    net.connect("x", "h").connect("h", "h").add_readout("z", "h", 2).initialize(0)
    table = srl.compare(
        net, [srl.RTRL(), srl.KFRTRL(), srl.OK(4), srl.UORO(), srl.EProp(), srl.RandomPaths(2)], *problem(steps)
    )
    cost = {name.split("(")[0]: found for name, found in table.cost.items()}
    assert None not in cost.values()
    products = (steps - 1) * lanes * n * n * 2 * n + lanes * n * 2 * n  # nothing arrives at the first step: own path alone
    assert (cost["KFRTRL"].propagation, cost["OK"].propagation) == (products, 4 * products)
    assert cost["UORO"].macs < cost["KFRTRL"].macs < cost["OK"].macs and cost["KFRTRL"].saving > 1
    assert cost["EProp"].macs < cost["RandomPaths"].macs < cost["RTRL"].macs
    assert cost["KFRTRL"].bytes_held == lanes * 8 * (n * 2 * n + 3 + n + 1)


@pytest.mark.parametrize(("learner", "K"), [(srl.KFRTRL(), 1), (srl.KFRTRL(samples=2), 2), (srl.OK(3), 3)], ids=repr)
def test_costs_are_those_of_what_is_not_zero_on_the_tape(learner, K) -> None:
    """Units of two states; a parameter of their own each, whose group is a row alone and needs no signs."""
    n, steps, lanes, leaky = 4, 6, 2, 1
    net = srl.Network("float64").add_input("x", 3).add_population("h", load("alif"), n, trainable=("beta",))
    net.connect("x", "h").connect("h", "h").add_readout("z", "h", leaky, decay=0.5).initialize(0)
    machine, state = simulator(net), learner.init(net, lanes)
    tape = machine.run(machine.start(lanes), 3 * np.random.default_rng(0).normal(size=(steps, lanes, 3)))
    learner.update(state, tape, Signal(0.0, np.ones_like(tape.z)))
    cost, every, active = srl.cost.cost_of(state), steps * lanes, tape.active(net.wiring)[0]
    m, R, columns, own = 3 + n, 2 * n, n, n  # sources, states, columns of inputs and of parameters
    drives, direct = np.count_nonzero(tape.B), np.count_nonzero(tape.P)
    assert 0 < active[:-1].sum() < n * (steps - 1) * lanes and drives and direct
    mixing = every * K * (2 * R * columns + 4 * m) if isinstance(learner, srl.KFRTRL) else every * (2 * K + 1) * K * (R * n + m)
    assert cost.immediate == mixing + K * drives + direct
    assert cost.propagation == (R * active[:-1].sum() + np.count_nonzero(tape.A)) * (K * columns + own)
    assert cost.messages == active.sum() * (2 + 1 + leaky) * (K * columns + own)
    assert cost.readout == every * (K * m * columns + own)


def test_a_network_that_learns_its_readout_alone() -> None:
    net = srl.Network("float64").add_input("x", 3).add_population("h", load("alif"), 4)
    net.connect("x", "h", trainable=False).connect("h", "h", trainable=False).add_readout("z", "h", 2, decay=0.5).initialize(0)
    expected = srl.gradient(net, srl.RTRL(), *problem())[1]
    for learner in (srl.KFRTRL(), srl.OK(2), srl.UORO(), srl.RFLO(), srl.RandomPaths(2)):
        np.testing.assert_allclose(srl.gradient(net, learner, *problem())[1], expected, rtol=1e-12, atol=1e-15)


def test_every_blas_is_limited_inside_the_loops() -> None:
    """Compiled loops multiply by scipy's BLAS, numpy may have another one: neither may start threads of its own there."""
    with one_pool():
        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert pools and all(pool["num_threads"] == 1 for pool in pools)
    code = "import spikertrl.threads as t; known = t._controller().info(); import scipy.linalg, threadpoolctl as c; "
    code += "assert len(known) >= len([p for p in c.threadpool_info() if p['user_api'] == 'blas'])"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_two_projections_between_the_same_units_add_up() -> None:
    net = srl.Network("float64").add_input("x", 3).add_population("h", load("rhn"), 5).connect("x", "h").connect("h", "h")
    net.connect("h", "h", name="again").add_readout("z", "h", 2, decay=0.5).initialize(0)
    exact, found = (srl.gradient(net, learner, *problem(9))[1] for learner in (srl.BPTT(), srl.OK(9)))
    assert np.linalg.norm(exact) > ALIVE and worst_block(net, found, exact)[0] < EXACT64


@pytest.mark.parametrize(("model", "dense"), [("rnn", True), ("gru", True), ("egru", False)])
def test_outer_products_go_where_their_parameters_are(model, dense) -> None:
    """Block by block where a group is dense, entry by entry where it is masked: theta's places are the reference."""
    net = srl.Network("float64").add_input("x", 3).add_population("h", load(model), 5).connect("x", "h")
    w = net.connect("h", "h", density=None if dense else 0.6).add_readout("z", "h", 2).initialize(0).wiring
    rng = np.random.default_rng(0)
    for group in groups(w):
        rows, u = rng.normal(size=(2, len(group.unit))), rng.normal(size=(2, len(group.source)))
        expected, scaled, one, two = np.zeros((4, w.n_parameters))
        expected[group.theta] = 3 * (rows[0][:, None] * u[0]).reshape(-1)[group.place]
        group.put(np.outer(rows[0], u[0]), 3, scaled)
        group.add_product(3 * rows[:1], u[:1], one)
        group.add_product(rows, u, two)
        group.add_product(-rows[1:], u[1:], two)
        for found in (scaled, one, 3 * two):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    assert dense == all(group.blocks is not None for group in groups(w))


def test_readout_weights_of_several_readouts() -> None:
    w, theta = (net := stacked("alif", "egru")).wiring, net.theta
    known = w.out_theta >= 0
    assert known.any() and not known.all()
    np.testing.assert_array_equal(readout_weights(w, theta), np.where(known, theta[w.out_theta], 0))
    assert not np.shares_memory(readout_weights(w, theta), theta)
