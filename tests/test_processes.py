"""What belongs to the process: the limit on BLAS, threads, children."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from fuzzing import ROOT, SURVIVED, fuzz
from spikertrl.threads import one_pool


# -- BLAS's limit, which is one for the process ------------------------------------------------------------------------------
def test_the_limit_on_blas_is_put_back_whoever_leaves_first() -> None:
    from threadpoolctl import threadpool_info, threadpool_limits

    def limits() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with one_pool():
            inside.set()
            leave.wait()

    with threadpool_limits(2, user_api="blas"):
        before = limits()
        for other_leaves_first in (True, False):
            inside.clear()
            leave.clear()
            thread = threading.Thread(target=other)
            with one_pool():
                assert set(limits()) == {1}
                thread.start()
                inside.wait()
                if other_leaves_first:
                    leave.set()
                    thread.join()
                    assert set(limits()) == {1}
            leave.set()
            thread.join()
            assert limits() == before


# -- processes ---------------------------------------------------------------------------------------------------------------
CHILDREN = """
import multiprocessing, sys
import numpy as np, spikertrl as srl
from spikertrl.learners.engines.choose import override
from spikertrl.threads import threads

def network():
    net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 6, theta=0.05)
    return net.connect("x", "h").connect("h", "h").add_readout("z", "h", 1).initialize(0)

x, loss = np.ones((4, 2, 2)), srl.losses.squared_error(np.ones((4, 2, 1)))

def learn():
    with override(shared_work=0.0):  # every loop on two threads
        return srl.gradient(network(), srl.RTRL(), x, loss, tau=2)[1]

def work(queue):
    queue.put(learn())

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    if sys.argv[2] == "used":
        learn()
    queue = context.Queue()
    child = context.Process(target=work, args=(queue,))
    child.start()
    found = queue.get(timeout=120)
    child.join()
    assert child.exitcode == 0
    print(threads(), np.array_equal(found, learn()))
"""


@pytest.mark.parametrize(("how", "used"), [("spawn", "used"), ("fork", "used")])
def test_children_learn(how, used, tmp_path) -> None:
    if sys.platform == "win32" and how == "fork":
        pytest.skip("Windows has no fork")
    file = tmp_path / "children.py"
    file.write_text(CHILDREN)
    environment = {**os.environ, "NUMBA_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = [sys.executable, str(file), how, used]
    found = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert found.stdout.split("\n")[0] == "2 True", found.stderr


# -- processes that share a cache --------------------------------------------------------------------------------------------
PROCESSES = 8
PROGRAM = """
import numpy as np, spikertrl as srl
net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.threshold_rnn, 5)
net = net.connect("x", "h").connect("h", "h").add_readout("z", "h", 1).initialize(0)
print(srl.simulate(net, np.random.default_rng(0).normal(size=(9, 2, 2))).z.tobytes().hex())
"""


@pytest.mark.slow
def test_processes_that_start_at_once_on_one_cache(tmp_path: Path) -> None:
    """The first attempt finds no models and no compiled code, the others find files with a bit that has turned."""
    expected = answers(tmp_path / "own", 1)
    assert len(expected) == 1 and len(expected[0]) > 100 and expected[0].strip().isalnum()

    def attempt(seed: int) -> str:
        rng = np.random.default_rng(seed)
        shared = tmp_path / "shared"
        for path in [*sorted(shared.glob("**/*.n*")), *sorted(shared.glob("*.py"))]:
            if rng.random() < 0.3:
                data = bytearray(path.read_bytes())
                data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
                path.write_bytes(data)
        found = answers(shared, PROCESSES)
        if wrong := [text for text in found if text != expected[0]]:
            return f"{len(wrong)} of {PROCESSES} differ: {wrong[0][-300:]}"
        left = [path.name for path in shared.glob("**/*.tmp*")]
        return f"{left} stay" if left else SURVIVED

    fuzz("processes", 3, attempt)


def answers(cache: Path, count: int) -> list[str]:
    """What so many processes that start at once print."""
    environment = {
        **os.environ,
        "SPIKERTRL_CACHE": str(cache),
        "NUMBA_CACHE_DIR": str(cache / "code"),
        "NUMBA_NUM_THREADS": "1",
    }
    environment |= {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    command, pipe = [sys.executable, "-W", "ignore", "-c", PROGRAM], subprocess.PIPE
    running = [subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) for _ in range(count)]
    found = [process.communicate(timeout=1800) for process in running]
    return [told if process.returncode == 0 else f"exit {process.returncode}: {error}"
            for process, (told, error) in zip(running, found, strict=True)]  # fmt: skip
