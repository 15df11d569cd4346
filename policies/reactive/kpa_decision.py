"""Knative's decision: two window averages and the ready replicas in, a replica count out.

Source: knative/serving 98e5ef9, `pkg/autoscaler/scaling/{autoscaler,multiscaler}.go` and
`pkg/autoscaler/aggregation/max`. The order of the floating-point operations is part of the
behaviour. Everything here is a frozen value; an evaluation gives the next state back.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from autoscaler.core.observation import Memory

DELAY_SLOT_SECONDS: Final = 2
"""The scale-down delay keeps one count for each slot of this length (Knative's tick)."""

UNLIMITED_BURST: Final = -1.0
"""As burst target: whatever the burst, capacity never covers it."""


@dataclass(frozen=True, slots=True)
class KpaParameters:
    """What one evaluation goes by; it may differ from one evaluation to the next.

    Attributes:
        target: What one replica should carry, in the signal's unit; above 0.
        total: What one replica can carry at most, in the signal's unit.
        burst: Load that should fit in on top of the present one; 0: never asked for;
            `UNLIMITED_BURST`: never covered.
        panic_threshold: Panic where the panic window needs this many times the ready replicas.
        max_scale_up_rate: At most this many times the ready replicas at once.
        max_scale_down_rate: At least the ready replicas divided by this stay.
        stable_seconds: Panic ends when it was last called for longer ago than this.
        activation_scale: Any need above zero is raised to this many replicas.
        reachable: Whether users can reach the workload; if not, it may shrink without limit.
    """

    target: float
    total: float
    burst: float = 211.0
    panic_threshold: float = 2.0
    max_scale_up_rate: float = 1000.0
    max_scale_down_rate: float = 2.0
    stable_seconds: float = 60.0
    activation_scale: int = 1
    reachable: bool = True


class Cause(StrEnum):
    """What took a count away from the plain need; reads on with the count."""

    NONE = ""
    GROWTH = "maxScaleUpRate allows"
    SHRINKING = "maxScaleDownRate keeps"
    ACTIVATION = "activationScale makes it"
    PANIC = "panic keeps"
    DELAY = "scaleDownDelaySeconds keeps"


@dataclass(frozen=True, slots=True)
class DelayWindow:
    """The largest count of the last slots.

    Attributes:
        slots: Length of the window in slots; 0 is no delay at all.
        counts: Slot number and count; slots rise and counts fall strictly, so the first is the
            largest that is still in the window, and what a later one outdoes is forgotten.
    """

    slots: int = 0
    counts: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, seconds: float) -> "DelayWindow":
        """Return an empty window of this length."""
        return cls(math.ceil(seconds / DELAY_SLOT_SECONDS))

    def record(self, now: float, count: int) -> "DelayWindow":
        """Return the window with the count of `now`; a slot keeps its largest."""
        slot = math.floor(now) // DELAY_SLOT_SECONDS
        larger = [(when, other) for when, other in self.counts if other > count]
        current = [pair for pair in larger if slot - pair[0] < self.slots]
        if not current or current[-1][0] != slot:
            current.append((slot, count))
        return DelayWindow(self.slots, tuple(current))

    @property
    def largest(self) -> int:
        """The largest count in the window; it holds one once something was recorded."""
        return self.counts[0][1]


