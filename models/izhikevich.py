"""Izhikevich's simple model of a spiking neuron: a quadratic upswing and a slow recovery.

Equations, in Brian2's order of a step (state update, threshold, synapses, reset):

    dv/dt = 0.04*v^2/(mV ms) + 5*v/ms + 140 mV/ms - u
    du/dt = a*(b*v - u)
    threshold: v > v_th             then: v = c, u += d
    receive: v += I_v               message y = event((v - v_th)/dv)

Integrated by forward Euler with the step of the network; the paper takes half a millisecond for v.

| name | unit | symbol | default | meaning |
|---|---|---|---|---|
| a | 1/s | a | 0.02 / ms | rate of the recovery |
| b | 1/s | b | 0.2 / ms | sensitivity of the recovery to the voltage |
| c | V | c | -65 mV | voltage after a spike |
| d | V/s | d | 8 mV/ms | step of the recovery at a spike |
| v_th | V | v_peak | 30 mV | voltage that counts as a spike |
| dv | V | dV | 20 mV | voltage scale of the pseudo-derivative: psi depends on (v - v_th)/dv |

Receives at port ``v``: a message of 1 moves the voltage by the weight, in volts. Sends 1 or nothing. No refractory period. The
defaults are the paper's regular spiking cell; a = 0.1 / ms and d = 2 mV/ms make a fast spiking one.

Reference: Izhikevich (2003), Simple model of spiking neurons, IEEE Transactions on Neural Networks 14(6):1569-1572.

>>> MODEL.memory, MODEL.method, MODEL.states["u"].initial
(('v', 'u'), 'euler', '-13*mV/ms')
"""

from spikertrl.model import Model, Parameter, Port, State
from spikertrl.surrogates import triangle

MODEL = Model(
    name="izhikevich",
    summary="Izhikevich's simple model of a spiking neuron",
    equations="""
    dv/dt = (0.04/ms/mV)*v**2 + (5/ms)*v + 140*mV/ms - u : volt
    du/dt = a*(b*v - u) : volt/second
    """,
    threshold="v > v_th",
    reset="v = c; u += d",
    receive="v += I_v",
    method="euler",
    message="event((v - v_th)/dv)",
    states={
        "v": State("-65*mV", unit="volt", meaning="membrane voltage"),
        "u": State("-13*mV/ms", unit="volt/second", meaning="recovery"),
    },
    ports={"v": Port(kind="both", unit="volt", scale="20*mV", meaning="step of the voltage")},
    parameters={
        "a": Parameter("0.02/ms", unit="1/second", meaning="rate of the recovery"),
        "b": Parameter("0.2/ms", unit="1/second", meaning="sensitivity of the recovery to the voltage"),
        "c": Parameter("-65*mV", unit="volt", meaning="voltage after a spike"),
        "d": Parameter("8*mV/ms", unit="volt/second", meaning="step of the recovery at a spike"),
        "v_th": Parameter("30*mV", unit="volt", meaning="voltage that counts as a spike"),
        "dv": Parameter("20*mV", unit="volt", meaning="voltage scale of the pseudo-derivative"),
    },
    surrogate=triangle(gamma=0.3, width=1.0),
    reference="Izhikevich (2003), Simple model of spiking neurons, IEEE Transactions on Neural Networks 14(6):1569-1572",
)
