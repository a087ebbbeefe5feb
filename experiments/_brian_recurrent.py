"""A Brian2 script as one might write it: a recurrent network of adaptive neurons, Poisson input, a delay for each synapse."""

from brian2 import Hz, Network, NeuronGroup, PoissonGroup, SpikeMonitor, Synapses, defaultclock, ms, mV, prefs, seed

prefs.codegen.target = "numpy"
defaultclock.dt = 1 * ms
seed(1)

# neurons: leaky, with a current that decays and a threshold that adapts
tau, tau_syn, tau_adapt = 20 * ms, 5 * ms, 100 * ms
v_rest, v_reset, v_th = -65 * mV, -65 * mV, -50 * mV
jump = 2 * mV

equations = """
dv/dt = (v_rest - v + current)/tau : volt (unless refractory)
dcurrent/dt = -current/tau_syn : volt
dadapt/dt = -adapt/tau_adapt : volt
"""
neurons = NeuronGroup(
    60,
    equations,
    threshold="v > v_th + adapt",
    reset="v = v_reset; adapt += jump",
    refractory=2 * ms,
    method="exact",
    name="neurons",
)
neurons.v = "v_rest + rand()*10*mV"

# input
source = PoissonGroup(80, rates=25 * Hz, name="source")
feed = Synapses(source, neurons, "w : volt", on_pre="current += w", name="feed")
feed.connect(p=0.5)
feed.w = "(4 + 4*randn())*mV"
feed.delay = "rand()*10*ms"

# recurrent synapses: four of five neurons excite, the others inhibit
excite = Synapses(neurons[:48], neurons, "w : volt", on_pre="current += w", name="excite")
excite.connect(condition="i != j", p=0.2)
excite.w = "rand()*3*mV"
excite.delay = "1*ms + rand()*19*ms"

inhibit = Synapses(neurons[48:], neurons, "w : volt", on_pre="current += w", name="inhibit")
inhibit.connect(p=0.4)
inhibit.w = "-rand()*6*mV"
inhibit.delay = "1*ms + rand()*4*ms"

# run
spikes, heard = SpikeMonitor(neurons), SpikeMonitor(source)
network = Network(neurons, source, feed, excite, inhibit, spikes, heard)

if __name__ == "__main__":
    network.run(300 * ms)
    print(f"{spikes.num_spikes} spikes, {spikes.num_spikes / 60 / 0.3:.1f} Hz")
