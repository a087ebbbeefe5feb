"""NIR: graphs against their own equations integrated here, networks to a file and back, and refusals by name."""

from __future__ import annotations

import sys
from pathlib import Path

import nir
import numpy as np
import pytest

import spikertrl as srl
from networks import marked, worst_block
from spikertrl.nir.nodes import NIRError
from spikertrl.nir.units import METHODS, nir_model
from tolerances import EXACT64, VALUES64

DT, STEPS = 1e-3, 400


def layered(seed: int = 0) -> nir.NIRGraph:
    """Input 3 -> LIF 6, recurrent behind a Delay -> CubaLIF 4 -> LI -> Output, all parameters different for each unit."""
    rng = np.random.default_rng(seed)

    def around(x: float, n: int) -> np.ndarray:
        return x * rng.uniform(0.8, 1.2, n)

    lif = nir.LIF(around(0.02, 6), around(12.0, 6), around(0.1, 6), around(1.0, 6), around(-0.2, 6))
    cuba = nir.CubaLIF(
        around(0.004, 4), around(0.015, 4), around(5.0, 4), around(0.05, 4), around(1.0, 4), around(0.1, 4), w_in=around(4.0, 4)
    )
    nodes = {
        "in": nir.Input({"input": np.array([3])}),
        "ff": nir.Affine(rng.normal(size=(6, 3)), around(0.02, 6)),
        "lif": lif,
        "rec": nir.Linear(0.6 * rng.normal(size=(6, 6))),
        "late": nir.Delay(np.array([0.0, 1, 2, 3, 4, 5]) * DT),
        "mid": nir.Affine(rng.normal(size=(4, 6)), around(0.03, 4)),
        "cuba": cuba,
        "up": nir.Affine(rng.normal(size=(2, 4)), rng.normal(size=2)),
        "leak": nir.LI(np.full(2, 0.01), np.array([2.0, 3.0]), np.array([0.1, 0.2])),
        "out": nir.Output({"output": np.array([2])}),
    }
    edges = [("in", "ff"), ("ff", "lif"), ("lif", "rec"), ("rec", "late"), ("late", "lif"), ("lif", "mid"), ("mid", "cuba")]
    return nir.NIRGraph(nodes, [*edges, ("cuba", "up"), ("up", "leak"), ("leak", "out")])


