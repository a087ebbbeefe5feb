"""Adaptive leaky integrate-and-fire neuron whose adaptation hears the voltage, too: below threshold it can oscillate.

Equations, one step; y is the unit's own previous message:

    w = beta*w + a*u + b*y
    u = alpha*(u - v_th*y) + (1 - alpha)*(I_u - w)        message y = event(u - v_th)

| name | unit | symbol | default | meaning |
|---|---|---|---|---|
| alpha | 1 | alpha | 0.9, trained | what the voltage keeps in a step |
| beta | 1 | beta | 0.98, trained | what the adaptation keeps in a step |
| a | 1 | a | 0.5, trained | adaptation by voltage |
| b | 1 | b | 1, trained | adaptation by spikes |
| v_th | 1 | theta | 1 | threshold, and the size of the reset |

Receives at port ``u`` (inputs and recurrent connections). Sends 1 or nothing. Units without synapses among themselves have an
exact gradient that costs as much as their parameters are many. The paper keeps alpha in 0.82 .. 0.96, beta in 0.967 .. 0.992,
a in -1 .. 1 and b in 0 .. 2; its pseudo-derivative is a boxcar that reaches 0.5 to either side of the threshold, as here.

Reference: Bittar and Garner (2022), A surrogate gradient spiking baseline for speech command recognition, Frontiers in
Neuroscience 16:865897.

>>> MODEL.memory, MODEL.trainable
(('w', 'u'), ('alpha', 'beta', 'a', 'b'))
"""

from spikertrl.model import Model, Parameter, Port, State
from spikertrl.surrogates import boxcar

MODEL = Model(
    name="adlif",
    summary="adaptive integrate-and-fire neuron with coupled adaptation, discrete time",
    update="""
    w = beta*w + a*u + b*y
    u = alpha*(u - v_th*y) + (1 - alpha)*(I_u - w)
    """,
    message="event(u - v_th)",
    states={"w": State(meaning="adaptation"), "u": State(meaning="membrane voltage")},
    ports={"u": Port(kind="both", scale=10.0, meaning="input current")},
    parameters={
        "alpha": Parameter(0.9, trainable=True, meaning="what the voltage keeps in a step"),
        "beta": Parameter(0.98, trainable=True, meaning="what the adaptation keeps in a step"),
        "a": Parameter(0.5, trainable=True, meaning="adaptation by voltage"),
        "b": Parameter(1.0, trainable=True, meaning="adaptation by spikes"),
        "v_th": Parameter(1.0, meaning="threshold, and the size of the reset"),
    },
    surrogate=boxcar(gamma=0.5, width=0.5),
    reference="Bittar and Garner (2022), A surrogate gradient spiking baseline for speech command recognition, Frontiers in "
    "Neuroscience 16:865897",
)
