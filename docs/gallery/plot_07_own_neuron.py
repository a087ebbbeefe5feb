"""
A neuron of one's own
=====================

A model is text: equations in Brian2's language. Its Jacobian is derived, its laws are checked, every learner takes it.
"""

import matplotlib.pyplot as plt
import numpy as np
from brian2 import Hz

import spikertrl as srl
import spikertrl.plot
from spikertrl.compile import compile_model
from spikertrl.compile.describe import describe
from spikertrl.model import Model, Parameter, Port, State

resonator = Model(
    name="resonator",
    summary="a neuron that answers best to its own frequency",
    equations="""dv/dt = -v/tau - omega*w : 1
                 dw/dt = -w/tau + omega*v : 1""",
    threshold="v > 1",
    reset="w += 0.5",
    receive="v += I_v",
    method="rk4",
    message="event(v - 1)",
    states={"v": State(meaning="what is compared with the threshold"), "w": State(meaning="a quarter period behind")},
    ports={"v": Port(kind="both", meaning="kick")},
    parameters={"tau": Parameter("30*ms", unit="second"), "omega": Parameter("251.3*Hz", unit="hertz")},
    surrogate=srl.surrogates.triangle(gamma=0.3, width=1.0),
)

# %%
# The compiler shows what it made of the text: the step, and its derivatives.
print(describe(compile_model(resonator)))

# %%
# Three neurons that differ in their frequency hear a chirp.
net = srl.Network(dt="1*ms").add_input("x", 1)
net = net.add_population("h", resonator, 3, omega=2 * np.pi * np.array([20.0, 40.0, 80.0]) * Hz)
net = net.connect("x", "h", weight=0.25).initialize(seed=0)
time = np.arange(1000) * 1e-3
run = srl.simulate(net, np.sin(2 * np.pi * np.cumsum(10 + 90 * time) * 1e-3)[:, None])

# %%
fig, ax = plt.subplots(figsize=(8, 3.4), layout="constrained")
srl.plot.traces(run, units=[0, 1, 2], ax=ax)
