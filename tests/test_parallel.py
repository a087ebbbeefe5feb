"""One network over ranks: gradients have the bits of the plain learner's. Under a real mpiexec where mpi4py is there."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pytest

import spikertrl as srl
from networks import drive, single, stacked
from spikertrl import experiments as _experiment
from spikertrl.learners.base import Signal
from spikertrl.learners.engines.divide import Part, part_of
from spikertrl.parallel.columns import places
from spikertrl.resources import NotEnoughMemory
from spikertrl.simulation.run import simulator

HERE = Path(__file__).resolve().parent
FOUND = shutil.which("mpiexec", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
needs_mpi = pytest.mark.skipif(
    FOUND is None or importlib.util.find_spec("mpi4py") is None, reason="needs mpiexec and mpi4py: pip install 'spikertrl[mpi]'"
)


def mpiexec(ranks: int, *script: str) -> str:
    """What the scripts say when run by so many processes of one thread each; first by one, so that one compiles for all."""
    alone = {"NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
    for n in (1, ranks):
        command = [str(FOUND), "-n", str(n), sys.executable, "-m", "mpi4py", *(script or (str(HERE / "ranks"),))]
        done = subprocess.run(command, env=os.environ | alone, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_mpi
def test_ranks_have_the_gradient_of_one_to_the_bit_train_alike_and_fail_together() -> None:
    """Columns over ranks; lanes over ranks: the mean gradient, to the bit every time; what some wrote goes on with others."""
    said = mpiexec(4).splitlines()
    assert said == ["agree 8", "went on 15", *EXPERIMENT, f"compared {COMPARED}", "trained", "fits", "shut"]


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize("name", _experiment.names())
def test_every_experiment_runs_on_two_ranks_and_the_first_alone_writes_and_prints(name, tmp_path) -> None:
    """Its small form leaves the files, and says the lines, that it leaves and says in one process."""
    command = [str(Path(sys.executable).parent / "spikertrl"), "run", name, "--quick", "--out"]
    alone = {"NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
    said = []
    for ranks in (1, 2):
        launch = [str(FOUND), "-n", str(ranks), *command, str(tmp_path / str(ranks))]
        done = subprocess.run(launch, env=os.environ | alone, capture_output=True, text=True, timeout=900, check=False)
        said.append((done.returncode, len(done.stdout.splitlines()), files(tmp_path / str(ranks))))
    assert said[0] == said[1], done.stdout + done.stderr


def files(folder: Path) -> list[str]:
    """Of a folder, by their places in it."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@needs_mpi
@pytest.mark.slow
def test_checkpoints_of_every_learner_go_on_with_any_number_of_ranks() -> None:
    """Columns to the bit; lanes to float sums, and random signs are those of one process."""
    assert mpiexec(4, str(HERE / "ranks" / "checkpoints.py"), "every").splitlines() == ["went on 168"]


EXPERIMENT = ["RTRL", "UORO", "OverColumns", "OverLanes"]  # what an experiment says alone, and on ranks once
COMPARED = 234  # gradients that the script looks at


@pytest.mark.parametrize("learner", [srl.RTRL(), srl.SnAp(1), srl.SnAp(2), srl.EProp("adaptive"), srl.RFLO()], ids=str)
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_parts_put_together_are_the_whole_gradient(learner: srl.learners.Learner, ranks: int) -> None:
    """The same without processes: one part after the other."""
    net = stacked("egru", "alif", "float32")
    w = net.wiring
    owner = learner.share_out(w, ranks)
    states = [learner.init(Part(net, part_of(w, owner == r, r == 0)), 2) for r in range(ranks)]
    machine, whole = simulator(net), learner.init(net, 2)
    sim, x = machine.start(2), drive(12, 2).astype(np.float32)
    for t in range(0, 12, 4):
        tape = machine.run(sim, x[t : t + 4])
        signal = Signal(0.0, np.ones_like(tape.z))
        expected, found = learner.update(whole, tape, signal), np.zeros_like(net.theta)
        for state, mine in zip(states, places(w, owner, ranks), strict=True):
            found[mine] = learner.update(state, tape, signal)[mine]
        assert np.abs(expected).max() > 0.1
        assert found.tobytes() == expected.tobytes()


