"""What belongs to the process and to other libraries is as it was after importing and using the package."""

from __future__ import annotations

import subprocess
import sys

import pytest

SNAPSHOT = """
import logging, signal, sys, warnings
import matplotlib
import numpy as np
import scipy.sparse  # adds a filter for numpy's matrices

def settings():
    root, told = logging.getLogger(), logging.getLogger("py.warnings")
    return {
        "numpy errors": np.geterr(), "numpy printing": {k: repr(v) for k, v in np.get_printoptions().items()},
        "matplotlib": dict(matplotlib.rcParams), "filters": list(warnings.filters), "warnings": warnings.showwarning,
        "logging": (root.level, list(root.handlers), list(told.handlers), logging.raiseExceptions),
        "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)], "exceptions": sys.excepthook,
        "random": np.random.get_state()[1].tolist(), "threads": sys.getswitchinterval(), "recursion": sys.getrecursionlimit(),
    }

matplotlib.use("Agg")
before = settings()
"""
USE = """
import spikertrl as srl
names = [getattr(srl, name) for name in srl.__all__ if name not in ("from_brian", "BrianImportError", "ImportedNetwork")]
from spikertrl.compile import discretise                    # imports Brian2
net = srl.Network("float64").add_input("x", 1).add_population("h", "egru", 6).connect("x", "h").connect("h", "h")
net.add_readout("z", "h", 1).initialize(0)
task = srl.tasks.sunspots(tau=4)
history = srl.fit(net, task, srl.SnAp(1), srl.optimizers.sgd(0.1), steps=1, batch=2, progress=False)
srl.plot.raster(srl.simulate(net, np.ones((4, 1, 1))))
srl.plot.learning_curve(history)
assert "brian2" in sys.modules
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_settings_are_as_they_were_and_an_exception_is_the_users_own() -> None:
    """Of Brian2 too, which puts itself in front of exceptions, warnings and Ctrl-C as it is imported."""
    changed = "after = settings()\nprint([name for name in before if before[name] != after[name]])\n"
    found = run(SNAPSHOT + USE + changed + "raise KeyError('mine')")
    assert found.stdout == "[]\n", found.stdout + found.stderr
    assert found.stderr.rstrip().endswith("KeyError: 'mine'") and "Brian" not in found.stderr


IN_A_THREAD = """
import threading
from spikertrl.compile import brian_device
thread = threading.Thread(target=brian_device.import_brian2)
thread.start()
thread.join()
"""


@pytest.mark.slow
@pytest.mark.parametrize("first", ["import brian2", IN_A_THREAD], ids=["the user", "a thread"])
def test_who_imports_brian2_gets_what_it_does(first: str) -> None:
    """A user's own import keeps its handlers; in a thread, handlers stay as they are."""
    told = "print(sys.excepthook is before['exceptions'], signal.getsignal(signal.SIGINT) is before['signals'][0])"
    found = run(SNAPSHOT + first + "\nfrom spikertrl.compile import discretise\n" + told)
    assert found.stdout.split() == (["False", "False"] if first == "import brian2" else ["True", "True"]), found.stderr
