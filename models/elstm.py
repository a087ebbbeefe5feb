"""Element-wise long short-term memory: gates hear the unit's own cell alone.

Equations, one step; c is the old cell in the first two lines, the new one in the last:

    f = sigmoid(I_f + w_f*c), z = tanh(I_z + w_z*c)
    c = f*c + (1 - f)*z
    h = sigmoid(I_o + w_o*c)*c        message y = h

| name | unit | symbol | default | meaning |
|---|---|---|---|---|
| w_f | 1 | w_f | 0, trained | weight of the cell in the forget gate |
| w_z | 1 | w_z | 0, trained | weight of the cell in the candidate |
| w_o | 1 | w_o | 0, trained | weight of the cell in the output gate |
| bias_f | 1 | b_f | trained | bias of the forget gate |
| bias_z | 1 | b_z | trained | bias of the candidate |
| bias_o | 1 | b_o | trained | bias of the output gate |

Receives at ports ``f``, ``z`` and ``o``. Sends a graded message at every step. Meant without synapses among the units: the
exact gradient then costs as much as there are parameters. In the paper the output gate hears the cells of all units; that is
another connection, from unit to unit.

Reference: Irie, Gopalakrishnan and Schmidhuber (2024), Exploring the promise and limits of real-time recurrent learning, ICLR;
arXiv:2305.19044.

>>> MODEL.memory, MODEL.trainable, MODEL.ports_for("input")
(('c', 'h'), ('w_f', 'w_z', 'w_o'), ('f', 'z', 'o'))
"""

from spikertrl.model import Model, Parameter, Port, State

MODEL = Model(
    name="elstm",
    summary="element-wise LSTM, gates hear the unit's own cell alone",
    update="""
    f = sigmoid(I_f + w_f*c)
    c = f*c + (1 - f)*tanh(I_z + w_z*c)
    h = sigmoid(I_o + w_o*c)*c
    """,
    message="h",
    states={"c": State(meaning="cell"), "h": State(meaning="output")},
    ports={
        "f": Port(kind="both", bias=True, meaning="forget gate"),
        "z": Port(kind="both", bias=True, meaning="candidate"),
        "o": Port(kind="both", bias=True, meaning="output gate"),
    },
    parameters={
        "w_f": Parameter(0.0, trainable=True, meaning="weight of the cell in the forget gate"),
        "w_z": Parameter(0.0, trainable=True, meaning="weight of the cell in the candidate"),
        "w_o": Parameter(0.0, trainable=True, meaning="weight of the cell in the output gate"),
    },
    reference="Irie, Gopalakrishnan and Schmidhuber (2024), Exploring the promise and limits of real-time recurrent learning, "
    "ICLR; arXiv:2305.19044",
)
