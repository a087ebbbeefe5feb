"""Recurrent trace unit: the linear recurrent unit with its nonlinearity inside the recurrence.

Equations, one step; the old values of both states stand on the right:

    r = exp(-exp(nu)), w = exp(theta), g = sqrt(1 - r^2)
    re = tanh(r*(cos(w)*re - sin(w)*im) + g*I_re)
    im = tanh(r*(sin(w)*re + cos(w)*im) + g*I_im)        message y = re

| name | unit | symbol | default | meaning |
|---|---|---|---|---|
| nu | 1 | nu | -2.25, trained | decay: the unit keeps exp(-exp(nu)) of its length in a step |
| theta | 1 | theta | -1.2, trained | logarithm of the angle by which it turns in a step |

Receives at ports ``re`` and ``im``. Sends its real part at every step; the paper's unit sends both parts, here another phase is
another unit's. Meant without synapses among the units: the exact gradient then costs as much as there are parameters. Give
``nu=`` and ``theta=`` one value a unit, or a function of (rng, n), so that units remember differently long.

Reference: Elelimy, White, Bowling and White (2024), Real-time recurrent learning using trace units in reinforcement learning,
NeurIPS; arXiv:2409.01449 (the nonlinear unit).

>>> MODEL.memory, MODEL.trainable, MODEL.ports_for("input")
(('re', 'im'), ('nu', 'theta'), ('re', 'im'))
"""

from spikertrl.model import Model, Parameter, Port, State

MODEL = Model(
    name="rtu",
    summary="recurrent trace unit, nonlinear: a complex number squashed at every step",
    update="""
    r = exp(-exp(nu))
    w = exp(theta)
    g = sqrt(1 - r*r)
    turned = tanh(r*(cos(w)*re - sin(w)*im) + g*I_re)
    im = tanh(r*(sin(w)*re + cos(w)*im) + g*I_im)
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
    reference="Elelimy, White, Bowling and White (2024), Real-time recurrent learning using trace units in reinforcement "
    "learning, NeurIPS; arXiv:2409.01449",
)
