"""Balanced resonate-and-fire neuron: a damped oscillation that a spike damps more, and that never grows by itself.

Equations, one step; y is the unit's own previous message, the old values of u and v stand on the right:

    q = gamma*q + y
    p = (sqrt(1 - (delta*omega)^2) - 1)/delta, b = p - b_offset - q
    u = u + delta*(b*u - omega*v + I_u)
    v = v + delta*(omega*u + b*v)                  message y = event(u - v_th - q)

| name | unit | symbol | default | meaning |
|---|---|---|---|---|
| omega | 1 | omega | 10, trained | angular frequency, per unit of time; delta*omega < 1 |
| b_offset | 1 | b' | 1, trained | damping beyond the border p of divergence; > 0 |
| gamma | 1 | gamma | 0.9 | what the refractory variable keeps in a step |
| delta | 1 | delta | 0.01 | length of a step |
| v_th | 1 | theta_c | 1 | threshold at rest |

Receives at port ``u`` (inputs and recurrent connections). Sends 1 or nothing. After a spike q raises threshold and damping,
which fade together: a smooth reset. Units without synapses among themselves have an exact gradient that costs as much as their
parameters are many. The paper draws omega and b' at random: give them one value a unit, or a function of (rng, n). Its
pseudo-derivative is a difference of Gaussians; here it is a triangle, which is zero from afar.

Reference: Higuchi, Kairat, Bohte and Otte (2024), Balanced resonate-and-fire neurons, ICML; arXiv:2402.14603.

>>> MODEL.memory, MODEL.trainable
(('u', 'v', 'q'), ('omega', 'b_offset'))
"""

from spikertrl.model import Model, Parameter, Port, State
from spikertrl.surrogates import triangle

MODEL = Model(
    name="brf",
    summary="balanced resonate-and-fire neuron, discrete time",
    update="""
    q = gamma*q + y
    b = (sqrt(1 - (delta*omega)**2) - 1)/delta - b_offset - q
    turned = u + delta*(b*u - omega*v + I_u)
    v = v + delta*(omega*u + b*v)
    u = turned
    """,
    message="event(u - v_th - q)",
    states={
        "u": State(meaning="real part of the oscillation"),
        "v": State(meaning="imaginary part of the oscillation"),
        "q": State(meaning="refractory variable"),
    },
    ports={"u": Port(kind="both", scale=50.0, meaning="input current")},
    parameters={
        "omega": Parameter(10.0, trainable=True, meaning="angular frequency"),
        "b_offset": Parameter(1.0, trainable=True, meaning="damping beyond the border of divergence"),
        "gamma": Parameter(0.9, meaning="what the refractory variable keeps in a step"),
        "delta": Parameter(0.01, meaning="length of a step"),
        "v_th": Parameter(1.0, meaning="threshold at rest"),
    },
    surrogate=triangle(gamma=0.5, width=1.0),
    reference="Higuchi, Kairat, Bohte and Otte (2024), Balanced resonate-and-fire neurons, ICML; arXiv:2402.14603",
)
