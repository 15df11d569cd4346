"""The fast simulator's state: tables of numbers, which compiled code and plain Python share.

A row's class says what a table's columns are; the arrays are made from it.
"""

from typing import Any, Final, NamedTuple, Protocol, TypeVar

import numpy as np

from autoscaler.core.observation import FloatArray
from simulations.histogram import E2E_BOUNDS, ITL_BOUNDS, TTFT_BOUNDS
from simulations.trace import IntArray

Row_co = TypeVar("Row_co", covariant=True)

NOBODY: Final = -1
"""Where a column names a row: no row."""

FREE: Final = 0
STARTING: Final = 1
READY: Final = 2
DRAINING: Final = 3

PROMPT_TOKENS: Final = 0
OUTPUT_TOKENS: Final = 1
COMPLETIONS: Final = 2
PREEMPTIONS: Final = 3
TTFT: Final = 4
ITL: Final = TTFT + len(TTFT_BOUNDS)
E2E: Final = ITL + len(ITL_BOUNDS)
COUNTS: Final = E2E + len(E2E_BOUNDS)
"""Columns of the counts; from TTFT on, the buckets of the three histograms, not cumulative."""

GAUGES: Final = 6
"""What a scrape sees of a replica beside the counts; see `engine.look`."""

PER_OCTAVE: Final = 64
LOWEST_OCTAVE: Final = -19
OCTAVES: Final = 46
BUCKETS: Final = PER_OCTAVE * OCTAVES
"""Durations from a microsecond to two years, in buckets of at most 1.6 %."""

FLIGHT_BITS: Final = 26
MOST_FLIGHTS: Final = 1 << FLIGHT_BITS
FLIGHT_MASK: Final = MOST_FLIGHTS - 1
"""A finish is one number: the step above, the flight in these bits."""

ONE_REQUEST: Final = 1 << 32
"""A replica's load is one number: outstanding requests times this, and its age below."""
UNROUTABLE: Final = (1 << 63) - 1


class Table(Protocol[Row_co]):
    """Rows of one kind, one after the other in memory."""

    def __getitem__(self, at: int, /) -> Row_co: ...

    def __len__(self) -> int: ...


class LawRow:
    """A profile's numbers, named and explained there."""

    step_seconds: float
    token_seconds: float
    free_tokens: int
    sequence_seconds: float
    kv_token_seconds: float
    kv_token_seconds_mixed: float
    attended_seconds: float
    kv_tokens: int
    longest_request: int
    max_sequences: int
    step_tokens: int
    overhead_seconds: float


class PoolRow:
    """What there is once."""

    upcoming: int
    """The next row of the arrivals."""
    passed: int
    """Requests of earlier arrays, so that requests can be numbered through."""
    free_flight: int
    """Head of the list of free flights."""
    gateway_first: int
    gateway_last: int
    gateway: int
    """Requests that no replica has."""
    next_ready: float
    """When the next replica becomes ready; infinite if none is starting."""
    ready: int
    ages: int
    """Replicas that have become ready so far: the next one's age."""
    detailed: int
    """Whether the details of every request are kept."""
    gaps: int
    """Whether the widest gaps are among them."""
    ttft_limit: float
    itl_limit: float
    e2e_limit: float
    finished: int
    failed: int
    ttft_met: int
    itl_met: int
    e2e_met: int
    met: int
    waited_seconds: float
    """From arrival to admission, of those that were admitted."""
    preemptions: int


class ReplicaRow:
    """One replica.

    Its stretch is a run of steps in which nothing changes but the length of the answers: a single
    step that reads prompts, or as many steps of decodes alone as pass until a sequence ends or the
    KV cache is full. The numbers stand as they were when the stretch began.
    """

    phase: int
    number: int
    """Counts up over the pool's life; a higher one was asked for later."""
    ready_at: float
    age: int
    """Place in the order of becoming ready."""
    clock: float
    """When the stretch began; without one, when the last step ended."""
    ends: float
    """When the stretch ends."""
    stretch: int
    """Steps of the stretch; 0 without one."""
    told: int
    """Steps of the stretch whose tokens are in the counts."""
    first_seconds: float
    """Length of the stretch's first step."""
    growth_seconds: float
    """How much longer each step is than the one before."""
    steps: int
    """Steps done before the stretch."""
    busy_seconds: float
    """Time computed before the stretch."""
    decoding: int
    decode_kv: int
    prompt_kv: int
    waiting: int
    first_waiting: int
    last_waiting: int
    running: int
    youngest: int
    """The sequence admitted last; older ones are linked behind it."""
    partial: int
    """The sequence whose prompt is read in part."""
    read_to_end: int
    """Prompts that end with the step in progress: the youngest sequences, but for the partial."""


class FlightRow:
    """One request that has arrived and not ended."""

    index: int
    """Its number; NOBODY in a free row."""
    following: int
    """The one behind it in the wait list, at the gateway, or among the free rows."""
    older: int
    younger: int
    """Its neighbours in the batch, by admission."""
    prompt: int
    output: int
    written: int
    to_read: int
    read: int
    last_step: int
    admitted: int
    """Whether its prompt began to be read."""
    arrival: float
    routed: float
    first_token: float
    """NaN before."""
    last_token: float
    widest_gap: float


class DetailRow:
    """What became of one request, as in `simulations.request`; NaN for what has not happened."""

    replica: int
    """Number of the replica that it was routed to."""
    preemptions: int
    failed: int
    routed: float
    admitted: float
    first_token: float
    finished: float
    widest_gap: float
    """Known when it has finished."""


class World(NamedTuple):
    """Everything that the engine reads and writes.

    Attributes:
        law: One row.
        pool: One row.
        replicas: One row for each replica that holds GPUs, and free ones.
        flights: One row for each request in flight, and free ones.
        finishes: For each replica a heap of when its decoding sequences end.
        counts: For each replica what its metrics count.
        due: For each replica when it must be looked after next.
        due_tree: A tournament for the earliest.
        load: For each replica how loaded it is, UNROUTABLE unless it is ready.
        load_tree: A tournament for the least loaded.
        arrivals: Seconds, rising.
        prompts: Tokens of each.
        outputs: Tokens of each.
        minutes: For each minute, requests that arrived in it, and those that met every limit.
        durations: TTFT, mean ITL and E2E as users saw them, in fine buckets.
        details: One row for each request, or none.
        ttft_bounds: Of the metrics' buckets.
        itl_bounds: Of the metrics' buckets.
        e2e_bounds: Of the metrics' buckets.
    """

    law: Table[LawRow]
    pool: Table[PoolRow]
    replicas: Table[ReplicaRow]
    flights: Table[FlightRow]
    finishes: IntArray
    counts: IntArray
    due: FloatArray
    due_tree: IntArray
    load: IntArray
    load_tree: IntArray
    arrivals: FloatArray
    prompts: IntArray
    outputs: IntArray
    minutes: IntArray
    durations: IntArray
    details: Table[DetailRow]
    ttft_bounds: FloatArray
    itl_bounds: FloatArray
    e2e_bounds: FloatArray


def table(row: type, rows: int) -> Any:
    """Return `rows` rows of zeros with the columns that a row's class declares."""
    columns = [(name, np.dtype(kind)) for name, kind in row.__annotations__.items()]
    return np.zeros(rows, dtype=np.dtype((np.record, columns)))
