"""Which way exact RTRL and SnAp in blocks are computed: every route, every threshold and every choice, in this one file.

All routes give the same gradient. What differs is the time: it depends on the network, on the tape, and on how many units are
gradient-active. ``route_of_update`` is asked once for every tape, ``route_of_rows`` once for every part of it whose influence
is advanced; both see numbers only (``Facts``, ``Situation``), and answer with a ``Choice`` that names the route and says why.
The state keeps the last one (``state.choice``) and counts them (``state.routes``); the logger "spikertrl" writes each one down
at level DEBUG.

==============  ================================================================================================================
transitions     a sequence that is one tape: transitions are carried in place of the influence, between states
                (``transitions/update``) or between messages (``transitions/events``)
deferred        a short tape is kept; its gradient goes through the steps kept, to the influence before them (``deferred``)
products        the influence times the product of the tape's Jacobians, once a tape (``products/update``)
events          a row is brought up to date when its unit is gradient-active, in any network (``rows/event_plan``)
dense rows      step by step, rows times the step Jacobian as a full matrix (``rows/dense_kernel``)
rows            step by step, arriving rows by lists (``rows/dense_kernel``)
general rows    step by step, any network: delays, several states, blocks of limited reach (``rows/by_step_kernel``)
==============  ================================================================================================================

Transitions, events and general rows take any network. The others need blocks of **full reach**: all units, of one state each,
without delays.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..base import Length, Plan
from .transitions.segments import Transitions, segments, transitions_of_messages, transitions_of_states

log = logging.getLogger("spikertrl")

TRANSITIONS, DEFERRED, PRODUCTS, EVENTS = "transitions", "deferred", "products", "events"
DENSE_ROWS, ROWS, GENERAL_ROWS = "dense rows", "rows", "general rows"
ROUTES = (TRANSITIONS, DEFERRED, PRODUCTS, EVENTS, DENSE_ROWS, ROWS, GENERAL_ROWS)


@dataclass(frozen=True)
class Tuning:
    """Every value that decides which route is taken, and how large the pieces are in which it works."""

    # transitions
    transition_rate: float = 0.8  # columns of transitions in the time of one of the influence (benchmarks/whole_sequences.py)
    tile_bytes: int = 1 << 20  # of the columns carried together: narrow rows cost calls, what exceeds the cache costs time
    aside_bytes: int = 64 << 20  # of transitions within segments, of the lanes that are carried together
    transition_work: float = 2e7  # multiply-adds below which a second thread costs more than it gives
    segment_length: int | None = None  # steps of a segment; None: about the root of the sequence's length
    message_rate: float = 3.0  # multiply-adds of transitions between states, as matrices, in the time of one between messages
    # products
    product_rate: float = 0.75  # multiply-adds in the time of one step by step, arrivals by lists (steps_together.py)
    dense_product_rate: float = 0.4  # the same where rows arrive as a product of matrices
    jacobian_bytes: int = 64 << 20  # of the products X, for as many lanes at a time
    # events
    store_bytes: int = 768 << 10  # of the rows sent in one segment: they are read from a cache
    most_visits: float = 0.4  # of rows and steps; with more, sums are too short to repay the listing (block_loops.py)
    most_arrivals: float = 8  # at a unit and step; with more, sums are long enough step by step, and in a nearer cache
    # deferred
    deferred_steps: int = 4  # steps kept at most, in sparse networks
    dense_deferred_steps: int = 24  # and in dense ones: together they are one product of matrices
    deferred_bytes: int = 24 << 20  # influence below which it is cheaper to take every step at once, sparse
    dense_deferred_bytes: int = 4 << 20  # and dense
    most_active: float = 0.2  # share of active units above which, if sparse, most rows would be read all the same
    # local learners by events (benchmarks/local_events.py), in times of a column's step:
    local_unit: float = 2.3  # a unit's step,
    local_column: float = 4.3  # a column, once a tape,
    local_event: float = 0.7  # a message that meets a column,
    local_lanes: float = 6.0  # and all of these where lanes lie side by side, whose columns' steps are vectors
    # the adjoint through masks with one delay: a product of matrices in place of lists where so large a share of synapses and
    message_product: float = 0.01  # rows (of a step and lane) has a message,
    message_product_rows: int = 512  # and there are so many rows; on the way back where so large a share of pairs and
    error_product: float = 0.03  # lanes has an error,
    error_product_lanes: int = 16  # and there are so many lanes,
    product_elements: int = 1 << 24  # if the mask with its gaps has no more elements
    # the step Jacobian
    jacobian_list_bytes: int = 128 << 20  # of a tape, laid out at a time
    all_to_all: float = 0.5  # share of connected pairs from which it is a full matrix (benchmarks/crossover.py)
    # blocks and threads
    block_columns: int = 1024  # of a block at most,
    block_bytes: int = 768 << 10  # and its size, so that it stays in a cache
    row_overhead: int = 256  # elements whose update costs as much as handling one row,
    block_overhead: int = 1024  # and one block
    lanes_at_a_time: int = 4  # lanes of a task
    shared_work: float = 2e6  # multiply-adds of a tape below which one thread is used


class _Override(NamedTuple):
    route: str | None
    tuning: Tuning


_AS_MEASURED = _Override(None, Tuning())
_override: ContextVar[_Override] = ContextVar("spikertrl_route", default=_AS_MEASURED)


@contextmanager
def override(route: str | None = None, **tuning: Any) -> Iterator[Tuning]:
    """Inside, every update takes this route, and these values of ``Tuning`` hold; for tests and benchmarks.

    It holds in the thread (or task) that entered it. Blocks are laid out when a state is made: ``block_columns`` and the route
    "general rows" matter then.

    Raises
    ------
    ValueError, TypeError
        If there is no such route, no such value.

    Examples
    --------
    >>> with override("events", store_bytes=1 << 16) as values:
    ...     values.store_bytes, tuning() is values, forced()
    (65536, True, 'events')
    >>> forced() is None
    True
    """
    now = _override.get()
    found = _Override(checked(route, "override") or now.route, replace(now.tuning, **tuning) if tuning else now.tuning)
    token = _override.set(found)
    try:
        yield found.tuning
    finally:
        _override.reset(token)


def tuning() -> Tuning:
    """The values that hold here."""
    return _override.get().tuning


def forced() -> str | None:
    """The route that ``override`` asks for here."""
    return _override.get().route


def checked(route: str | None, who: str, legal: tuple[str, ...] = ROUTES) -> str | None:
    """The route, or ValueError if there is none of this name."""
    if route is not None and route not in legal:
        raise ValueError(f"{who}: there is no route {route!r}; routes: {', '.join(map(repr, legal))}")
    return route


class Limits(NamedTuple):
    """What decides how units are joined into blocks (see ``Tuning``)."""

    columns: int
    nbytes: int
    row_overhead: int
    block_overhead: int
    general: bool = False  # no block is treated as one of full reach


def limits(route: str | None = None) -> Limits:
    """How units are joined into blocks here."""
    values, general = tuning(), (forced() or route) == GENERAL_ROWS
    return Limits(values.block_columns, values.block_bytes, values.row_overhead, values.block_overhead, general)


class Facts(NamedTuple):
    """What a state's network and layout are like."""

    who: str  # the learner, for messages
    dtype: np.dtype
    units: int
    pairs: int  # connected pairs of units
    columns: int  # parameters that are columns of the influence
    source_columns: int  # of these, columns of synapses: they come alive with their source
    stored_columns: int  # the same in whole registers, all blocks
    elements: int  # of the influence, per lane
    batch: int
    leaky: int  # readout outputs with decay
    states: int  # of all units
    arrival_bytes: int  # what is listed of a message that arrives,
    visit_bytes: int  # and of a unit and step, for transitions between messages
    heard: float  # states that a unit's message arrives at, mean
    one_step: bool  # units have one state, and rows arrive after exactly one step
    exact: bool  # no row is left out
    full_reach: bool  # all blocks
    some_full_reach: bool
    widest_row: int  # elements of the longest row in a block
    list_bytes: int  # of the step Jacobian as lists, of one lane and step

    @property
    def influence_bytes(self) -> int:
        """Of all lanes."""
        return self.batch * self.elements * self.dtype.itemsize

    @property
    def seeds(self) -> int:
        """Columns of a product of Jacobians, whole registers."""
        register = 32 // self.dtype.itemsize
        return -(-(self.units + 1 + self.leaky) // register) * register


class Situation(NamedTuple):
    """What a tape is like."""

    start: int  # its first step
    steps: int
    active: float  # gradient-active units, mean over steps and lanes
    whole: bool  # every lane begins with it and ends with it
    last: bool  # nothing follows
    waiting: bool  # steps are being deferred already
    at_once: bool  # deferring is not possible
    columns_alive: Callable[[], float]  # columns of synapses whose source has been heard, summed over the steps


class Choice(NamedTuple):
    """A route, why it is taken (a text with named gaps) and the numbers that were compared."""

    route: str
    why: str
    numbers: dict[str, Any]

    @property
    def reason(self) -> str:
        """Why, in words."""
        return self.why.format(**self.numbers)

    def __str__(self) -> str:
        return f"{self.route}: {self.reason}"


def all_to_all(facts: Facts, route: str | None = None) -> bool:
    """Whether the step Jacobian is laid out as a full matrix. A route that needs the one or the other settles it."""
    if route in (EVENTS, ROWS, GENERAL_ROWS):
        return False
    if route == DENSE_ROWS and facts.full_reach:
        return True
    return facts.full_reach and facts.pairs >= tuning().all_to_all * facts.units**2


def deferred_steps(facts: Facts, route: str | None = None) -> int:
    """How many steps may be kept: 0 unless no row is left out, no readout leaks, and the influence is large.

    In sparse networks what exceeds the cache is large; in dense ones a few steps together are a smaller product of matrices.
    """
    if cannot_defer(facts) or route not in (None, DEFERRED):
        return 0
    values, dense = tuning(), all_to_all(facts, route)
    steps, least = (
        (values.dense_deferred_steps, values.dense_deferred_bytes) if dense else (values.deferred_steps, values.deferred_bytes)
    )
    return steps if route == DEFERRED or facts.influence_bytes > least else 0


def cannot_defer(facts: Facts) -> str:
    """Why steps cannot be kept, or nothing."""
    if not (facts.exact or facts.full_reach):
        return "the influence is an approximation: rows are left out"
    if facts.leaky:
        return "readouts leak (decay > 0): what they keep needs every step's rows"
    return "" if facts.pairs else "no unit is connected to another: there is nothing to defer"


NOT_FULL = "not every block has full reach (a delay above 1, several states a unit, units out of reach, or SnAp)"


def cannot_carry(facts: Facts, tape: Situation) -> str:
    """Why state transitions cannot stand in for the influence, or nothing."""
    if not tape.whole:
        return "the tape is not a whole sequence: every lane must begin with it and end with it (no tau, a sequence task)"
    if not facts.columns:
        return "no parameter of the network is learned"
    if not (facts.exact or facts.full_reach):
        return "the influence is an approximation: rows are left out"
    needed, room = transitions(facts, tape.steps, tape.active).nbytes, transition_room(facts)
    if needed > room:
        return f"the step Jacobian and what is set aside take {needed} bytes, more than {room} (jacobian_list_bytes)"
    return ""


def transitions(facts: Facts, steps: int, active: float) -> Transitions:
    """The cheaper of the ways to carry transitions, of those that fit if one does."""
    dense, sent = all_to_all(facts), steps * active
    held = sent * facts.pairs / facts.units * facts.arrival_bytes + steps * facts.units * facts.visit_bytes
    rate = tuning().message_rate if dense else 1.0
    ways = [transitions_of_messages(sent, facts.heard + 2 * facts.states / facts.units + 1, rate, int(held))]
    if facts.one_step:
        cut = segments(facts.units, facts.dtype, steps, tuning().segment_length)
        lists = 0 if dense else facts.list_bytes * steps * facts.batch
        ways.append(transitions_of_states(cut, active * facts.heard, lists))
    return min([way for way in ways if way.nbytes <= transition_room(facts)] or ways, key=lambda way: way.time)


def transition_room(facts: Facts) -> int:
    """Bytes for them: as many as the influence's, which is not touched, if that is more."""
    return max(tuning().jacobian_list_bytes, facts.influence_bytes)


def route_of_update(facts: Facts, tape: Situation, route: str | None = None) -> Choice | None:
    """How a tape is taken: by transitions, deferred, or (None) by advancing the influence now, see ``route_of_rows``.

    Raises
    ------
    ValueError
        If ``route`` is asked for and cannot serve.
    """
    if route is None:
        choice = _transitions(facts, tape) if tape.whole else None
        return choice or _deferred(facts, tape)
    if route == TRANSITIONS:
        refuse(route, facts, cannot_carry(facts, tape))
        return _asked(route)
    if route == DEFERRED:
        most = deferred_steps(facts, route)
        long = f"a tape of {tape.steps} steps is longer than half of the {most} that are kept" if 2 * tape.steps > most else ""
        ends = "the sequence ends with this tape" if tape.last else ""
        refuse(route, facts, cannot_defer(facts) or ("paths are random (RandomPaths)" if tape.at_once else ends or long))
        return _asked(route)
    refuse(route, facts, cannot_advance(facts, tape, route))
    return None


def cannot_advance(facts: Facts, tape: Situation, route: str) -> str:
    """Why the influence cannot be advanced by this route, or nothing."""
    if route == GENERAL_ROWS:
        return "the state was made with blocks of full reach; make it with this route" if facts.some_full_reach else ""
    if route != EVENTS and not (facts.some_full_reach if route == ROWS else facts.full_reach):
        return NOT_FULL
    if route == PRODUCTS and tape.whole:
        return "a sequence that is one tape: nothing would remain but BPTT; give tau"
    return ""


def _transitions(facts: Facts, tape: Situation) -> Choice | None:
    """If transitions are fewer elements than the influence."""
    if cannot_carry(facts, tape):
        return None
    way = transitions(facts, tape.steps, tape.active)
    columns = way.time / (facts.states + tape.active * facts.heard)  # if all rows were carried at every step
    reached = (
        tuning().transition_rate * facts.elements / (facts.states * facts.stored_columns)
    )  # share of states a column reaches
    if columns >= reached * tape.steps * facts.columns:
        return None
    always = tape.steps * (facts.columns - facts.source_columns)  # columns of biases and of units' own parameters
    if columns >= reached * always and columns >= reached * (always + tape.columns_alive()):
        return None
    return Choice(
        TRANSITIONS,
        "a whole sequence: {columns:.3g} columns of transitions between {between} against {influence:.3g} of the influence "
        "times {rate:.2g}",
        {"columns": columns, "between": way.between, "influence": float(tape.steps * facts.columns), "rate": reached},
    )


def _deferred(facts: Facts, tape: Situation) -> Choice | None:
    """If a tape is short, the influence large, and few enough units of a sparse network are active."""
    most = 0 if tape.at_once or tape.last else deferred_steps(facts)
    if 2 * tape.steps > most:
        return None
    share, limit = tape.active / facts.units, tuning().most_active
    if not (tape.waiting or all_to_all(facts) or tape.active <= limit * facts.units):
        return None
    return Choice(
        DEFERRED,
        "an influence of {bytes:.3g} bytes is cheaper to read than to write: up to {most} steps wait ({share:.0%} active)",
        {"bytes": facts.influence_bytes, "most": most, "share": share},
    )


def route_of_rows(
    facts: Facts, steps: int, before: float, now: float, segments_of: Callable[[], int], sequence: bool, route: str | None
) -> Choice:
    """How ``steps`` steps of all blocks are advanced.

    Parameters
    ----------
    before, now : float
        Gradient-active units of a lane, mean: one step earlier (whose rows arrive), and in these steps.
    segments_of : callable
        How many segments the steps have if they go by events.
    sequence : bool
        They end a sequence that is one tape: of a product nothing would remain but backpropagation.
    """
    if route in (EVENTS, ROWS, DENSE_ROWS, GENERAL_ROWS):
        return _asked(route)
    dense = all_to_all(facts, route)
    by_products = _products(facts, steps, before, dense, sequence, asked=route == PRODUCTS)
    if by_products is not None:
        return by_products
    if dense:
        why = "{share:.0%} of the pairs are connected: rows are a product of matrices"
        return Choice(DENSE_ROWS, why, {"share": facts.pairs / facts.units**2})
    values, arrivals = tuning(), now * facts.pairs / facts.units**2
    visits = now / facts.units + 1 / steps  # in one segment, if that is not too many already
    if visits <= values.most_visits:
        visits += (segments_of() - 1) / steps
    why = "{visits:.0%} of rows and steps are visited (limit {most_visits:.0%}), {arrivals:.2g} rows arrive (limit {most:.2g})"
    limits = {"visits": visits, "most_visits": values.most_visits, "arrivals": arrivals, "most": values.most_arrivals}
    if visits <= values.most_visits and arrivals <= values.most_arrivals:
        return Choice(EVENTS, why, limits)
    return Choice(ROWS if facts.some_full_reach else GENERAL_ROWS, f"too many for events: {why}", limits)


def _products(facts: Facts, steps: int, active: float, dense: bool, sequence: bool, asked: bool) -> Choice | None:
    """If the product of Jacobians needs less time than one step after another."""
    n, seeds, values = facts.units, facts.seeds, tuning()
    size = min(facts.batch, values.lanes_at_a_time) * (steps + 1) * n * seeds * facts.dtype.itemsize
    reason = "" if facts.full_reach else NOT_FULL
    reason = reason or (f"the products take {size} bytes (jacobian_bytes)" if size > values.jacobian_bytes else "")
    reason = reason or ("a sequence that is one tape: nothing would remain but BPTT; give tau" if sequence else "")
    if asked:
        refuse(PRODUCTS, facts, reason)
        return _asked(PRODUCTS)
    if reason:
        return None
    one_by_one, product = row_work(facts, steps, active), product_work(facts, steps, active)
    rate = values.dense_product_rate if dense else values.product_rate
    if product >= rate * one_by_one:
        return None
    why = "{product:.3g} multiply-adds a lane against {steps:.3g} step by step times {rate}"
    return Choice(PRODUCTS, why, {"product": product, "steps": one_by_one, "rate": rate})


def row_work(facts: Facts, steps: int, active: float) -> float:
    """Multiply-adds of a lane, step by step."""
    return steps * facts.stored_columns * (facts.units + active * facts.pairs / max(1, facts.units) + active)


def product_work(facts: Facts, steps: int, active: float) -> float:
    """Multiply-adds of a lane by products of Jacobians."""
    arriving = active * facts.pairs / max(1, facts.units)
    return facts.seeds * (facts.stored_columns * (facts.units + steps) + steps * (facts.units + arriving))


def plan(facts: Facts, length: Length, route: str | None = None) -> Plan:
    """What would be chosen for tapes of this kind, all inputs being active, and how many multiply-adds that takes."""
    whole, active = length.tau is None, length.active * facts.units
    steps = length.steps if length.tau is None else length.tau
    tape = Situation(0, steps, active, whole, whole, False, False, lambda: float(steps * facts.source_columns))
    choice = route_of_update(facts, tape, route)
    if choice is None:
        most = max(1, tuning().store_bytes // (facts.widest_row * facts.dtype.itemsize))
        lots = max(1, -(-int(steps * active) // most))
        choice = route_of_rows(facts, steps, active, active, lambda: lots, whole, route)
    return Plan(choice.route, choice.reason, expected(facts, choice, steps, active), by_density=True)


def expected(facts: Facts, choice: Choice, steps: int, active: float) -> float:
    """Multiply-adds of a step and lane, by the formulas that the choice compares."""
    arriving = active * facts.pairs / max(1, facts.units)
    if choice.route == TRANSITIONS:
        return transitions(facts, steps, active).macs / steps + facts.columns
    if choice.route == DEFERRED:
        most = deferred_steps(facts, DEFERRED)
        if not facts.full_reach:
            return expected(facts, _asked(EVENTS), most, active)
        return min(row_work(facts, most, active), product_work(facts, most, active)) / most
    if choice.route == PRODUCTS:
        return product_work(facts, steps, active) / steps
    if choice.route == EVENTS:
        each, visits = facts.states / facts.units, active + facts.units / steps
        return facts.elements / facts.states * each * (each * visits + arriving + active)
    if choice.route == GENERAL_ROWS:
        return facts.elements * (1 + active * facts.pairs / max(1, facts.units) ** 2)
    return row_work(facts, steps, active) / steps


def _asked(route: str) -> Choice:
    return Choice(route, "asked for", {})


def refuse(route: str, facts: Facts, reason: str) -> None:
    """ValueError if there is a reason against a route that was asked for."""
    if reason:
        raise ValueError(
            f"{facts.who}: the route {route!r} cannot serve here: {reason}. Leave route out to let the library choose"
        )
