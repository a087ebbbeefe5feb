"""Event-based GRU: a GRU that speaks only when its state passes a trained threshold.

Equations, one step (reset gate after the recurrent weights):

    u = sigmoid(I_u)
    r = sigmoid(I_r)
    g = tanh(I_x + r*I_h)
    c = (1 - u)*(c - theta*event(c - theta)) + u*g        message y = c*event(c - theta)

After an event the threshold is subtracted from the state; the message carries the value of the state at the event.

| name | unit | symbol | default | meaning |
|---|---|---|---|---|
| theta | 1 | theta | 0.3, trained | threshold, and the size of the reset |
| bias_u | 1 | b_u | trained | bias of the update gate |
| bias_r | 1 | b_r | trained | bias of the reset gate |
| bias_x | 1 | b_x | trained | bias of the candidate, outside the reset gate |
| bias_h | 1 | b_h | trained | bias of the candidate, inside the reset gate |

Receives inputs at ports ``u``, ``r``, ``x`` and recurrent connections at ``u``, ``r``, ``h``. Sends graded events: the state
c, or nothing. The state leaks by 1 - u while the unit is silent, so its influence rows stay alive between events.

Reference: Subramoney, Nazeer, Schone, Mayr and Kappel (2023), Efficient recurrent architectures through activity sparsity
and sparse back-propagation through time, ICLR; arXiv:2206.06178.

>>> MODEL.trainable, MODEL.ports_for("input"), MODEL.ports_for("recurrent")
(('theta',), ('u', 'r', 'x'), ('u', 'r', 'h'))
"""

from spikertrl.model import Model, Parameter, Port, State
from spikertrl.surrogates import triangle

MODEL = Model(
    name="egru",
    summary="event-based GRU, graded events, trained threshold",
    update="""
    u = sigmoid(I_u)
    r = sigmoid(I_r)
    g = tanh(I_x + r*I_h)
    c = (1 - u)*(c - theta*event(c - theta)) + u*g
    """,
    message="c*event(c - theta)",
    states={"c": State(meaning="internal state")},
    ports={
        "u": Port(kind="both", bias=True, meaning="update gate"),
        "r": Port(kind="both", bias=True, meaning="reset gate"),
        "x": Port(kind="input", bias=True, meaning="candidate, from inputs"),
        "h": Port(kind="recurrent", bias=True, meaning="candidate, from the population itself, behind the reset gate"),
    },
    parameters={"theta": Parameter(0.3, trainable=True, meaning="threshold, and the size of the reset")},
    surrogate=triangle(gamma=0.7, width=1.0),
    reference="Subramoney, Nazeer, Schone, Mayr and Kappel (2023), Efficient recurrent architectures through activity sparsity "
    "and sparse back-propagation through time, ICLR; arXiv:2206.06178",
)
