"""ImportedNetwork: an ordinary Network that remembers the Brian2 objects it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from ... import arguments
from ...network.elements import NetworkError
from ...network.network import Network
from ...simulation.state import SimState
from ...units import steps as whole_steps
from .inputs import Channels, replayed


@dataclass(frozen=True, eq=False)
class Origin:
    """Where a block of parameters came from: ``variable`` of a Brian2 object, at ``order`` of its entries, times ``factor``."""

    owner: Any
    variable: str
    block: tuple[str, str]
    order: np.ndarray
    factor: np.ndarray
    imported: np.ndarray


class ImportedNetwork(Network):
    """What ``from_brian`` returns: a Network, whose inputs can be drawn as Brian2 would and whose weights can go back.

    Add readouts and whatever else as in any Network; unlike there, weights are the imported ones from the start, and again
    after every ``initialize``.
    """

    def __init__(self, dtype: str, dt: float) -> None:
        super().__init__(dtype, dt)
        self.channels: dict[str, Channels] = {}
        self.origins: list[Origin] = []

    @property
    def theta(self) -> np.ndarray:
        """All parameters, flat; the imported values (and drawn readouts) until something changes them."""
        fresh = self._theta is None
        found = Network.theta.fget(self)  # type: ignore[attr-defined]
        if fresh:
            self.initialize(0, only_new=True)
        return found

    @theta.setter
    def theta(self, values: np.ndarray) -> None:
        Network.theta.fset(self, values)  # type: ignore[attr-defined]

    def brian_inputs(
        self, duration: Any, *, batch: int = 1, seed: Any = 0, replace: Mapping[str, Any] | None = None, start: Any = 0
    ) -> np.ndarray:
        """Draw what the sources of the Brian2 network send: the array that ``simulate``, ``gradient`` and tasks take.

        Parameters
        ----------
        duration : int, time or text
            Whole steps, or a time such as ``100*ms`` or "100*ms".
        batch : int
            Lanes; random sources are drawn for each, deterministic ones (SpikeGeneratorGroup, TimedArray) repeated.
        seed : int or numpy Generator
        replace : mapping, optional
            Input name -> what it sends instead: (steps, batch, size), (steps, size), or a SpikeMonitor of that source.
        start : int, time, text or SimState
            Steps or time that lie before: ``start=run.state`` for a stretch that is simulated with ``state=run.state``.
            Sources that know the time (TimedArray, SpikeGeneratorGroup, rates that depend on t) go on from there; random ones
            are drawn anew, differently for every start.

        Returns
        -------
        ndarray (steps, batch, channels)
            Channels in the order of ``net.inputs``; ``net.inputs[name].start`` says where one begins.

        Raises
        ------
        ValueError
            For an unknown name in ``replace``, or a shape or a number that does not fit.

        Examples
        --------
        >>> import brian2 as b2, spikertrl as srl
        >>> ramp = b2.TimedArray([1.0, 2.0, 3.0, 4.0], dt=b2.defaultclock.dt, name="ramp")
        >>> cells = b2.NeuronGroup(1, "dv/dt = (ramp(t) - v)/ms : 1", method="euler", namespace={"ramp": ramp}, name="cells")
        >>> net = srl.from_brian([cells])
        >>> run = srl.simulate(net, net.brian_inputs(2))
        >>> net.brian_inputs(2, start=run.state)[:, 0, 0].tolist()
        [3.0, 4.0]
        """
        n = arguments.whole("brian_inputs", "duration", whole_steps(duration, self.dt, "duration"))
        before = start.time if isinstance(start, SimState) else whole_steps(start, self.dt, "start")
        first, batch = arguments.whole("brian_inputs", "start", before, 0), arguments.whole("brian_inputs", "batch", batch)
        given = dict(replace or {})
        if unknown := sorted(set(given) - set(self.inputs)):
            raise ValueError(f"replace names {unknown[0]!r}; inputs here: {sorted(self.inputs)}")
        rng = seed if isinstance(seed, np.random.Generator) else _generator(arguments.seed("brian_inputs", seed), first)
        found = np.zeros((n, batch, sum(i.size for i in self.inputs.values())), self.dtype)
        for name, one in self.inputs.items():
            channels = self.channels.get(name)
            if channels is None and name not in given:
                raise ValueError(f"the input {name!r} does not come from Brian2; give it with replace={{{name!r}: ...}}")
            channels = channels or Channels(name, one.size, one.kind, lambda *_: np.zeros(0))
            drawn = (
                replayed(given[name], channels, first, n, batch, self.dt)
                if name in given
                else channels.draw(rng, first, n, batch)
            )
            found[:, :, one.start : one.start + one.size] = drawn
        return found

    def magnitudes(self) -> np.ndarray:
        """How large the parameters are, shaped like ``theta``: the root mean square of each imported block, 1 for all others.

        Imported parameters come in volts, seconds or siemens. With ``optimizers.scale_groups(adam(1e-2), net.magnitudes())`` a
        learning rate is a share of their own size.
        """
        found = np.ones_like(self.theta)
        for origin in self.origins:
            size = float(np.sqrt(np.mean((origin.imported[origin.order] * origin.factor) ** 2))) if len(origin.order) else 0.0
            found[self.wiring.layout[origin.block][0]] = size or 1.0
        return found

    def to_brian_weights(self) -> dict[str, np.ndarray]:
        """Write what was trained back into the Brian2 objects, synapse by synapse; nothing else there changes.

        Returns
        -------
        dict
            "object.variable" -> the values written, in Brian2's order and SI base units.

        Raises
        ------
        NetworkError
            If the synapses of an object are no longer those that were imported.
        """
        written: dict[tuple[str, str], tuple[Any, np.ndarray]] = {}
        view = self.view(self.theta)
        for origin in self.origins:
            variable = origin.owner.variables[origin.variable]
            values = written.setdefault((origin.owner.name, origin.variable), (variable, np.array(variable.get_value())))[1]
            if len(values) != len(origin.imported):
                raise NetworkError(f"{origin.owner.name!r} has {len(values)} entries of {origin.variable!r} now, "
                                   f"{len(origin.imported)} were imported; import it again")  # fmt: skip
            block = view[origin.block[0]][origin.block[1]]
            now = np.asarray(block.data if sparse.issparse(block) else block).reshape(-1)
            then = (origin.imported[origin.order] * origin.factor).astype(self.dtype)
            usable = (now != then) & (origin.factor != 0)
            values[origin.order[usable]] = now[usable] / origin.factor[usable]
        for variable, values in written.values():
            variable.set_value(values)
        return {f"{owner}.{name}": values for (owner, name), (_, values) in written.items()}


def _generator(seed: int, first: int) -> np.random.Generator:
    """Random numbers of a stretch that begins at step ``first``."""
    return np.random.default_rng([seed, first] if first else seed)
