"""What belongs to the process: the limit on BLAS, numba's threading layer, children."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

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

def network():
    net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 6, theta=0.05)
    return net.connect("x", "h").connect("h", "h").add_readout("z", "h", 1).initialize(0)

x, loss = np.ones((4, 2, 2)), srl.losses.squared_error(np.ones((4, 2, 1)))

def work(queue):
    net = network()
    queue.put(srl.simulate(net, x).z)
    try:
        queue.put(srl.gradient(net, srl.SnAp(1), x, loss)[1])
    except RuntimeError as error:
        queue.put(str(error))

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    if sys.argv[2] == "used":
        expected = srl.gradient(network(), srl.SnAp(1), x, loss)[1]
    queue = context.Queue()
    child = context.Process(target=work, args=(queue,))
    child.start()
    z, found = queue.get(timeout=120), queue.get(timeout=120)
    child.join()
    assert child.exitcode == 0 and np.array_equal(z, srl.simulate(network(), x).z)
    right = srl.gradient(network(), srl.SnAp(1), x, loss)[1]
    print("says so" if isinstance(found, str) and "'spawn'" in found else np.array_equal(found, right))
"""


@pytest.mark.parametrize(
    ("how", "used", "layer", "expected"),
    [
        ("spawn", "used", "default", "True"),
        ("fork", "fresh", "default", "True"),
        ("fork", "used", "workqueue", "True"),
        ("fork", "used", "omp", "says so"),
    ],
)
def test_children_compute_or_say_at_once_how_they_are_to_be_started(how, used, layer, expected, tmp_path) -> None:
    if sys.platform == "win32" and how == "fork":
        pytest.skip("Windows has no fork")
    file = tmp_path / "children.py"
    file.write_text(CHILDREN)
    found = run_python([str(file), how, used], layer)
    if layer == "omp" and "No threading layer" in found.stderr:
        pytest.skip("no OpenMP here")
    assert found.stdout.split("\n")[0] == expected, found.stderr


def test_threads_on_the_layer_that_knows_no_threads(tmp_path) -> None:
    file = tmp_path / "threads.py"
    text = """
import numpy as np, spikertrl as srl
from concurrent.futures import ThreadPoolExecutor
net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 6, theta=0.05)
net = net.connect("x", "h").connect("h", "h").add_readout("z", "h", 1).initialize(0)
x, loss = np.ones((4, 2, 2)), srl.losses.squared_error(np.ones((4, 2, 1)))
work = lambda _: srl.gradient(net, srl.SnAp(1), x, loss)[1]
with ThreadPoolExecutor(4) as pool:
    print(all(np.array_equal(found, work(0)) for found in pool.map(work, range(100))))
"""
    file.write_text(text)
    found = run_python([str(file)], "workqueue")
    assert found.stdout.strip() == "True", found.stderr


def run_python(arguments: list[str], layer: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