def integrate(graph: nir.NIRGraph, x: np.ndarray, method: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spikes (T, 6), (T, 4) and output (T, 2) of ``layered``, from NIR's equations as its pages print them."""
    n = graph.nodes

    def toward(value: np.ndarray, goal: np.ndarray, tau: np.ndarray) -> np.ndarray:
        """tau dvalue/dt = goal - value, over one step with a constant goal."""
        return goal + (value - goal) * np.exp(-DT / tau) if method == "exponential" else value + DT / tau * (goal - value)

    v, u, i, z = np.zeros(6), np.zeros(4), np.zeros(4), np.zeros(2)
    first, second, out = np.zeros((len(x), 6)), np.zeros((len(x), 4)), np.zeros((len(x), 2))
    late = np.rint(n["late"].delay / DT).astype(int)
    for t in range(len(x)):
        current = n["ff"].weight @ x[t] + n["ff"].bias
        for post in range(6):
            if t - 1 - late[post] >= 0:
                current[post] += n["rec"].weight[post] @ first[t - 1 - late[post]]
        v = toward(v, n["lif"].v_leak + n["lif"].r * current, n["lif"].tau)
        arriving = n["mid"].weight @ (first[t - 1] if t else np.zeros(6)) + n["mid"].bias
        i = toward(i, n["cuba"].w_in * arriving, n["cuba"].tau_syn)
        u = toward(u, n["cuba"].v_leak + n["cuba"].r * i, n["cuba"].tau_mem)
        first[t], second[t] = v > n["lif"].v_threshold, u > n["cuba"].v_threshold
        v, u = np.where(first[t], n["lif"].v_reset, v), np.where(second[t], n["cuba"].v_reset, u)
        seen = n["up"].weight @ second[t] + n["up"].bias
        z = out[t] = toward(z, n["leak"].v_leak + n["leak"].r * seen, n["leak"].tau)
    return first, second, out


def drive() -> np.ndarray:
    return np.random.default_rng(7).normal(0.2, 1.0, (STEPS, 3))


@pytest.mark.parametrize("method", METHODS)
def test_graph_against_its_equations(method: str) -> None:
    graph, x = layered(), drive()
    first, second, out = integrate(graph, x, method)
    assert first.sum() > 100 and second.sum() > 50 and (first.sum(0) > 0).all()
    net = srl.from_nir(graph, DT, method=method, dtype="float64")
    run = srl.simulate(net, x)
    np.testing.assert_array_equal(run.messages["lif"][:, 0], first)
    np.testing.assert_array_equal(run.messages["cuba"][:, 0], second)
    np.testing.assert_allclose(run.z[:, 0], out, rtol=VALUES64, atol=VALUES64 * np.abs(out).max())


@pytest.mark.parametrize("primitive", ["IF", "LI", "CubaLI", "I", "Threshold"])
def test_other_primitives_against_their_equations(primitive: str) -> None:
    """One unit of each, driven through a Scale; graded ones pass their voltage on to the output."""
    ones, x = np.ones(3), drive()
    values = {"IF": (40 * ones, ones, -0.5 * ones), "LI": (0.02 * ones, 2 * ones, 0.3 * ones), "I": (10 * ones,),
              "CubaLI": (0.005 * ones, 0.02 * ones, 2 * ones, 0.3 * ones, 3 * ones), "Threshold": (0.5 * ones,)}  # fmt: skip
    unit, scale = getattr(nir, primitive)(*values[primitive]), np.array([1.0, 2.0, -1.0])
    after = [nir.Scale(ones), nir.Affine(np.eye(3), np.zeros(3))]
    graph = nir.NIRGraph.from_list(nir.Input({"input": np.array([3])}), nir.Scale(scale), unit, *after)
    expected, v, i = np.zeros((STEPS, 3)), np.zeros(3), np.zeros(3)
    for t in range(STEPS):
        current = scale * x[t]
        if primitive in ("IF", "I"):
            v = v + DT * unit.r * current
        elif primitive == "Threshold":
            v = current
        else:
            i = i + (1 - np.exp(-DT / unit.tau_syn)) * (unit.w_in * current - i) if primitive == "CubaLI" else current
            tau = unit.tau_mem if primitive == "CubaLI" else unit.tau
            v = v + (1 - np.exp(-DT / tau)) * (unit.v_leak + unit.r * i - v)
        fired = v > unit.threshold if primitive == "Threshold" else v > unit.v_threshold if primitive == "IF" else None
        expected[t] = v if fired is None else fired
        v = np.where(expected[t] > 0, unit.v_reset, v) if primitive == "IF" else v
    run = srl.simulate(srl.from_nir(graph, DT, dtype="float64"), x)
    np.testing.assert_allclose(run.z[:, 0], expected, rtol=VALUES64, atol=VALUES64 * np.abs(expected).max())
    assert 0 < np.count_nonzero(expected[:, 0]) and np.ptp(expected) > 0.1


def stacked_nir(method: str) -> srl.Network:
    """Two populations, heterogeneous delays, masks, biases, both kinds of input, readouts with and without leak."""
    rng = np.random.default_rng(1)
    net = srl.Network("float64", dt=DT).add_input("x", 3).add_input("e", 2, kind="event")
    net.add_population("a", nir_model("LIF", method), 6, r=rng.uniform(20, 30, 6), v_reset=-0.1)
    net.add_population("b", nir_model("CubaLIF", method), 4, r=10.0, w_in=rng.uniform(4, 5, 4))
    net.add_population("c", srl.models.threshold_rnn, 3)
    net.connect("x", "a").connect("e", "b", delay=2).connect("a", "a", density=0.5, delay=rng.integers(1, 6, (6, 6)))
    net.connect("a", "b").connect("b", "c").connect("c", "a", delay=4)
    net.add_readout("slow", "b", 2, decay=0.9).add_readout("fast", "a", 2).initialize(0)
    for name in "ab":
        net.view(net.theta)[name]["bias_v"][...] = rng.uniform(0, 0.05, net.populations[name].size)
    net.view(net.theta)["slow"]["bias"][...] = 0.3
    return net


@pytest.mark.parametrize("method", METHODS)
def test_there_and_back(method: str, tmp_path: Path) -> None:
    """Net -> graph -> file -> graph -> net: the same parameters and the same events, readouts and step."""
    net = stacked_nir(method)
    nir.write(tmp_path / "net.nir", srl.to_nir(net))
    back = srl.from_nir(tmp_path / "net.nir", dtype="float64")
    assert back.dt == net.dt and {n: i.kind for n, i in back.inputs.items()} == {"x": "analog", "e": "event"}
    ours, theirs = net.view(net.theta), back.view(back.theta)
    for group in {p.name for p in net.projections} | {"a", "b"} | {r.name for r in net.readouts}:
        for name, values in ours[group].items():
            dense = [v.toarray() if hasattr(v, "toarray") else v for v in (values, theirs[group][name])]
            np.testing.assert_array_equal(*dense, err_msg=f"{group}.{name}")
    for name, population in net.populations.items():
        for parameter in population.model.parameters:
            np.testing.assert_array_equal(back.populations[name].parameters[parameter], population.parameters[parameter])
    x = {"x": drive()[:, None], "e": (np.random.default_rng(3).random((STEPS, 1, 2)) < 0.2) * 1.0}
    runs = [srl.simulate(n, x) for n in (net, back)]
    counts = [len(runs[0].events.of(0, p.start, p.start + p.size)) for p in net.populations.values()]
    assert min(counts) > 20
    for name in net.populations:
        np.testing.assert_array_equal(runs[1].messages[name], runs[0].messages[name])
    for name, z in runs[0].readouts.items():
        np.testing.assert_array_equal(runs[1].readouts[name], z)


def test_imported_network_learns_exactly() -> None:
    """RTRL's gradient is BPTT's on an imported graph, reset to a voltage other than 0 included."""
    net, x = srl.from_nir(layered(), DT, dtype="float64"), drive()[:30, None]
    loss = srl.losses.squared_error(np.ones((30, 1, 2)))
    _, exact = srl.gradient(net, srl.BPTT(), x, loss)
    _, online = srl.gradient(net, srl.RTRL(), x, loss)
    gap, where = worst_block(net, online, exact)
    assert gap < EXACT64, where
    assert np.abs(net.view(exact)["lif<-lif"]["v"]).max() > 0


def test_nested_graph() -> None:
    """A recurrent layer as a graph of its own, as other programs write it, is the same as its nodes in place."""
    graph, x = layered(), drive()
    inner_names = ("lif", "rec", "late")
    inner_nodes = {n: graph.nodes[n] for n in inner_names}
    inner_nodes |= {"input": nir.Input({"input": np.array([6])}), "output": nir.Output({"output": np.array([6])})}
    inner_edges = [("input", "lif"), ("lif", "rec"), ("rec", "late"), ("late", "lif"), ("lif", "output")]
    inner = nir.NIRGraph(inner_nodes, inner_edges)
    nodes = {n: node for n, node in graph.nodes.items() if n not in inner_names} | {"layer": inner}
    edges = [("in", "ff"), ("ff", "layer"), ("layer", "mid"), ("mid", "cuba"), ("cuba", "up"), ("up", "leak"), ("leak", "out")]
    one, two = (srl.from_nir(g, DT, dtype="float64") for g in (graph, nir.NIRGraph(nodes, edges)))
    assert set(two.populations) == {"layer.lif", "cuba"}
    np.testing.assert_array_equal(srl.simulate(two, x).z, srl.simulate(one, x).z)


def simple(*nodes: nir.NIRNode) -> nir.NIRGraph:
    return nir.NIRGraph.from_list(nir.Input({"input": np.array([2])}), *nodes)


IF2 = nir.IF(np.ones(2), np.ones(2))
REFUSED = {
    "convolution": (simple(nir.Flatten(np.array([2]), 0, -1), nir.SumPool2d(2, 2, 0), IF2), "SumPool2d is not supported"),
    "odd delay": (simple(nir.Delay(np.array([1e-3, 1.5e-3])), IF2), "delay of 0.0015 s from 'input' to 'if' is not a multiple"),
    "input to output": (simple(nir.Linear(np.ones((2, 2)))), "an Output must read exactly one unit node"),
    "late output": (simple(IF2, nir.Delay(np.full(2, 1e-3))), "a Delay before an Output is not supported"),
    "unequal delays": (
        simple(nir.Scale(np.ones(2)), nir.Delay(np.array([0, 1e-3])), nir.Linear(np.ones((2, 2))), IF2),
        "unequal delays between two matrices",
    ),
}


def changed(node: str, **values: object) -> nir.NIRGraph:
    """``layered`` with other values in a node, as a file may hold them."""
    graph = layered()
    for field, value in values.items():
        old = getattr(graph.nodes[node], field)
        setattr(graph.nodes[node], field, np.full(old.shape, value) if isinstance(value, float) else value)
    return graph


NAN, INF = float("nan"), float("inf")
VALUES = [  # node, field, value, what is said
    ("lif", "tau", INF, r"NIR node 'lif': LIF.tau is inf at 0; legal: finite, > 0"),
    ("lif", "tau", 0.0, r"LIF.tau is 0 at 0; legal: finite, > 0"),
    ("lif", "tau", -0.02, r"LIF.tau is -0.02 at 0; legal: finite, > 0"),
    ("lif", "r", NAN, r"NIR node 'lif': LIF.r is nan at 0; legal: finite"),
    (
        "lif",
        "v_threshold",
        -1.0,
        r"NIR node 'lif': LIF.v_threshold is -1 at 0, below v_reset, .* legal: v_threshold >= v_reset",
    ),
    ("lif", "v_reset", 2.0, "below v_reset, which is 2"),
    ("lif", "v_leak", np.ones(5), r"NIR node 'lif': LIF.v_leak has shape \(5,\); legal: \(6,\), or one number"),
    ("lif", "r", np.full(6, "a"), r"NIR node 'lif': LIF.r is .*; legal: an array of real numbers"),
    ("lif", "r", np.full(6, 1j), r"LIF.r is .*; legal: an array of real numbers"),
    ("lif", "r", None, r"LIF.r is None; legal: an array of real numbers"),
    ("lif", "r", 1e39, r"NIR node 'lif': .* is inf"),
    ("cuba", "tau_syn", NAN, r"NIR node 'cuba': CubaLIF.tau_syn is nan at 0"),
    ("cuba", "w_in", INF, r"NIR node 'cuba': CubaLIF.w_in is inf"),
    ("leak", "tau", 0.0, r"NIR node 'leak': LI.tau is 0"),
    ("leak", "r", NAN, r"NIR node 'leak': LI.r is nan"),
    ("ff", "weight", NAN, r"NIR node 'ff': Affine.weight is nan at \(0, 0\)"),
    ("ff", "weight", np.ones((6, 4)), r"NIR node 'ff': Affine.weight has shape \(6, 4\), but 3 signals arrive"),
    ("ff", "weight", np.ones((5, 3)), r"NIR node 'ff': Affine.bias has shape"),
    ("ff", "bias", NAN, r"NIR node 'ff': Affine.bias is nan"),
    ("mid", "weight", np.ones((5, 6)), r"NIR node 'mid': Affine.bias has shape"),
    ("rec", "weight", np.ones((5, 6)), r"NIR node 'late': Delay.delay has shape \(6,\); legal: \(5,\)"),
    ("rec", "weight", np.ones((2, 2, 6)), r"NIR node 'rec': Linear has a weight of shape .*; only matrices"),
    ("late", "delay", NAN, r"NIR node 'late': Delay.delay is nan at 0; legal: finite, >= 0"),
    ("late", "delay", -1e-3, r"NIR node 'late': Delay.delay is -0.001 at 0"),
    ("late", "delay", 1e9, r"NIR node 'late': Delay.delay is 1e\+09 s, 1e\+12 steps of dt = 0.001 s; .* would take 43.66 TiB"),
    ("up", "weight", INF, r"NIR node 'up': Affine.weight is inf"),
    ("up", "bias", NAN, r"NIR node 'up': Affine.bias is nan"),
    ("in", "input_type", {"input": np.array([0])}, "NIR node 'in': Input has the shape"),
]


@pytest.mark.parametrize(("node", "field", "value", "words"), VALUES)
def test_values_that_no_node_may_have(node: str, field: str, value: object, words: str) -> None:
    with pytest.raises(NIRError, match=words):
        srl.from_nir(changed(node, **{field: value}), DT)


def test_a_leak_that_eulers_steps_cannot_follow() -> None:
    with pytest.raises(NIRError, match=r"NIR node 'lif': LIF.tau is 0.0004 s; legal with the method 'euler' and dt = 0.001 s"):
        srl.from_nir(changed("lif", tau=4e-4), DT, method="euler")
    with pytest.raises(NIRError, match=r"NIR node 'leak': LI.tau is 0.0008 s, less than dt"):
        srl.from_nir(changed("leak", tau=8e-4), DT, method="euler")


@pytest.mark.parametrize("shape", [(), (1,)])
def test_one_number_for_a_layer_is_spread_over_it(shape: tuple[int, ...], tmp_path: Path) -> None:
    """Scalars in every unit, bias, scale and delay, in a graph and in a file, beside the arrays that they stand for."""
    names = {
        "lif": ("tau", "r", "v_leak", "v_threshold", "v_reset"), "late": ("delay",), "ff": ("bias",),
        "cuba": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
        "leak": ("tau", "r", "v_leak"),
    }  # fmt: skip

    def graph(alike: bool) -> nir.NIRGraph:
        one = layered()
        one.nodes["late"].delay = np.full(6, 3 * DT)
        for name, fields in names.items():
            for field in fields:
                value = getattr(one.nodes[name], field)
                setattr(one.nodes[name], field, np.full(shape if alike else value.shape, value[0]))
        scale = nir.Scale(np.full(shape if alike else 3, 1.5))
        edges = [e for e in one.edges if e != ("in", "ff")]
        return nir.NIRGraph({**one.nodes, "gain": scale}, [("in", "gain"), ("gain", "ff"), *edges], type_check=False)

    nir.write(tmp_path / "one.nir", graph(True), compression=None)
    full, *nets = (srl.from_nir(g, DT, dtype="float64") for g in (graph(False), graph(True), tmp_path / "one.nir"))
    expected = srl.simulate(full, drive())
    assert len(expected.events) > 100
    for net in nets:
        assert {n: p.size for n, p in net.populations.items()} == {"lif": 6, "cuba": 4}
        np.testing.assert_array_equal(srl.simulate(net, drive()).z, expected.z)


def test_what_is_no_graph(tmp_path: Path) -> None:
    """One class of error for whatever is given, and for damaged files; a file that is not there is Python's own."""
    good, cut, junk = tmp_path / "good.nir", tmp_path / "cut.nir", tmp_path / "junk.nir"
    nir.write(good, layered())
    cut.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    junk.write_bytes(b"no HDF5" * 100)
    alone = tmp_path / "alone.nir"
    nir.write(alone, layered().nodes["lif"])
    for given in (3, None, [], {}, b"a", np.ones(3), layered().nodes["lif"], cut, junk, tmp_path, alone):
        with pytest.raises(NIRError, match=r"from_nir: .*(legal: a nir.NIRGraph|is a folder)"):
            srl.from_nir(given, DT)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        srl.from_nir(tmp_path / "none.nir", DT)
    with pytest.raises(NIRError, match="net is a int"):
        srl.to_nir(3)  # type: ignore[arg-type]
    for dt in (0, -1.0, NAN, "a", [1, 2], b"x", True):
        with pytest.raises(NIRError, match="time"):
            srl.from_nir(layered(), dt)  # type: ignore[arg-type]
    for nodes, edges in (({"a": 1}, [("a",)]), ({3: 1}, []), ({"a": 1}, [("a", "b")]), ({"a": 1}, None), (None, [])):
        with pytest.raises(NIRError, match=r"legal: |which is not a node"):
            srl.from_nir(nir.NIRGraph(nodes or {}, edges, type_check=False) if nodes else broken(), DT)


def broken() -> nir.NIRGraph:
    graph = layered()
    graph.nodes = None  # type: ignore[assignment]
    return graph


@pytest.mark.slow
def test_mutated_files(tmp_path: Path) -> None:
    """500 files with bytes or values changed at random: a network that computes, or a NIRError; never anything else."""
    import h5py

    rng, good, path = np.random.default_rng(0), tmp_path / "good.nir", tmp_path / "bad.nir"
    nir.write(good, layered(), compression=None)
    fields: list[str] = []
    with h5py.File(good, "r") as file:
        file.visititems(lambda name, item: fields.append(name) if isinstance(item, h5py.Dataset) else None)
    odd = [NAN, INF, -INF, 0.0, -1.0, 1e39, 1e-300, 1e9, 3, "a", np.ones(3), np.ones((2, 2)), np.ones(0), True, 1j]
    computed = refused = 0
    for trial in range(500):
        path.write_bytes(good.read_bytes())
        if trial % 2:
            data = bytearray(good.read_bytes())
            for _ in range(rng.integers(1, 6)):
                data[rng.integers(len(data))] = rng.integers(256)
            path.write_bytes(data[: rng.integers(len(data)) if rng.random() < 0.1 else None])
        else:
            with h5py.File(path, "a") as file:
                name = fields[rng.integers(len(fields))]
                value, whole = odd[rng.integers(len(odd))], np.array(file[name][()])  # type: ignore[index]
                del file[name]
                if (
                    np.ndim(value) == 0
                    and whole.dtype.kind == "f"
                    and rng.random() < 0.5
                    and not isinstance(value, str | complex)
                ):
                    whole.flat[rng.integers(whole.size)] = value
                    value = whole
                if rng.random() < 0.9:
                    file[name] = value
        try:
            run = srl.simulate(srl.from_nir(path, DT, dtype="float64"), drive()[:20])
        except (NIRError, FloatingPointError):
            refused += 1
        else:
            computed += 1
            assert all(np.isfinite(v).all() for states in run.states.values() for v in states.values())
    assert computed > 50 and refused > 50


@pytest.mark.parametrize("case", REFUSED)
def test_refused_graphs(case: str) -> None:
    graph, why = REFUSED[case]
    with pytest.raises(NIRError, match=why):
        srl.from_nir(graph, DT)


def test_a_graph_without_a_step() -> None:
    with pytest.raises(NIRError, match="does not say how long a step is; give dt="):
        srl.from_nir(layered())
    with pytest.raises(NIRError, match=r"method must be one of \('exponential', 'euler'\), got 'rk4'"):
        srl.from_nir(layered(), DT, method="rk4")


@pytest.mark.parametrize("name", marked(n for n in srl.models.names() if n != "threshold_rnn"))
def test_refused_models(name: str) -> None:
    """What NIR cannot say is refused by name, and says what to use."""
    net = srl.Network().add_input("x", 2).add_population("h", srl.models.load(name), 3).connect("x", "h").initialize(0)
    with pytest.raises(NIRError, match=rf"population 'h': NIR cannot say the model '{name}': .*nir_model\(primitive\)"):
        srl.to_nir(net)


def test_absent_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(ModuleNotFoundError, match=r"to_nir\(\) needs the package 'nir'.*pip install 'spikertrl\[nir\]'"):
        srl.to_nir(srl.Network().add_population("h", nir_model("LIF"), 2))


def test_refused_networks() -> None:
    lif = nir_model("LIF")
    start = srl.Network().add_population("h", lif, 2, initial={"v": 0.5})
    with pytest.raises(NIRError, match="cannot say initial values"):
        srl.to_nir(start)
    mixed = srl.Network().add_population("h", lif, 2).add_population("g", nir_model("LIF", "euler"), 2)
    with pytest.raises(NIRError, match=r"methods \['euler', 'exponential'\]; a graph has one"):
        srl.to_nir(mixed)
