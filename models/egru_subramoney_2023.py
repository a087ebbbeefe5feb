"""Event-based GRU exactly as in the spiral experiment of Subramoney (2023).

It differs from ``egru`` in three ways: the threshold is sigmoid(theta), every gate input is low-pass filtered (barely, with
a = 0.001), and each gate has one bias, so none at port ``h``.

Equations, one step:

    i_u = a*i_u + (1 - a)*I_u
    i_r = a*i_r + (1 - a)*I_r
    u = sigmoid(i_u)
    r = sigmoid(i_r)
    i_c = a*i_c + (1 - a)*(I_x + r*I_h)
    thr = sigmoid(theta)
    c = (1 - u)*(c - thr*event(c - thr)) + u*tanh(i_c)        message y = c*event(c - sigmoid(theta))

| name | unit | symbol | default | meaning |
|---|---|---|---|---|
| theta | 1 | theta | -1, trained | threshold before the sigmoid; the paper draws it from N(0, 1) - 1 |
| a | 1 | a | 0.001 | what a gate input keeps of its previous value |
| bias_u | 1 | b_u | trained | bias of the update gate; the paper draws biases from U(-1, 1)/sqrt(n) |
| bias_r | 1 | b_r | trained | bias of the reset gate |
| bias_x | 1 | b_c | trained | bias of the candidate |

Receives inputs at ports ``u``, ``r``, ``x`` and recurrent connections at ``u``, ``r``, ``h``. Sends graded events: the state
c, or nothing.

Reference: Subramoney (2023), Efficient real time recurrent learning through combined activity and parameter sparsity,
arXiv:2303.05641.

>>> MODEL.trainable, MODEL.memory
(('theta',), ('i_u', 'i_r', 'i_c', 'c'))
>>> [name for name, port in MODEL.ports.items() if port.bias]
['u', 'r', 'x']
"""

from spikertrl.model import Model, Parameter, Port, State
from spikertrl.surrogates import triangle

MODEL = Model(
    name="egru_subramoney_2023",
    summary="event-based GRU, the variant of the 2023 sparse RTRL experiment",
    update="""
    i_u = a*i_u + (1 - a)*I_u
    i_r = a*i_r + (1 - a)*I_r
    u = sigmoid(i_u)
    r = sigmoid(i_r)
    i_c = a*i_c + (1 - a)*(I_x + r*I_h)
    thr = sigmoid(theta)
    c = (1 - u)*(c - thr*event(c - thr)) + u*tanh(i_c)
    """,
    message="c*event(c - sigmoid(theta))",
    states={
        "i_u": State(meaning="filtered input of the update gate"),
        "i_r": State(meaning="filtered input of the reset gate"),
        "i_c": State(meaning="filtered input of the candidate"),
        "c": State(meaning="internal state"),
    },
    ports={
        "u": Port(kind="both", bias=True, meaning="update gate"),
        "r": Port(kind="both", bias=True, meaning="reset gate"),
        "x": Port(kind="input", bias=True, meaning="candidate, from inputs"),
        "h": Port(kind="recurrent", meaning="candidate, from the population itself, behind the reset gate"),
    },
    parameters={
        "theta": Parameter(-1.0, trainable=True, meaning="threshold before the sigmoid"),
        "a": Parameter(0.001, meaning="what a gate input keeps of its previous value"),
    },
    surrogate=triangle(gamma=0.7, width=1.0),
    reference="Subramoney (2023), Efficient real time recurrent learning through combined activity and parameter sparsity, "
    "arXiv:2303.05641",
)