@dataclass(frozen=True, slots=True)
class KpaState:
    """What one evaluation leaves for the next.

    Attributes:
        panic_since: When panic was last called for, Unix seconds; None outside panic.
        max_panic: The largest count of this panic, below which it does not go.
        delay: The counts that the scale-down delay looks back on.
    """

    panic_since: float | None = None
    max_panic: int = 0
    delay: DelayWindow = DelayWindow()

    @classmethod
    def start(cls, now: float, ready: int, delay_seconds: float = 0.0) -> "KpaState":
        """Return the state of one who has just come and knows nothing.

        With more than one ready replica that is panic: what was seen before is lost, and a
        workload should not shrink for want of a past.

        Args:
            now: Unix seconds.
            ready: Replicas that serve; 0 where they cannot be counted.
            delay_seconds: Length of the scale-down delay.
        """
        return cls(now if ready > 1 else None, ready, DelayWindow.of(delay_seconds))

    @property
    def panicking(self) -> bool:
        """Whether replicas may only be added."""
        return self.panic_since is not None

    def with_delay(self, seconds: float) -> "KpaState":
        """Return the state with a scale-down delay of another length, keeping its counts."""
        slots = DelayWindow.of(seconds).slots
        counts = self.delay.counts if slots else ()
        return KpaState(self.panic_since, self.max_panic, DelayWindow(slots, counts))

    def to_memory(self) -> Memory:
        """Return the state as JSON values."""
        return {
            "panicSince": self.panic_since,
            "maxPanic": self.max_panic,
            "delaySlots": self.delay.slots,
            "delayCounts": [list(pair) for pair in self.delay.counts],
        }

    @classmethod
    def from_memory(cls, memory: Memory) -> "KpaState":
        """Return the state that `to_memory` gave, also after a way through JSON.

        Raises:
            ValueError: It is no such memory.
        """
        try:
            since = memory["panicSince"]
            counts = tuple((int(slot), int(count)) for slot, count in memory["delayCounts"])
            return cls(
                None if since is None else float(since),
                int(memory["maxPanic"]),
                DelayWindow(int(memory["delaySlots"]), counts),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"no memory of a kpa policy: {dict(memory)}") from error


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One decision.

    Attributes:
        desired: Replicas to run.
        spare: Load that still fits in before the burst target is touched; negative where the
            ready replicas do not cover it. 0 and -1 for the two special burst targets.
        state: What to give to the next evaluation.
        stable_need: Replicas that the stable window alone asks for.
        panic_need: Replicas that the panic window alone asks for.
        by_panic: Whether the panic window spoke: in panic, unless the stable one asks for more.
        cause: What made `desired` other than that need; the last one where several did.
    """

    desired: int
    spare: int
    state: KpaState
    stable_need: int
    panic_need: int
    by_panic: bool
    cause: Cause


def decide(
    state: KpaState,
    parameters: KpaParameters,
    *,
    now: float,
    ready: int,
    stable: float,
    panic: float,
) -> Evaluation:
    """Return the replicas to run.

    Args:
        state: What the last evaluation left.
        parameters: What to go by.
        now: Unix seconds; not before the last evaluation.
        ready: Replicas that serve.
        stable: Load over the stable window, in the signal's unit, of all replicas together.
        panic: The same over the panic window.
    """
    serving = max(1, ready)
    stable_need = math.ceil(stable / parameters.target)
    panic_need = math.ceil(panic / parameters.target)
    wanted, cause = _limited(stable_need, serving, parameters)
    panic_wanted, panic_cause = _limited(panic_need, serving, parameters)

    state = _panic(state, parameters, now, over=panic_need / serving >= parameters.panic_threshold)
    by_panic = state.panicking and panic_wanted >= wanted
    if by_panic:
        wanted, cause = panic_wanted, panic_cause
    max_panic, delay = state.max_panic, state.delay
    if state.panicking:
        if wanted < max_panic:
            wanted, cause = max_panic, Cause.PANIC
        max_panic = wanted
    if parameters.reachable and delay.slots:
        delay = delay.record(now, wanted)
        if delay.largest > wanted:
            wanted, cause = delay.largest, Cause.DELAY
    return Evaluation(
        desired=wanted,
        spare=_spare(parameters, ready, panic),
        state=KpaState(state.panic_since, max_panic, delay),
        stable_need=stable_need,
        panic_need=panic_need,
        by_panic=by_panic,
        cause=cause,
    )


def spare_at_start(parameters: KpaParameters, replicas: int) -> int:
    """Return what Knative reports as `spare` before the first evaluation, for so many replicas.

    Unlike a measured one, it is cut towards zero. A policy answers for the first time with its
    first evaluation, so only the replay of recorded cases, whose records begin before it, asks.
    """
    if parameters.burst in {0.0, UNLIMITED_BURST}:
        return int(parameters.burst)
    return int(replicas * parameters.total - parameters.burst)


def _limited(need: int, serving: int, parameters: KpaParameters) -> tuple[int, Cause]:
    """Keep a need within the growth and shrink limits, then raise it to the activation scale."""
    most = math.ceil(parameters.max_scale_up_rate * serving)
    least = math.floor(serving / parameters.max_scale_down_rate) if parameters.reachable else 0
    count, cause = need, Cause.NONE
    if count < least:
        count, cause = least, Cause.SHRINKING
    if count > most:
        count, cause = most, Cause.GROWTH
    if need > 0 and 1 < parameters.activation_scale > count:
        count, cause = parameters.activation_scale, Cause.ACTIVATION
    return count, cause


def _panic(state: KpaState, parameters: KpaParameters, now: float, *, over: bool) -> KpaState:
    """Enter or extend panic while the threshold is met; leave it a stable window later."""
    if over:
        return KpaState(now, state.max_panic, state.delay)
    if state.panic_since is None:
        return state
    calm = _microseconds(now) - _microseconds(state.panic_since)
    if calm > _microseconds(parameters.stable_seconds):
        return KpaState(None, 0, state.delay)
    return state


def _spare(parameters: KpaParameters, ready: int, panic: float) -> int:
    if parameters.burst == 0:
        return 0
    if parameters.burst < 0:
        return int(UNLIMITED_BURST)
    return math.floor(ready * parameters.total - parameters.burst - panic)


def _microseconds(seconds: float) -> int:
    """A time in whole microseconds: differences of Unix seconds as floats are off by 1e-7."""
    return round(seconds * 1_000_000)
