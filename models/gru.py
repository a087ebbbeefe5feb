"""Gated recurrent unit, reset gate applied after the recurrent weights.

Equations, one step:

    u = sigmoid(I_u)
    r = sigmoid(I_r)
    g = tanh(I_x + r*I_h)
    h = (1 - u)*h + u*g        message y = h

| name | unit | symbol | default | meaning |
|---|---|---|---|---|
| bias_u | 1 | b_u | trained | bias of the update gate |
| bias_r | 1 | b_r | trained | bias of the reset gate |
| bias_x | 1 | b_x | trained | bias of the candidate, outside the reset gate |
| bias_h | 1 | b_h | trained | bias of the candidate, inside the reset gate |

Receives inputs at ports ``u``, ``r``, ``x`` and recurrent connections at ``u``, ``r``, ``h``. Sends a graded message at
every step. Here u = 1 writes the candidate; some libraries use 1 - u under the name z.

Reference: Cho et al. (2014), Learning phrase representations using RNN encoder-decoder, EMNLP; arXiv:1406.1078v1 (reset
after).

>>> MODEL.trainable, MODEL.ports_for("input"), MODEL.ports_for("recurrent")
((), ('u', 'r', 'x'), ('u', 'r', 'h'))
"""

from spikertrl.model import Model, Port, State

MODEL = Model(
    name="gru",
    summary="gated recurrent unit, reset after",
    update="""
    u = sigmoid(I_u)
    r = sigmoid(I_r)
    g = tanh(I_x + r*I_h)
    h = (1 - u)*h + u*g
    """,
    message="h",
    states={"h": State(meaning="activation")},
    ports={
        "u": Port(kind="both", bias=True, meaning="update gate"),
        "r": Port(kind="both", bias=True, meaning="reset gate"),
        "x": Port(kind="input", bias=True, meaning="candidate, from inputs"),
        "h": Port(kind="recurrent", bias=True, meaning="candidate, from the population itself, behind the reset gate"),
    },
    reference="Cho et al. (2014), Learning phrase representations using RNN encoder-decoder, EMNLP; arXiv:1406.1078v1",
)
