"""NIR files that were damaged, or in which values, shapes, nodes and edges are others: they run, or are a NIRError.

HDF5 has no checksums by default: a file whose numbers are others is another network. It must be finite and simulate.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

import spikertrl as srl
from fuzzing import REFUSED, SURVIVED, Worker, damaged, fuzz
from spikertrl.nir.nodes import NIRError
from test_nir import DT, layered, stacked_nir

FILES = 3


@pytest.mark.slow
def test_mutated_nir_files(tmp_path: Path) -> None:
    graphs = (layered(), srl.to_nir(stacked_nir("exponential")), nested())
    assert len(graphs) == FILES
    for k, graph in enumerate(graphs):
        nir.write(tmp_path / f"{k}.nir", graph)
    whole = tuple((str(tmp_path), -k) for k in range(1, FILES + 1))
    with Worker("fuzz.test_nir_files:attempt", limit_s=60, room=1 << 30, warm=whole) as worker:
        fuzz("nir files", 60, lambda seed: worker.ask(str(tmp_path), seed))


def nested() -> nir.NIRGraph:
    """A graph inside of another, and every other primitive."""
    rng, ones = np.random.default_rng(0), np.ones(3)
    inside = nir.NIRGraph.from_list(
        nir.Input({"input": np.array([3])}), nir.IF(40 * ones, ones, 0 * ones), nir.Linear(rng.normal(size=(3, 3))),
        nir.CubaLI(0.01 * ones, 0.02 * ones, ones, 0 * ones, ones), nir.Output({"output": np.array([3])}),
    )  # fmt: skip
    nodes = {
        "in": nir.Input({"input": np.array([3])}), "scale": nir.Scale(2 * ones), "inside": inside,
        "late": nir.Delay(3 * DT * ones), "i": nir.I(10 * ones), "t": nir.Threshold(0.1 * ones),
        "up": nir.Affine(rng.normal(size=(2, 3)), np.ones(2)), "out": nir.Output({"output": np.array([2])}),
    }  # fmt: skip
    return nir.NIRGraph(nodes, list(itertools.pairwise(nodes)))


def attempt(folder: str, seed: int) -> str:
    """Damage a file and simulate what it holds; a negative seed damages nothing."""
    rng = np.random.default_rng(abs(seed))
    data = (Path(folder) / f"{abs(seed) % FILES}.nir").read_bytes()
    path = Path(folder) / f"mutated_{abs(seed)}.nir"
    path.write_bytes(damaged(data, rng) if seed >= 0 and rng.random() < 0.5 else data)
    if seed >= 0 and path.read_bytes() == data:
        for _ in range(int(rng.integers(1, 3))):
            edit(path, rng)
    try:
        net = srl.from_nir(path, DT, dtype="float64")
    except NIRError:
        return REFUSED
    finally:
        path.unlink(missing_ok=True)
    return run(net)


def run(net: srl.Network) -> str:
    """SURVIVED if the network can be used, or what is wrong."""
    values = [v for p in net.populations.values() for v in p.parameters.values()]
    if not all(np.isfinite(np.asarray(v, float)).all() for v in [net.theta, *values]):
        return "parameters that are not finite were taken"
    if not net.inputs or not net.populations:
        return SURVIVED
    x = np.random.default_rng(0).normal(size=(8, sum(i.size for i in net.inputs.values())))
    try:
        srl.simulate(net, x)
    except FloatingPointError:
        return REFUSED  # said by unit and step
    return SURVIVED


# -- edits -------------------------------------------------------------------------------------------------------------
JUNK: list[Any] = [
    np.nan, np.inf, -np.inf, -1.0, 0.0, 1e308, 1e-320, 1e9, 3, "text", b"\xff", True, np.ones(1), np.ones(2),
    np.ones((2, 2, 2)), np.zeros(0), np.ones(3, np.float16), np.ones(4, complex), np.ones(6, np.int8), np.array([10**12]),
    np.array([-3]), np.array([2**40, 2**40]), np.array(["a", "b"], dtype="S3"), np.full(3, np.nan), np.array([[0.5]]),
]  # fmt: skip


def edit(path: Path, rng: np.random.Generator) -> None:
    """Another value, shape or type in a place, one number that is another, a place that is missing or another's."""
    with h5py.File(path, "r+") as file:
        places: list[str] = []
        file.visit(places.append)
        name = places[int(rng.integers(len(places)))]
        while isinstance(file[name], h5py.Group) and rng.random() < 0.9:
            name = places[int(rng.integers(len(places)))]
        how = int(rng.integers(5))
        if how == 0:
            del file[name]
        elif how == 1:
            other = places[int(rng.integers(len(places)))]
            if not name.startswith(other) and not other.startswith(name):
                del file[name]
                file.copy(other, name)
        elif how == 2 and isinstance(file[name], h5py.Dataset) and file[name].size and file[name].dtype.kind in "if":
            values = np.array(file[name])
            values.reshape(-1)[int(rng.integers(values.size))] = rng.choice([0, -1, 3, 100, 1e6])
            file[name][...] = values
        else:
            del file[name]
            file[name] = JUNK[int(rng.integers(len(JUNK)))]
