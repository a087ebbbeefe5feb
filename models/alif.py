"""Adaptive leaky integrate-and-fire neuron in discrete time, as in the e-prop papers.

Equations, one step; y is the unit's own previous message:

    v = alpha*v + I_v - v_th*y
    a = rho*a + y                   message y = event(v - v_th - beta*a)

| name | unit | symbol | default | meaning |
|---|---|---|---|---|
| alpha | 1 | alpha | 0.95 | what the voltage keeps in a step, exp(-dt/tau_m) |
| rho | 1 | rho | 0.995 | what the adaptation keeps in a step, exp(-dt/tau_a) |
| beta | 1 | beta | 0.1 | rise of the threshold per unit of adaptation; 0 gives a plain neuron |
| v_th | 1 | v_th | 1 | resting threshold, and the size of the reset |

Receives at port ``v`` (inputs and recurrent connections). Sends 1 or nothing. The pseudo-derivative 0.3*max(0, 1 - |v - v_th
- beta*a|) is the paper's at v_th = 1; for another v_th use triangle(0.3/v_th, v_th). It is part of the reset's gradient
unless the model is used with reset_gradient=False. The paper's refractory period is left out.

Reference: Bellec et al. (2020), A solution to the learning dilemma for recurrent networks of spiking neurons, Nature
Communications 11:3625.

>>> MODEL.memory, MODEL.trainable, MODEL.surrogate.parameters["gamma"]
(('v', 'a'), (), 0.3)
"""

from spikertrl.model import Model, Parameter, Port, State
from spikertrl.surrogates import triangle

MODEL = Model(
    name="alif",
    summary="adaptive integrate-and-fire neuron, discrete time",
    update="""
    v = alpha*v + I_v - v_th*y
    a = rho*a + y
    """,
    message="event(v - v_th - beta*a)",
    states={"v": State(meaning="membrane voltage"), "a": State(meaning="adaptation")},
    ports={"v": Port(kind="both", scale=2.0, meaning="step of the voltage")},
    parameters={
        "alpha": Parameter(0.95, meaning="what the voltage keeps in a step"),
        "rho": Parameter(0.995, meaning="what the adaptation keeps in a step"),
        "beta": Parameter(0.1, meaning="rise of the threshold per unit of adaptation"),
        "v_th": Parameter(1.0, meaning="resting threshold, and the size of the reset"),
    },
    surrogate=triangle(gamma=0.3, width=1.0),
    reference="Bellec et al. (2020), A solution to the learning dilemma for recurrent networks of spiking neurons, Nature "
    "Communications 11:3625",
)
