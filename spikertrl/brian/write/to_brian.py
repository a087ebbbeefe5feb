"""Network -> Brian2: the same network as NeuronGroups, Synapses and monitors, spike for spike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import arguments
from ...network.learned_delays import none_learned
from ...simulation.run import as_input
from .network import BrianNetwork

if TYPE_CHECKING:
    from ...network.network import Network





def to_brian(net: Network, inputs: Any = None, *, record: bool | Mapping[str, Any] = True) -> BrianNetwork:
    """Build the network in Brian2: weights, delays, parameters, biases, initial values, input and monitors.

    Parameters
    ----------
    net : Network
    inputs : array (T, channels) or (T, 1, channels), or mapping input name -> (T, 1, size), optional
        External input of one lane. Events of value 1 become a SpikeGeneratorGroup, other values a TimedArray. Without it all
        inputs are silent.
    record : bool or mapping
        Which states to record, besides events, which always are: all, none, or population or readout -> names of variables.

    Returns
    -------
    BrianNetwork

    Raises
    ------
    ValueError
        If the input does not fit, or has several lanes.
    NetworkError
        If a parameter is random and not yet drawn, an ODE unit starts above its threshold, or delays are still learned.

    Notes
    -----
    A step has Brian2's slots in the order start, synapses, resets, groups, thresholds, end, so an input x(t) arrives in step t
    and a delay of d steps between units is a Brian2 delay of d - 1 steps. Sums over synapses and the terms of an update may be
    rounded in another order: states agree to the last bits, and events are the same.

    Examples
    --------
    >>> import brian2, numpy as np, spikertrl as srl
    >>> brian2.prefs.codegen.target = "numpy"
    >>> net = srl.Network("float64").add_input("x", 3, kind="event").add_population("h", srl.models.lif, 10)
    >>> net = net.connect("x", "h").connect("h", "h", density=0.3, delay="2*ms").initialize(0)
    >>> x = (np.random.default_rng(0).random((200, 3)) < 0.2) * 1.0
    >>> brian = srl.to_brian(net, x)
    >>> len(brian.synapses["h<-h"])
    30
    >>> ours, theirs = srl.simulate(net, x).events, brian.run().events
    >>> len(ours) > 20, np.array_equal(ours.time, theirs.time), np.array_equal(ours.unit, theirs.unit)
    (True, True, True)
    """
    from ...compile import quiet_brian  # noqa: F401
    from . import build as export_build

    arguments.network("to_brian", net)
    none_learned("to_brian", net.projections)
    net.ready()
    x = None
    if inputs is not None:
        x = as_input(net, inputs) if net.inputs else np.zeros((len(inputs), 1, 0))
        if x.shape[1] != 1:
            raise ValueError(f"Brian2 runs one lane at a time, x has {x.shape[1]}; give x[:, lane]")
        x = x[:, 0].astype(float)
    return export_build.build(net, x, record)
