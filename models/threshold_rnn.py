"""Memoryless threshold unit: an event whenever the input of this step is positive.

Equations, one step:

    v = I_v        message y = event(v)

| name | unit | symbol | default | meaning |
|---|---|---|---|---|
| bias_v | 1 | b_v | trained | bias of the port; minus the threshold |

Receives at port ``v`` (inputs and recurrent connections). Sends 1 or nothing. Nothing leaks from step to step, so the
influence of a unit outside the support of the pseudo-derivative is zero: the case where the event factor counts twice.

Reference: McCulloch and Pitts (1943), A logical calculus of the ideas immanent in nervous activity, Bulletin of Mathematical
Biophysics 5:115-133.

>>> MODEL.message, MODEL.memory, MODEL.surrogate.support
('event(v)', ('v',), 1.0)
"""

from spikertrl.model import Model, Port, State
from spikertrl.surrogates import triangle

MODEL = Model(
    name="threshold_rnn",
    summary="memoryless binary unit",
    update="v = I_v",
    message="event(v)",
    states={"v": State(meaning="input of this step")},
    ports={"v": Port(kind="both", bias=True, meaning="weighted input")},
    surrogate=triangle(gamma=0.7, width=1.0),
    reference="McCulloch and Pitts (1943), A logical calculus of the ideas immanent in nervous activity, Bulletin of "
    "Mathematical Biophysics 5:115-133",
)
