"""Leaky integrate-and-fire neuron with refractoriness; voltages count from rest.

Equations, in Brian2's order of a step (state update, threshold, synapses, reset):

    dv/dt = (v_rest - v)/tau        frozen while refractory; integrated exactly
    threshold: v > v_th             then: v = v_reset, refractory for t_ref
    receive: v += I_v               message y = event((v - v_th)/dv), 0 while refractory

| name | unit | symbol | default | meaning |
|---|---|---|---|---|
| tau | s | tau_m | 20 ms | membrane time constant |
| v_rest | V | E_L | 0 mV | resting voltage |
| v_reset | V | V_r | 0 mV | voltage after a spike |
| v_th | V | V_th | 20 mV | threshold |
| t_ref | s | t_ref | 2 ms | refractory period |
| dv | V | dV | 20 mV | voltage scale of the pseudo-derivative: psi depends on (v - v_th)/dv |

Receives at port ``v``: a message of 1 moves the voltage by the weight, in volts; while refractory, input is lost. Sends 1 or
nothing.

Reference: Gerstner and Kistler (2002), Spiking neuron models, Cambridge University Press, section 4.1.

>>> MODEL.is_ode, MODEL.method, MODEL.trainable
(True, 'exact', ())
>>> MODEL.ports["v"].unit, MODEL.parameters["tau"].default
('volt', '20*ms')
"""

from spikertrl.model import Model, Parameter, Port, State
from spikertrl.surrogates import triangle

MODEL = Model(
    name="lif",
    summary="leaky integrate-and-fire neuron, refractory",
    equations="dv/dt = (v_rest - v)/tau : volt (unless refractory)",
    threshold="v > v_th",
    reset="v = v_reset",
    refractory="t_ref",
    receive="v += I_v",
    method="exact",
    message="event((v - v_th)/dv)",
    states={"v": State(unit="volt", meaning="membrane voltage, from rest")},
    ports={"v": Port(kind="both", unit="volt", scale="40*mV", meaning="step of the voltage")},
    parameters={
        "tau": Parameter("20*ms", unit="second", meaning="membrane time constant"),
        "v_rest": Parameter("0*mV", unit="volt", meaning="resting voltage"),
        "v_reset": Parameter("0*mV", unit="volt", meaning="voltage after a spike"),
        "v_th": Parameter("20*mV", unit="volt", meaning="threshold"),
        "t_ref": Parameter("2*ms", unit="second", meaning="refractory period"),
        "dv": Parameter("20*mV", unit="volt", meaning="voltage scale of the pseudo-derivative"),
    },
    surrogate=triangle(gamma=0.3, width=1.0),
    reference="Gerstner and Kistler (2002), Spiking neuron models, Cambridge University Press, section 4.1",
)
