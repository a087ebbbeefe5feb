"""NEST's e-prop on the network of ``local_events.py --second``: time of a step, one thread.

Recurrent LIF neurons, each driven by a spike train of its own, two readouts; weights are updated every 100 ms
(``eprop_iaf_bsshslm_2020``, after Bellec et al. 2020). Needs NEST (``pip install nest-simulator``), not spikertrl.

    OMP_NUM_THREADS=1 python benchmarks/nest_eprop.py
    OMP_NUM_THREADS=1 python benchmarks/nest_eprop.py --neurons 1000 --rates 10
"""

from __future__ import annotations

import argparse
import time
from typing import Any


def second(nest: Any, neurons: int, fan_in: int, rate: float, steps: int) -> tuple[float, float]:
    """Spikes a second and neuron, and seconds of a step of 1 ms."""
    nest.ResetKernel()
    nest.set(resolution=1.0, total_num_virtual_procs=1, eprop_update_interval=100.0, eprop_learning_window=100.0,
             eprop_reset_neurons_on_update=False)  # fmt: skip
    units = nest.Create("eprop_iaf_bsshslm_2020", neurons, {
        "C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "V_th": 20.0, "t_ref": 2.0, "tau_m": 20.0, "c_reg": 0.0,
        "surrogate_gradient_function": "piecewise_linear", "surrogate_gradient_height": 0.3, "surrogate_gradient_width": 10.0,
    })  # fmt: skip
    readout = {"C_m": 1.0, "E_L": 0.0, "tau_m": 10.0, "loss": "mean_squared_error"}
    outputs = nest.Create("eprop_readout_bsshslm_2020", 2, readout)
    target = nest.Create("step_rate_generator", 2, {"amplitude_times": [1.0], "amplitude_values": [1.0]})
    source, relay = nest.Create("poisson_generator", 1, {"rate": rate}), nest.Create("parrot_neuron", neurons)
    nest.Connect(source, relay)
    nest.Connect(relay, units, "one_to_one", {"weight": 25.0, "delay": 1.0})
    descent = {"type": "gradient_descent", "batch_size": 1, "eta": 1e-9, "Wmin": -1e4, "Wmax": 1e4}
    nest.SetDefaults("eprop_synapse_bsshslm_2020", {"optimizer": descent})
    learned = {"synapse_model": "eprop_synapse_bsshslm_2020", "delay": 1.0}
    drawn = nest.random.normal(0.0, 1.0)
    nest.Connect(units, units, {"rule": "fixed_indegree", "indegree": fan_in}, learned | {"weight": drawn})
    nest.Connect(units, outputs, "all_to_all", learned | {"weight": drawn})
    told = {"synapse_model": "eprop_learning_signal_connection_bsshslm_2020", "delay": 1.0, "weight": drawn}
    nest.Connect(outputs, units, "all_to_all", told)
    nest.Connect(target, outputs, "one_to_one", {"synapse_model": "rate_connection_delayed", "delay": 1.0, "receptor_type": 2})
    heard = nest.Create("spike_recorder")
    nest.Connect(units, heard)
    nest.Simulate(100.0)
    before, began = heard.n_events, time.perf_counter()
    nest.Simulate(float(steps))
    spent = time.perf_counter() - began
    return (heard.n_events - before) / neurons / (1e-3 * steps), spent / steps


def main(argv: list[str] | None = None) -> int:
    """Print a line a rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neurons", type=int, default=10_000)
    parser.add_argument("--fan-in", type=int, default=100)
    parser.add_argument("--rates", type=float, nargs="+", default=[1, 10, 50], help="of each neuron's spike train (Hz)")
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args(argv)
    import nest  # pyright: ignore[reportMissingImports]

    for rate in options.rates:
        spikes, a_step = second(nest, options.neurons, options.fan_in, rate, options.steps)
        synapses = options.neurons * options.fan_in
        print(f"{options.neurons:,} neurons, {synapses:,} synapses, {spikes:.1f} Hz: {1e3 * a_step:.2f} ms a step", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
