"""Leaky integrator: a passive membrane that sends its voltage.

Equations, one step:

    v = alpha*v + (1 - alpha)*I_v        message y = v

| name | unit | symbol | default | meaning |
|---|---|---|---|---|
| alpha | 1 | alpha | 0.9 | what the voltage keeps in a step, exp(-dt/tau_m) |
| bias_v | 1 | b_v | trained | constant input |

Receives at port ``v`` (inputs and recurrent connections). Sends a graded message at every step. Units without synapses among
themselves have an exact gradient that costs as much as their parameters are many, with ``trainable=("alpha",)``, too.

Reference: Gerstner, Kistler, Naud and Paninski (2014), Neuronal dynamics, Cambridge University Press, section 1.3.

>>> MODEL.memory, MODEL.trainable
(('v',), ())
"""

from spikertrl.model import Model, Parameter, Port, State

MODEL = Model(
    name="li",
    summary="leaky integrator, graded",
    update="v = alpha*v + (1 - alpha)*I_v",
    message="v",
    states={"v": State(meaning="membrane voltage")},
    ports={"v": Port(kind="both", bias=True, meaning="input current")},
    parameters={"alpha": Parameter(0.9, meaning="what the voltage keeps in a step")},
    reference="Gerstner, Kistler, Naud and Paninski (2014), Neuronal dynamics, Cambridge University Press, section 1.3",
)
