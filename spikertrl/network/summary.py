"""A network as a text table."""

from __future__ import annotations

from ..compile.describe import table
from .elements import Elements, Projection
from .wiring import Wiring


def summary(parts: Elements, dt: float, wiring: Wiring) -> str:
    """See ``Network.summary``."""
    counts: dict[str, int] = {}
    for (group, _), (part, _) in wiring.layout.items():
        counts[group] = counts.get(group, 0) + part.stop - part.start
    inputs = [(i.name, i.size, i.kind) for i in parts.inputs.values()]
    units = [(p.name, p.model.name, p.size, len(p.cell.states), counts.get(p.name, 0)) for p in parts.populations.values()]
    links = [(p.name, p.n_synapses, len(p.ports), p.waits, counts[p.name], _learned(p)) for p in parts.projections]
    outputs = [
        (r.name, r.source, r.size, f"{r.decay:g}", counts[r.name], "all" if r.trained else "none") for r in parts.readouts
    ]
    heads = {
        "inputs": (("name", "size", "kind"), inputs),
        "populations": (("name", "model", "units", "states", "parameters"), units),
        "connections": (("name", "synapses", "ports", "delay", "parameters", "learned"), links),
        "readouts": (("name", "of", "outputs", "decay", "parameters", "learned"), outputs),
    }
    total = wiring.n_theta
    return "\n".join(
        [
            f"Network, {parts.dtype}, dt {dt:g} s",
            *(table(title, head, rows) for title, (head, rows) in heads.items() if rows),
            f"{total} parameters, {total - len(wiring.fixed)} of them learned",
        ]
    )


def _learned(p: Projection) -> str:
    return "all" if p.trained is None else "+".join(p.trained) or "none"
