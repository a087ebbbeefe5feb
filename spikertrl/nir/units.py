"""Units that the Neuromorphic Intermediate Representation (NIR) can say, with NIR's parameters under NIR's names.

NIR defines them by differential equations in continuous time and leaves the discretisation open. Here, in a step of length dt,
input is a current that is held for the step (an event of value m is a current m for one step), and in this order

1. a unit that sent an event in the last step is set to ``v_reset``,
2. each equation tau dx/dt = -x + u moves on with its drive u held: x = a*x + (1 - a)*u, where a = exp(-dt/tau) with the method
   "exponential" and a = 1 - dt/tau with "euler"; a synaptic current before the voltage, which sees the new current,
3. a unit above ``v_threshold`` sends an event; leaky integrators send their voltage.

Reference: Pedersen et al. (2024), Neuromorphic intermediate representation: a unified instruction set for interoperable
brain-inspired computing, Nature Communications 15:8122.

>>> nir_model("LIF").update.splitlines()[1].strip()
'v = y*v_reset + (1 - y)*v'
>>> sorted(PRIMITIVES), METHODS
(['CubaLI', 'CubaLIF', 'I', 'IF', 'LI', 'LIF', 'Threshold'], ('exponential', 'euler'))
"""

from __future__ import annotations

import functools

from ..model import Model, Parameter, Port, State
from ..surrogates import triangle

__all__ = ["nir_model", "primitive_of"]

METHODS = ("exponential", "euler")

_PARAMETERS = {
    "tau": Parameter("20*ms", unit="second", meaning="time constant"),
    "tau_syn": Parameter("5*ms", unit="second", meaning="time constant of the synaptic current"),
    "tau_mem": Parameter("20*ms", unit="second", meaning="time constant of the voltage"),
    "r": Parameter(1.0, meaning="resistance"),
    "rate": Parameter("50*hertz", unit="hertz", meaning="NIR's r: what a current of 1 adds to v in a second"),
    "v_leak": Parameter(0.0, meaning="voltage at rest"),
    "v_threshold": Parameter(1.0, meaning="threshold"),
    "v_reset": Parameter(0.0, meaning="voltage after an event"),
    "w_in": Parameter(1.0, meaning="weight of the input current"),
    "threshold": Parameter(0.0, meaning="threshold"),
}
_RESET = "v = y*v_reset + (1 - y)*v"
_LEAK = "a = {tau}\nv = a*v + (1 - a)*(v_leak + r*I_v)"
_CUBA = "b = {tau_syn}\na = {tau_mem}\ni = b*i + (1 - b)*w_in*I_v\nv = a*v + (1 - a)*(v_leak + r*i)"
_SPIKE = "event(v - v_threshold)"

# primitive -> (update, message, parameters); the names of parameters are NIR's, except rate for the r of I and IF.
PRIMITIVES = {
    "LIF": (f"{_RESET}\n{_LEAK}", _SPIKE, ("tau", "r", "v_leak", "v_threshold", "v_reset")),
    "CubaLIF": (f"{_RESET}\n{_CUBA}", _SPIKE, ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in")),
    "LI": (_LEAK, "v", ("tau", "r", "v_leak")),
    "CubaLI": (_CUBA, "v", ("tau_syn", "tau_mem", "r", "v_leak", "w_in")),
    "IF": (f"{_RESET}\nv = v + dt*rate*I_v", _SPIKE, ("rate", "v_threshold", "v_reset")),
    "I": ("v = v + dt*rate*I_v", "v", ("rate",)),
    "Threshold": ("v = I_v", "event(v - threshold)", ("threshold",)),
}


@functools.cache
def nir_model(primitive: str, method: str = "exponential") -> Model:
    """The model of a NIR primitive.

    Parameters
    ----------
    primitive : {"LIF", "CubaLIF", "LI", "CubaLI", "IF", "I", "Threshold"}
    method : {"exponential", "euler"}
        How an equation moves on in a step; see the module's text.

    Returns
    -------
    Model
        To be used as any other; ``to_nir`` exports it exactly.

    Raises
    ------
    ValueError
        For an unknown primitive or method.
    """
    if primitive not in PRIMITIVES:
        raise ValueError(f"nir_model: no primitive {primitive!r}; there are {sorted(PRIMITIVES)}")
    if method not in METHODS:
        raise ValueError(f"nir_model: method must be one of {METHODS}, got {method!r}")
    update, message, names = PRIMITIVES[primitive]
    decay = "exp(-dt/{0})" if method == "exponential" else "1 - dt/{0}"
    update = update.format(**{n: decay.format(n) for n in names if n.startswith("tau")})
    return Model(
        f"nir_{primitive.lower()}_{method}",
        summary=f"NIR's {primitive}, {method}",
        update=f"\n{update}\n",
        message=message,
        states={n: State(meaning={"v": "voltage", "i": "synaptic current"}[n]) for n in "iv" if f"\n{n} =" in f"\n{update}"},
        ports={"v": Port(bias=True, meaning="input current")},
        parameters={n: _PARAMETERS[n] for n in names},
        surrogate=triangle(gamma=0.3, width=1.0),
        reference="Pedersen et al. (2024), Neuromorphic intermediate representation, Nature Communications 15:8122",
    )


def primitive_of(model: Model) -> tuple[str, str] | None:
    """(primitive, method) of a model made by ``nir_model``, whatever its surrogate and trainable parameters; else None."""
    for primitive in PRIMITIVES:
        for method in METHODS:
            known = nir_model(primitive, method)
            if (model.update, model.message, list(model.states)) == (known.update, known.message, list(known.states)):
                return primitive, method
    return None
