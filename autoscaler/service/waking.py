"""Between cycles: workloads that sleep at zero are looked at, and woken as soon as they are wanted.

A request that nobody serves cannot wait for the next cycle. Nothing is decided here: where the core
says of what a look saw that it would raise a workload from zero, the next cycle comes at once.
"""

import threading
import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, Final

import structlog

from autoscaler.controller import Controller
from autoscaler.core.decision import Action, Cycle, Reason
from autoscaler.core.observation import Snapshot
from autoscaler.core.planner import plan_cycle
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from autoscaler.service.ends import Looks
from autoscaler.settings import Settings

SHARE: Final = 0.1
"""Looks take no more of a processor than this: where one takes much, the next comes later."""

END_SECONDS: Final = 2.0
"""How long the end waits for a look."""


class Waking:
    """Looks at sleeping workloads, again and again, in a thread of its own."""

    def __init__(
        self,
        controller: Controller,
        looks: Looks,
        settings: Settings,
        *,
        turn: threading.Lock,
        free: Callable[[], bool],
        soon: Callable[[], None],
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """Look at nothing yet.

        Args:
            controller: Its newest cycle says who sleeps.
            looks: Sees them.
            settings: How often to look. A workload that sleeps on through a cycle that it brought
                brings no other for one interval.
            turn: Held while a cycle runs, and here while policies are asked: never two at once.
            free: Whether a cycle may come now: we act, none runs, and the last is not too near.
            soon: Brings the next cycle forward.
            clock: Unix seconds.
            monotonic: Seconds that only ever rise.
        """
        self._controller = controller
        self._looks = looks
        self._seconds = settings.wake_seconds
        self._deaf_seconds = settings.interval_seconds
        self._turn = turn
        self._free = free
        self._soon = soon
        self._clock = clock
        self._monotonic = monotonic
        self._heard: dict[str, float] = {}
        self._cycle: Cycle | None = None
        self._asleep: tuple[ScaledWorkload, ...] = ()
        self._left = Snapshot(0.0)
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._log: Any = structlog.get_logger("service")

    def start(self) -> None:
        """Begin to look."""
        if self._seconds:
            self._thread = threading.Thread(target=self._run, name="waking", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Look no more; a look that is under way has a moment to end."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(END_SECONDS)

    def once(self) -> tuple[str, ...]:
        """Look once; return the keys of the workloads for which a cycle was brought forward."""
        cycle, fleet = self._controller.latest, self._controller.fleet
        if cycle is None or not self._free():
            return ()
        if cycle is not self._cycle:
            self._cycle, self._asleep = cycle, tuple(sleeping(fleet, cycle))
            self._left = as_left(cycle)
        self._forget({one.key for one in self._asleep})
        asleep = tuple(one for one in self._asleep if one.key not in self._heard)
        if not asleep:
            return ()
        seen = self._looks.look(replace(fleet, workloads=asleep), self._left, self._clock())
        news = tuple(one for one in asleep if one.key in seen.observations)
        # Where a cycle runs it sees as much itself, or the next look does.
        if not news or not self._turn.acquire(blocking=False):
            return ()
        try:
            return self._judge(cycle, replace(fleet, workloads=news), seen)
        finally:
            self._turn.release()

    def _judge(self, cycle: Cycle, few: FleetSpec, seen: Snapshot) -> tuple[str, ...]:
        """Bring a cycle forward for those that the core would raise from zero."""
        if self._controller.latest is not cycle:
            return ()
        plan, _ = plan_cycle(few, self._controller.state, seen, leading=cycle.leading)
        wanted = {key: one for key, one in plan.decisions.items() if one.replicas}
        self._looks.judged(wanted.keys())
        for key, decision in wanted.items():
            self._heard[key] = self._monotonic()
            self._log.info("cycle brought forward", workload=key, reason=decision.text)
        if wanted:
            self._soon()
        return tuple(wanted)

    def _forget(self, asleep: AbstractSet[str]) -> None:
        """Be deaf no longer to those that woke, and to the others after a while."""
        now = self._monotonic()
        self._heard = {
            key: since
            for key, since in self._heard.items()
            if key in asleep and now - since < self._deaf_seconds
        }

    def _run(self) -> None:
        pause = self._seconds
        while not self._ending.wait(pause):
            began, spent = self._monotonic(), time.thread_time()
            try:
                self.once()
            except Exception:  # noqa: BLE001  # cycles come all the same
                if self._ending.is_set():
                    return  # what it asks was closed meanwhile
                self._log.exception("look failed", reason="a bug: please report it")
            took, spent = self._monotonic() - began, time.thread_time() - spent
            # Never more than half of the time, or who is slow would be asked without a pause.
            pause = max(self._seconds - took, spent / SHARE - took, took)


def sleeping(fleet: FleetSpec, cycle: Cycle) -> Iterator[ScaledWorkload]:
    """Yield the workloads of which the last cycle wanted no replicas; not those turned off."""
    for workload in fleet.workloads:
        decision = cycle.plan.decisions.get(workload.key)
        if (
            decision is not None
            and decision.replicas == 0
            and decision.reason is not Reason.TURNED_OFF
        ):
            yield workload


def as_left(cycle: Cycle) -> Snapshot:
    """Return what a cycle saw, with the replicas of those that it put to sleep as it left them."""
    seen = dict(cycle.snapshot.observations)
    for outcome in cycle.outcomes:
        action = outcome.action
        if outcome.done and isinstance(action, Action) and action.after == 0:
            found = seen[action.workload]
            seen[action.workload] = replace(found, replicas=replace(found.replicas, desired=0))
    return replace(cycle.snapshot, observations=seen)
