"""Adaptive exponential integrate-and-fire neuron.

Equations, in Brian2's order of a step (state update, threshold, synapses, reset):

    dv/dt = (g_l*(e_l - v) + g_l*delta_t*exp((v - v_t)/delta_t) - w)/c_m
    dw/dt = (a*(v - e_l) - w)/tau_w
    threshold: v > v_th             then: v = v_reset, w += b
    receive: v += I_v               message y = event((v - v_th)/dv)

Integrated by forward Euler. The exponential is taken no further than its value at v_th, where a spike is certain: this
leaves the spikes as they are and keeps numbers finite when an input throws v far above threshold.

| name | unit | symbol | default | meaning |
|---|---|---|---|---|
| c_m | F | C | 281 pF | membrane capacitance |
| g_l | S | g_L | 30 nS | leak conductance |
| e_l | V | E_L | -70.6 mV | resting voltage |
| v_t | V | V_T | -50.4 mV | voltage where the upswing starts |
| delta_t | V | Delta_T | 2 mV | sharpness of the upswing |
| v_th | V | V_cut | -40.4 mV | voltage that counts as a spike, v_t + 5 delta_t |
| v_reset | V | V_r | -70.6 mV | voltage after a spike |
| tau_w | s | tau_w | 144 ms | time constant of the adaptation |
| a | S | a | 4 nS | adaptation by voltage |
| b | A | b | 0.0805 nA | adaptation by spikes |
| dv | V | dV | 20 mV | voltage scale of the pseudo-derivative: psi depends on (v - v_th)/dv |

Receives at port ``v``: a message of 1 moves the voltage by the weight, in volts. Sends 1 or nothing. No refractory period.

Reference: Brette and Gerstner (2005), Adaptive exponential integrate-and-fire model as an effective description of neuronal
activity, Journal of Neurophysiology 94:3637-3642.

>>> MODEL.memory, MODEL.method, MODEL.states["v"].initial
(('v', 'w'), 'euler', '-70.6*mV')
"""

from spikertrl.model import Model, Parameter, Port, State
from spikertrl.surrogates import triangle

MODEL = Model(
    name="adex",
    summary="adaptive exponential integrate-and-fire neuron",
    equations="""
    dv/dt = (g_l*(e_l - v) + g_l*delta_t*exp(clip((v - v_t)/delta_t, -100, (v_th - v_t)/delta_t)) - w)/c_m : volt
    dw/dt = (a*(v - e_l) - w)/tau_w : amp
    """,
    threshold="v > v_th",
    reset="v = v_reset; w += b",
    receive="v += I_v",
    method="euler",
    message="event((v - v_th)/dv)",
    states={
        "v": State("-70.6*mV", unit="volt", meaning="membrane voltage"),
        "w": State("0*pA", unit="amp", meaning="adaptation current"),
    },
    ports={"v": Port(kind="both", unit="volt", scale="50*mV", meaning="step of the voltage")},
    parameters={
        "c_m": Parameter("281*pF", unit="farad", meaning="membrane capacitance"),
        "g_l": Parameter("30*nS", unit="siemens", meaning="leak conductance"),
        "e_l": Parameter("-70.6*mV", unit="volt", meaning="resting voltage"),
        "v_t": Parameter("-50.4*mV", unit="volt", meaning="voltage where the upswing starts"),
        "delta_t": Parameter("2*mV", unit="volt", meaning="sharpness of the upswing"),
        "v_th": Parameter("-40.4*mV", unit="volt", meaning="voltage that counts as a spike"),
        "v_reset": Parameter("-70.6*mV", unit="volt", meaning="voltage after a spike"),
        "tau_w": Parameter("144*ms", unit="second", meaning="time constant of the adaptation"),
        "a": Parameter("4*nS", unit="siemens", meaning="adaptation by voltage"),
        "b": Parameter("0.0805*nA", unit="amp", meaning="adaptation by spikes"),
        "dv": Parameter("20*mV", unit="volt", meaning="voltage scale of the pseudo-derivative"),
    },
    surrogate=triangle(gamma=0.3, width=1.0),
    reference="Brette and Gerstner (2005), Adaptive exponential integrate-and-fire model as an effective description of "
    "neuronal activity, Journal of Neurophysiology 94:3637-3642",
)
