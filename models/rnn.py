"""Plain recurrent unit with a tanh.

Equations, one step:

    h = tanh(I_h)        message y = h

| name | unit | symbol | default | meaning |
|---|---|---|---|---|
| bias_h | 1 | b_h | trained | bias of the port |

Receives at port ``h`` (inputs and recurrent connections). Sends a graded message at every step, so a unit is never silent.
The state carries nothing over by itself: the past enters through recurrent connections alone.

Reference: Elman (1990), Finding structure in time, Cognitive Science 14:179-211.

>>> MODEL.trainable, MODEL.ports_for("input"), MODEL.ports_for("recurrent")
((), ('h',), ('h',))
"""

from spikertrl.model import Model, Port, State

MODEL = Model(
    name="rnn",
    summary="tanh unit, graded message",
    update="h = tanh(I_h)",
    message="h",
    states={"h": State(meaning="activation")},
    ports={"h": Port(kind="both", bias=True, meaning="weighted input")},
    reference="Elman (1990), Finding structure in time, Cognitive Science 14:179-211",
)
