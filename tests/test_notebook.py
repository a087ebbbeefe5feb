"""What a notebook shows as a cell's last line: short tables, and names that a user may want."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

import spikertrl as srl
from spikertrl.checks import Law, Report
from spikertrl.training.history import History


def test_tables_are_short_and_say_what_there_is() -> None:
    net = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 5).connect("x", "h").connect("h", "h")
    net.add_readout("z", "h", 2).initialize(0)
    x, loss = np.ones((6, 1, 2)), srl.losses.squared_error(np.ones((6, 1, 2)))
    history = History([{"step": n + 1, "loss": 1 / (n + 1), "valid_accuracy": 0.5} for n in range(1000)])
    shown = [
        (net, ("population", "egru", "h&lt;-h", "readout")),
        (history, ("1000 steps", "loss", "0.001", "valid_accuracy")),
        (srl.compare(net, [srl.RTRL(), srl.SnAp(1)], x, loss), ("SnAp(order=1)", "cos all", "<td>1</td>")),
        (srl.simulate(net, x), ("activity", "readout z", "states of h")),
        (srl.models.egru, ("Model egru", "theta", "0.3", "internal state")),
        (Report("unit <h>", (Law("alive", "passed", 0.25, 1.0),)), ("unit &lt;h&gt;", "alive", "0.25")),
        (net.memory(srl.RTRL()), ("influence", "KiB")),
    ]
    for thing, words in shown:
        text = thing._repr_html_()
        assert len(text) < 2000 and text.count("<table>") == text.count("</table>") == 1
        assert all(word in text for word in words), text
    assert repr(history) == "History(1000 steps; columns step, loss, valid_accuracy)"
    assert History()._repr_html_().startswith("<b>History, 0 steps</b>")


def test_names_that_are_listed_are_public() -> None:
    assert {"from_brian", "Network", "fit", "tasks"} <= set(dir(srl)) and not {"Any", "TYPE_CHECKING"} & set(dir(srl))


def test_files_of_a_folder_are_reached_by_their_names() -> None:
    """In a process that has imported nothing else of the package."""
    code = "import spikertrl as srl; print(srl.training.history.early_stop.__name__, srl.parallel.runs.Sweep.__name__)"
    code += "; print(hasattr(srl.training, 'nothing'), hasattr(srl, 'nothing'))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout == "early_stop Sweep\nFalse False\n", found.stderr
