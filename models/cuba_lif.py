"""Leaky integrate-and-fire neuron with a synaptic current, in discrete time.

Equations, one step; y is the unit's own previous message, so the threshold is subtracted one step after a spike:

    i = alpha_s*i + I_i
    v = alpha*v + i - v_th*y        message y = event(v - v_th)

| name | unit | symbol | default | meaning |
|---|---|---|---|---|
| alpha_s | 1 | alpha_s | 0.8 | what the synaptic current keeps in a step, exp(-dt/tau_s) |
| alpha | 1 | alpha | 0.9 | what the voltage keeps in a step, exp(-dt/tau_m) |
| v_th | 1 | v_th | 1 | threshold, and the size of the reset |

Receives at port ``i`` (inputs and recurrent connections). Sends 1 or nothing. The pseudo-derivative of the reset is part of
the gradient unless the model is used with reset_gradient=False.

Reference: Neftci, Mostafa and Zenke (2019), Surrogate gradient learning in spiking neural networks, IEEE Signal Processing
Magazine 36(6):51-63; arXiv:1901.09948.

>>> MODEL.memory, MODEL.trainable, MODEL.reset_gradient
(('i', 'v'), (), True)
"""

from spikertrl.model import Model, Parameter, Port, State
from spikertrl.surrogates import triangle

MODEL = Model(
    name="cuba_lif",
    summary="integrate-and-fire neuron with a synaptic current, discrete time",
    update="""
    i = alpha_s*i + I_i
    v = alpha*v + i - v_th*y
    """,
    message="event(v - v_th)",
    states={"i": State(meaning="synaptic current"), "v": State(meaning="membrane voltage")},
    ports={"i": Port(kind="both", scale=0.3, meaning="step of the synaptic current")},
    parameters={
        "alpha_s": Parameter(0.8, meaning="what the synaptic current keeps in a step"),
        "alpha": Parameter(0.9, meaning="what the voltage keeps in a step"),
        "v_th": Parameter(1.0, meaning="threshold, and the size of the reset"),
    },
    surrogate=triangle(gamma=0.3, width=1.0),
    reference="Neftci, Mostafa and Zenke (2019), Surrogate gradient learning in spiking neural networks, IEEE Signal "
    "Processing Magazine 36(6):51-63; arXiv:1901.09948",
)
