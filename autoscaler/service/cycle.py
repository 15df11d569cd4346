"""One control cycle: the clock is read, things are seen, decided, done, kept and told."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

import structlog

from autoscaler.config.reload import PolicyFiles
from autoscaler.controller import Controller
from autoscaler.core.decision import Cycle
from autoscaler.core.errors import JournalError
from autoscaler.service.clock import wall
from autoscaler.service.ends import Parts
from autoscaler.service.leading import Leading
from autoscaler.service.reloading import Reloading
from autoscaler.service.saving import SavedFirst, Saving
from autoscaler.service.timetable import Timetable
from autoscaler.service.waking import Waking
from autoscaler.settings import Settings
from autoscaler.state import adopt
from autoscaler.telemetry.latest import Latest
from autoscaler.telemetry.report import CycleReport, Mode

REFUSED_SECONDS: Final = 3.0
"""A process that looks once waits no longer for the lease where nobody listens."""

ACTIONS_AT_ONCE: Final = 16
"""Changes that are made side by side: one that hangs holds up no other."""


class Service:
    """Runs cycles until it is stopped.

    Attributes:
        latest: The newest cycle, for whoever shows it.
        controller: Decides.
        reloading: Looks at the policy files.
        saving: Keeps the state.
    """

    def __init__(
        self,
        settings: Settings,
        files: PolicyFiles,
        parts: Parts,
        *,
        narrate: Callable[[CycleReport], None] = lambda report: None,
        clock: Callable[[], float] = wall,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Compose a process; nothing runs before `start` or `tick`.

        Args:
            settings: Of the process.
            files: The policy files.
            parts: What a live controller is composed of.
            narrate: Logs a cycle.
            clock: Unix seconds.
            monotonic: Seconds that only ever rise.
        """
        self.latest = Latest(monotonic)
        self.reloading = Reloading(files, settings.reload_seconds)
        self.saving = Saving(parts.store, term=lambda: parts.leadership.term, monotonic=monotonic)
        self._settings = settings
        self._parts = parts
        self._narrate = narrate
        self._clock = clock
        self._monotonic = monotonic
        self._log: Any = structlog.get_logger("service")
        self._turn = threading.Lock()
        self._threads = ThreadPoolExecutor(ACTIONS_AT_ONCE, thread_name_prefix="act")
        self._timetable = Timetable(
            self._run,
            settings.interval_seconds,
            clock=clock,
            silent=lambda: self.latest.silent_seconds,
        )
        self._leading = Leading(
            parts.leadership, parts.store, parts.memories, settings.state_max_age_seconds
        )
        fleet, actuator = files.loaded.fleet, parts.actuator
        self.controller = Controller(
            fleet,
            observer=parts.observer,
            actuator=None if actuator is None else SavedFirst(actuator, self.saving),
            journal=parts.journal,
            state=self._leading.first_state(fleet, clock()),
            leads=self._leading.is_leader,
            spread=self._threads.map,
        )
        self._waking = Waking(
            self.controller,
            parts.looks,
            settings,
            turn=self._turn,
            free=self._may_come_early,
            soon=self._timetable.soon,
            clock=clock,
            monotonic=monotonic,
        )

    def tick(self) -> CycleReport:
        """Run one cycle now."""
        with self._turn:
            now, began = self._clock(), self._monotonic()
            self._take_new_files(now)
            self._take_over(now)
            journal_problem = self._look_decide_act(now)
            cycle = self.controller.latest
            assert cycle is not None  # noqa: S101  # it has just run
            self._keep_state(cycle, now)
            report = CycleReport(
                cycle=cycle,
                fleet=self.controller.fleet,
                started=now,
                seconds=self._monotonic() - began,
                # The first cycle is not planned: it comes at once.
                lag_seconds=self._timetable.lag_seconds(now) if self.latest.entry else 0.0,
                missed=self._timetable.take_missed(),
                interval_seconds=self._settings.interval_seconds,
                mode=Mode.SHADOW if self._parts.actuator is None else Mode.LIVE,
                leader=self._parts.leadership.is_leader(),
                sources=self._parts.sources(),
                reload_problem=self.reloading.problem,
                journal_problem=journal_problem,
            )
            self.latest.publish(report)
            self._narrate(report)
            self._parts.announce(report.fleet, cycle)
            return report

    def _take_new_files(self, now: float) -> None:
        """Put policy files in force that have become whole since the last cycle."""
        fleet = self.reloading.take()
        if fleet is None:
            return
        self.controller.state = adopt(self.controller.state, fleet, now)
        self.controller.fleet = fleet
        self._parts.replan(fleet)
        self._log.info("policy files reloaded", workloads=len(fleet.workloads))

    def _take_over(self, now: float) -> None:
        """Where we have come to lead, go on from what the leader before has saved."""
        if self._parts.actuator is not None:
            controller = self.controller
            controller.state = self._leading.state_for(controller.fleet, controller.state, now)

    def _look_decide_act(self, now: float) -> str:
        """Run the controller; return why the cycle could not be journalled, if so."""
        journal = self._parts.journal
        if journal is not None:
            journal.expect(self.controller.fleet, self.controller.state)
        # Where the record is lost, everything was decided and done all the same.
        with suppress(JournalError):
            self.controller.run_once(now)
        return journal.problem if journal is not None else ""

    def _keep_state(self, cycle: Cycle, now: float) -> None:
        """Have the state saved after every change, and now and then."""
        changed = any(outcome.done for outcome in cycle.outcomes)
        if cycle.leading and (changed or self.saving.due(self._settings.state_interval_seconds)):
            self._save(now, changed=changed)

    def _save(self, now: float, *, changed: bool) -> None:
        kept = {name: memory.kept() for name, memory in self._parts.memories.items()}
        self.saving.keep(self.controller.state, now, kept, changed=changed)

    # --- from the start to the end -----------------------------------------------------------

    def start(self) -> None:
        """Stand for election, look at the policy files, and run cycles in time."""
        self._parts.leadership.start()
        self.reloading.start()
        self._timetable.start()
        self._waking.start()

    def stop(self) -> None:
        """Finish the cycle that runs, save the state, give the lease back."""
        self._waking.stop()
        self._timetable.stop()
        self.reloading.stop()
        self._threads.shutdown(wait=False)
        with self._turn:
            if self._parts.actuator is not None and self._leading.is_leader():
                self._save(self._clock(), changed=False)
        self.saving.close()
        self._parts.leadership.stop()
        self._parts.close()

    def once(self, wait_seconds: float) -> CycleReport:
        """Run a single cycle, as the leader if that can be had.

        Args:
            wait_seconds: How long to wait for the lease; less where nobody listens at the
                cluster's address.
        """
        self._parts.leadership.start()
        end = self._monotonic() + wait_seconds
        while not self._parts.leadership.is_leader() and self._monotonic() < end:
            if self._parts.refused_seconds() > REFUSED_SECONDS:
                break
            time.sleep(0.05)
        return self.tick()

    @property
    def why_not_leading(self) -> str:
        """Why the last cycle, which was to act, did not; empty where it did or was not to."""
        cycle = self.controller.latest
        if self._parts.actuator is None or (cycle is not None and cycle.leading):
            return ""
        return self._parts.leadership.trouble or "another process holds the lease"

    def _may_come_early(self) -> bool:
        """Whether a cycle may come now: half of the time at least is left to other things."""
        newest = self.latest.entry
        if newest is None or self._turn.locked() or not self._parts.leadership.is_leader():
            return False
        return self._monotonic() - newest.at >= newest.report.seconds

    def _run(self) -> None:
        """Run one cycle in time; whatever goes wrong, the next one comes."""
        try:
            self.tick()
        except Exception:  # noqa: BLE001  # a bug in one cycle must not end the process
            self._log.exception("cycle failed", reason="a bug: please report it")
        finally:
            self.latest.tick()
