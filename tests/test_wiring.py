"""Index arrays beside the network read synapse by synapse, and which units a parameter can reach beside powers of a matrix."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import spikertrl as srl
from networks import CHANNELS, stacked
from spikertrl.network import Network
from spikertrl.network.wiring import BIAS, PHI, reachable


def partly(**connect: object) -> Network:
    """Two populations, masks, delays of their own, ports and readouts that are not trained."""
    rng = np.random.default_rng(0)
    net = Network("float64").add_input("x", 2).add_input("w", 1).add_population("a", srl.models.egru, 3)
    net.add_population("b", srl.models.alif, 4, trainable=("beta", "rho"))
    net.connect("x", "a", trainable=("u", "x")).connect("w", "b", delay=4)
    net.connect("a", "b", mask=rng.random((4, 3)) < 0.6, delay=rng.integers(1, 4, (4, 3)))
    net.connect("b", "b", density=0.5, seed=1, trainable=False).connect("b", "b", name="again", delay=2)
    net.add_readout("z", "a", 2, decay=0.5).add_readout("fixed", "b", 1, trainable=False)
    return net.initialize(0)


NETWORKS = {"partly": partly, "stacked": lambda: stacked("egru", "alif"), "odes": lambda: stacked("cuba_lif", "lif")}


def synapses(net: Network) -> list[tuple[str, str, int, int, int, int, int, bool]]:
    """(projection, port, target unit, source, delay, port's place, place in theta, trained), walked through one by one."""
    found, inputs = [], sum(i.size for i in net.inputs.values())
    for p in net.projections:
        post, pre = net.populations[p.target], net.populations.get(p.source)
        first = net.inputs[p.source].start if pre is None else inputs + pre.start
        pairs = [(i, j) for i in range(p.shape[0]) for j in range(p.shape[1])]
        if p.indices is not None:
            pairs = [(i, int(j)) for i in range(p.shape[0]) for j in p.indices[p.indptr[i] : p.indptr[i + 1]]]
        delays = np.broadcast_to(p.delay, len(pairs))
        for port in p.ports:
            place, start = post.cell.ports.index(port), net.wiring.layout[p.name, port][0].start
            for k, (i, j) in enumerate(pairs):
                row = (post.start + i, first + j, int(delays[k]), place, start + k, port in p.trained_ports)
                found.append((p.name, port, *row))
    return found


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_columns_are_the_learned_parameters_of_each_unit(make) -> None:
    net = make()
    w, expected = net.wiring, set()
    for _, _, unit, source, delay, port, theta, trained in synapses(net):
        if trained:
            expected.add((unit, theta, source, delay, port))
    for p in net.populations.values():
        for g, (port, record) in enumerate(p.model.ports.items()):
            for i in range(p.size if record.bias else 0):
                expected.add((p.start + i, w.layout[p.name, f"bias_{port}"][0].start + i, BIAS, 0, g))
        for k, name in enumerate(p.model.trainable):
            expected |= {(p.start + i, w.layout[p.name, name][0].start + i, PHI, 0, k) for i in range(p.size)}
    columns = (w.col_unit, w.col_theta, w.col_source, w.col_delay, w.col_port)
    assert len(w.col_theta) == w.n_recurrent == len(expected) > 30
    assert set(zip(*(c.tolist() for c in columns), strict=True)) == expected
    for unit in range(w.n_units):
        assert (w.col_unit[w.col_ptr[unit] : w.col_ptr[unit + 1]] == unit).all()
        kinds = w.col_source[w.col_ptr[unit] : w.col_ptr[unit + 1]]
        assert (np.diff(np.where(kinds == BIAS, 10**6, np.where(kinds == PHI, 10**7, kinds))) >= 0).all()
    assert w.col_ptr[0] == 0 and w.col_ptr[-1] == w.n_recurrent


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_pairs_are_the_synapses_between_units(make) -> None:
    net = make()
    w, expected = net.wiring, {}
    for _, _, unit, source, delay, port, theta, _ in synapses(net):
        if source >= w.n_channels:
            expected.setdefault((unit, source - w.n_channels, delay), set()).add((port, theta))
    found = {}
    for unit in range(w.n_units):
        for e in range(w.pair_ptr[unit], w.pair_ptr[unit + 1]):
            own = slice(w.pair_syn[e], w.pair_syn[e + 1])
            key = (unit, int(w.pair_pre[e]), int(w.pair_delay[e]))
            assert key not in found
            found[key] = set(zip(w.syn_port[own].tolist(), w.syn_theta[own].tolist(), strict=True))
    assert found == expected and len(expected) > 10
    outgoing = set()
    for d, delay in enumerate(w.delays):
        for pre in range(w.n_units):
            cut = slice(w.out_ptr[d * w.n_units + pre], w.out_ptr[d * w.n_units + pre + 1])
            outgoing |= {(int(post), pre, int(delay)) for post in w.out_post[cut]}
    assert outgoing == set(expected)
    assert w.row_history == max(delay for _, _, delay in expected)


def test_sizes_counted_by_hand() -> None:
    """a: 3 units with 4 biases and a threshold; b: 4 units with two states and two parameters."""
    net = partly()
    w = net.wiring
    n = {p.name: p.n_synapses for p in net.projections}
    learned = 2 * n["a<-x"] + n["b<-w"] + n["b<-a"] + n["again"] + 3 * 5 + 4 * 2
    assert (n["a<-x"], n["b<-w"], n["b<-b"], n["again"]) == (6, 4, 8, 16) and 0 < n["b<-a"] < 12
    assert (w.n_units, w.n_channels, w.n_states, w.n_outputs, w.n_recurrent) == (7, 3, 3 + 2 * 4, 3, learned)
    assert w.n_filled == learned + 12 - n["b<-a"], "the mask of b<-b hides weights that nobody learns"
    assert w.n_parameters == learned + 6 + 8 + 2 * 3 + 2 + 4 + 1 == len(net.theta)
    assert (w.history, w.row_history) == (4, int(max(2, np.max(net.projections[2].delay))))
    layout = {name: part for name, (part, _) in w.layout.items()}
    fixed = [layout["a<-x", "r"], layout["b<-b", "v"], layout["fixed", "weight"], layout["fixed", "bias"]]
    assert sorted(w.frozen.tolist()) == sorted(i for part in fixed for i in range(part.start, part.stop))
    assert w.out_trained.tolist() == [True, True, False] and w.decay.tolist() == [0.5, 0.5, 0.0]
    weights = net.view(np.arange(len(net.theta)))
    np.testing.assert_array_equal(w.out_theta[:2, :3], weights["z"]["weight"])
    np.testing.assert_array_equal(w.out_theta[2:, 3:], weights["fixed"]["weight"])
    assert (w.out_theta[:2, 3:] == -1).all() and (w.out_theta[2:, :3] == -1).all()
    np.testing.assert_array_equal(w.out_bias, np.concatenate((weights["z"]["bias"], weights["fixed"]["bias"])))


def test_every_port_of_a_mask_counts_when_it_is_filled() -> None:
    net = Network().add_input("x", CHANNELS).add_population("h", srl.models.egru, 5).connect("x", "h", density=0.6)
    w = net.connect("h", "h", density=0.4, trainable=("u", "h")).wiring
    assert w.n_filled == 3 * 5 * CHANNELS + 2 * 5 * 5 + 5 * 5 and w.n_recurrent == 3 * 9 + 2 * 10 + 5 * 5


@pytest.mark.parametrize("hops", [0, 1, 2, 3, None])
def test_reach_is_the_power_of_the_connections(hops: int | None) -> None:
    """A ring of 6 with a unit that only listens and one that nobody hears."""
    mask = np.zeros((8, 8), bool)
    mask[[1, 2, 3, 4, 5, 0], [0, 1, 2, 3, 4, 5]] = True
    mask[6, 2] = mask[0, 7] = True
    net = Network().add_population("h", srl.models.rnn, 8).connect("h", "h", mask=mask)
    pointer, units = reachable(net.wiring, hops)
    power = np.linalg.matrix_power(np.eye(8) + mask.T, 8 if hops is None else hops) > 0
    found = [units[a:b].tolist() for a, b in itertools.pairwise(pointer)]
    assert found == [np.flatnonzero(row).tolist() for row in power]
    assert hops is None or len(found[0]) == (1, 2, 3, 5)[hops]


def test_reach_follows_a_chain_to_its_end() -> None:
    """The last connection adds a single unit to a single list."""
    net = Network().add_population("h", srl.models.rnn, 4).connect("h", "h", mask=np.eye(4, k=-1, dtype=bool))
    pointer, units = reachable(net.wiring)
    assert [units[a:b].tolist() for a, b in itertools.pairwise(pointer)] == [[0, 1, 2, 3], [1, 2, 3], [2, 3], [3]]


def test_a_late_connection_without_synapses_adds_nothing() -> None:
    x = np.random.default_rng(0).normal(size=(6, 2, 2))
    found = []
    for also in (False, True):
        net = srl.Network("float64").add_input("x", 2)
        net.add_population("h", srl.models.egru, 3, theta=0.05).connect("x", "h")
        if also:
            net.connect("x", "h", mask=np.zeros((3, 2)), delay=5, name="none")
        found.append(srl.simulate(net.initialize(0), x).messages["h"])
    np.testing.assert_array_equal(*found)
    assert found[0].any()