def test_every_learned_parameter_has_one_rank_and_fixed_ones_have_none() -> None:
    net = srl.Network().add_input("x", 3).add_population("h", srl.models.egru, 12)
    net.connect("x", "h", trainable=("u",)).connect("h", "h").add_readout("z", "h", 2).add_readout("f", "h", 1, trainable=False)
    for ranks in (1, 2, 5):
        found = np.concatenate(places(net.wiring, srl.RTRL().share_out(net.wiring, ranks), ranks))
        learned = np.setdiff1d(np.arange(net.wiring.n_parameters), net.wiring.frozen)
        np.testing.assert_array_equal(np.sort(found), learned)


def test_influence_is_shared_out_evenly_where_units_differ() -> None:
    """Half of the units hear nine times as much as the other half: shares follow the cost, not the count."""
    mask = np.zeros((60, 90), bool)
    mask[:30], mask[30:, :10] = True, True
    net = srl.Network().add_input("x", 90).add_population("h", srl.models.egru, 60).connect("x", "h", mask=mask)
    net.connect("h", "h", density=0.2)
    for learner in (srl.RTRL(), srl.SnAp(1)):
        whole = net.memory(learner).influence
        for ranks in (2, 3):
            held = net.memory(learner, ranks=ranks).per_rank
            assert max(held) <= 1.15 * whole / ranks
            assert min(held) >= 0.85 * whole / ranks


def test_what_has_no_columns_is_refused_and_lanes_are_offered() -> None:
    for learner in (srl.BPTT(), srl.UORO(), srl.OK(), srl.KFRTRL(), srl.RTRL(dense=True), srl.RandomPaths()):
        with pytest.raises(TypeError, match=r"keeps no columns.*RTRL, SnAp, EProp, RFLO.*over_lanes"):
            srl.parallel.over_columns(learner, None)


def test_a_refusal_names_the_least_number_of_ranks_that_would_do(monkeypatch) -> None:
    net = srl.Network().add_input("x", 8).add_population("h", srl.models.egru, 96).connect("x", "h")
    net = net.connect("h", "h", density=0.3)
    for learner in (srl.RTRL(), srl.SnAp(1), srl.EProp(), srl.RFLO()):
        for part in (2, 5):
            free = net.memory(learner, 8).influence // part
            monkeypatch.setattr(psutil, "virtual_memory", lambda free=free: type("Free", (), {"available": free})())
            with pytest.raises(NotEnoughMemory, match=r"\d ranks, each with") as caught:
                learner.init(net, 8)
            ranks = int(str(caught.value).split(" ranks, each with")[0].rpartition(" ")[2])
            assert ranks >= part
            fits = [max(net.memory(learner, 8, ranks=n).per_rank) <= free for n in (ranks - 1, ranks)]
            assert fits == [False, True] or not isinstance(learner, srl.RTRL)


def test_without_a_communicator_the_learner_is_itself() -> None:
    learner = srl.SnAp(2)
    assert srl.parallel.over_columns(learner) is learner
    assert srl.parallel.over_lanes(learner) is learner


def test_a_part_of_the_columns_takes_the_road_of_all_of_them() -> None:
    """What decides how to compute looks at all columns: its figures do not depend on the number of ranks."""
    net = single("egru", "float32", units=30)
    owner = srl.RTRL().share_out(net.wiring, 3)
    whole = srl.RTRL().init(net, 1)
    part = srl.RTRL().init(Part(net, part_of(net.wiring, owner == 1, False)), 1)
    assert part.M.nbytes < 0.5 * whole.M.nbytes
    assert part.facts.influence_bytes == whole.M.nbytes
    np.testing.assert_array_equal(part.layout.group, whole.layout.group)


def test_lanes_are_shared_out_without_a_gap_or_refused() -> None:
    class Ranks(NamedTuple):
        rank: int
        size: int

        def Get_rank(self) -> int:
            return self.rank

        def Get_size(self) -> int:
            return self.size

    found = [srl.parallel.my_lanes(Ranks(r, 3), 8) for r in range(3)]
    assert [i for part in found for i in range(8)[part]] == list(range(8))
    assert {part.stop - part.start for part in found} == {2, 3}
    with pytest.raises(ValueError, match="2 lanes for 3 ranks"):
        srl.parallel.my_lanes(Ranks(0, 3), 2)
