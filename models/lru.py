"""Linear recurrent unit: one complex number that turns and decays, as two real states.

Equations, one step; the old values of both states stand on the right:

    r = exp(-exp(nu)), w = exp(theta), g = sqrt(1 - r^2)
    re = r*(cos(w)*re - sin(w)*im) + g*I_re
    im = r*(sin(w)*re + cos(w)*im) + g*I_im        message y = re

| name | unit | symbol | default | meaning |
|---|---|---|---|---|
| nu | 1 | nu | -2.25, trained | decay: the unit keeps exp(-exp(nu)) of its length in a step |
| theta | 1 | theta | -1.2, trained | logarithm of the angle by which it turns in a step |

Receives at ports ``re`` and ``im`` (the real and the imaginary part of the complex input weights). Sends its real part at every
step. Meant without synapses among the units: the exact gradient then costs as much as there are parameters. The paper draws
the length uniformly in a ring of the unit disk and the angle below 2 pi: give ``nu=`` and ``theta=`` one value a unit, or a
function of (rng, n). It reads real and imaginary part with weights of their own; here a unit has one message, and another
phase is another unit's. Its g is a parameter that begins at this value.

Reference: Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu and De (2023), Resurrecting recurrent neural networks for long
sequences, ICML; arXiv:2303.06349.

>>> MODEL.memory, MODEL.trainable, MODEL.ports_for("input")
(('re', 'im'), ('nu', 'theta'), ('re', 'im'))
"""

from spikertrl.model import Model, Parameter, Port, State

MODEL = Model(
    name="lru",
    summary="linear recurrent unit, a complex number that turns and decays",
    update="""
    r = exp(-exp(nu))
    w = exp(theta)
    g = sqrt(1 - r*r)
    turned = r*(cos(w)*re - sin(w)*im) + g*I_re
    im = r*(sin(w)*re + cos(w)*im) + g*I_im
    re = turned
    """,
    message="re",
    states={"re": State(meaning="real part"), "im": State(meaning="imaginary part")},
    ports={
        "re": Port(kind="both", meaning="input to the real part"),
        "im": Port(kind="both", meaning="input to the imaginary part"),
    },
    parameters={
        "nu": Parameter(-2.25, trainable=True, meaning="decay, exp(-exp(nu)) a step"),
        "theta": Parameter(-1.2, trainable=True, meaning="logarithm of the angle a step"),
    },
    reference="Orvieto et al. (2023), Resurrecting recurrent neural networks for long sequences, ICML; arXiv:2303.06349",
)
