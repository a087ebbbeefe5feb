"""Recurrent highway unit of depth 1 with coupled gates.

Equations, one step:

    f = sigmoid(I_f)
    h = f*h + (1 - f)*tanh(I_c)        message y = h

| name | unit | symbol | default | meaning |
|---|---|---|---|---|
| bias_c | 1 | b_c | trained | bias of the candidate |
| bias_f | 1 | b_f | trained | bias of the carry gate |

Receives inputs and recurrent connections at both ports, ``c`` and ``f``. Sends a graded message at every step. Both ports
see the same sources, so all weights of a population form one Kronecker group.

Reference: Zilly, Srivastava, Koutnik and Schmidhuber (2017), Recurrent highway networks, ICML; used at depth 1 by Mujika,
Meier and Steger (2018), Approximating real-time recurrent learning with random Kronecker factors, NeurIPS; arXiv:1805.10842.

>>> MODEL.trainable, MODEL.ports_for("input"), MODEL.ports_for("recurrent")
((), ('c', 'f'), ('c', 'f'))
"""

from spikertrl.model import Model, Port, State

MODEL = Model(
    name="rhn",
    summary="recurrent highway unit, depth 1, coupled gates",
    update="""
    f = sigmoid(I_f)
    h = f*h + (1 - f)*tanh(I_c)
    """,
    message="h",
    states={"h": State(meaning="activation")},
    ports={
        "c": Port(kind="both", bias=True, meaning="candidate"),
        "f": Port(kind="both", bias=True, meaning="carry gate"),
    },
    reference="Zilly et al. (2017), Recurrent highway networks, ICML; Mujika, Meier and Steger (2018), Approximating real-time "
    "recurrent learning with random Kronecker factors, NeurIPS; arXiv:1805.10842",
)
