"""The live process: cycles on time, policy files reloaded, state saved, everything told.

Here, and nowhere else, the wall clock is read.
"""

import gc
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import structlog
from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.schedulers.background import BackgroundScheduler

from autoscaler.config.reload import PolicyFiles
from autoscaler.controller import Controller
from autoscaler.core.decision import Cycle
from autoscaler.core.errors import AutoscalerError, JournalError
from autoscaler.core.planner import FleetState
from autoscaler.core.ports import Actuator, Journal, Observer
from autoscaler.core.workload import FleetSpec
from autoscaler.settings import Settings
from autoscaler.state import StateStore, adopt, dump_state, restore
from autoscaler.telemetry.access import ServerSettings
from autoscaler.telemetry.http import TelemetryServer
from autoscaler.telemetry.latest import Latest
from autoscaler.telemetry.report import CycleReport, Mode, SourceReport

_CYCLE_JOB: Final = "cycle"

ACTIONS_AT_ONCE: Final = 16
"""Changes that are made side by side: one that hangs holds up no other."""


def wall() -> float:
    """Return the time, Unix seconds."""
    return time.time()  # noqa: TID251  # the one place


def serve(service: "Service", settings: Settings, stopping: threading.Event) -> None:
    """Run cycles and answer requests until `stopping` is set; then end in order.

    Raises:
        ConfigError: The address is taken, or a certificate or token cannot be read.
    """
    server = TelemetryServer(
        service.latest,
        ServerSettings(
            host=settings.listen_address,
            port=settings.listen_port,
            cert_file=settings.tls_cert_file,
            key_file=settings.tls_key_file,
            token_file=settings.token_file,
        ),
    )
    collect_rarely()
    server.start()
    structlog.get_logger("service").info("serving", url=server.url)
    try:
        service.start()
        stopping.wait()
    finally:
        service.stop()
        server.stop()


def collect_rarely() -> None:
    """Look for unreachable cycles of references less often, in the whole process.

    A cycle makes hundreds of thousands of small values and hardly any such cycle: looking for
    those as often as is usual is a sixth of its work.
    """
    gc.set_threshold(50_000, 20, 50)


class Leadership(Protocol):
    """Whether we are the one that acts."""

    def is_leader(self) -> bool:
        """Whether we may write now."""
        ...

    def start(self) -> None:
        """Stand for election."""
        ...

    def stop(self) -> bool:
        """Cease to lead, and give the lease back."""
        ...

    @property
    def trouble(self) -> str:
        """Why we do not lead, as far as it is known; empty where nothing is wrong."""
        ...


class LastingJournal(Journal, Protocol):
    """A journal that never ends."""

    @property
    def problem(self) -> str:
        """Why cycles are not kept at present; empty while they are."""
        ...

    def expect(self, fleet: FleetSpec, state: FleetState) -> None:
        """Hear what the next cycle is decided by."""
        ...


class Remembering(Protocol):
    """An end that remembers something of each workload between processes."""

    def kept(self) -> Mapping[str, Any]:
        """Return what the next process should know, by workload key: JSON."""
        ...

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what another process kept."""
        ...


class Alone:
    """Leadership where there is nobody else."""

    def is_leader(self) -> bool:
        return True

    def start(self) -> None:
        """There is nothing to begin."""

    def stop(self) -> bool:
        return True

    @property
    def trouble(self) -> str:
        return ""


def _nothing() -> None:
    """There is nothing to close."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a live controller is composed of.

    Attributes:
        observer: Sees the fleet.
        actuator: Changes the cluster; None in shadow mode.
        leadership: Whether we are the one that acts.
        replan: Is told when other policy files are in force.
        sources: What each Prometheus was asked in the last cycle, by name.
        store: Where state is kept between processes; None for nowhere.
        counts: Remembers each workload's number; kept with the state. None where nobody does.
        journal: Keeps the cycles; None where none are kept.
        announce: Tells the cluster (events) what was done, and tidies up.
        close: Ends threads and connections.
    """

    observer: Observer
    actuator: Actuator | None
    leadership: Leadership = field(default_factory=Alone)
    replan: Callable[[FleetSpec], None] = lambda fleet: None
    sources: Callable[[], dict[str, SourceReport]] = dict
    store: StateStore | None = None
    counts: Remembering | None = None
    journal: LastingJournal | None = None
    announce: Callable[[FleetSpec, Cycle], None] = lambda fleet, cycle: None
    close: Callable[[], None] = _nothing


class Service:
    """Runs cycles until it is stopped.

    Attributes:
        latest: The newest cycle, for whoever shows it.
        controller: Decides.
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
        self._settings = settings
        self._files = files
        self._parts = parts
        self._narrate = narrate
        self._clock = clock
        self._monotonic = monotonic
        self._log: Any = structlog.get_logger("service")
        self._scheduler = BackgroundScheduler(timezone=UTC)
        self._missed = 0
        self._unsaved = ""
        self._looked = self._saved = monotonic()
        self._turn = threading.Lock()
        self._ending = threading.Event()
        self._threads = ThreadPoolExecutor(ACTIONS_AT_ONCE, thread_name_prefix="act")
        self.controller = Controller(
            files.loaded.fleet,
            observer=parts.observer,
            actuator=parts.actuator,
            journal=parts.journal,
            state=self._restored(),
            leads=parts.leadership.is_leader,
            spread=self._threads.map,
        )

    # --- running ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Stand for election, and run cycles in a thread of their own."""
        self._parts.leadership.start()
        now, interval = self._clock(), self._settings.interval_seconds
        # Prometheus is asked on a grid of whole steps: right after a point its newest is freshest.
        begin = math.ceil(now / interval) * interval + min(1.0, 0.1 * interval)
        self._scheduler.add_listener(self._note_missed, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
        self._scheduler.add_job(
            self._run,
            "interval",
            id=_CYCLE_JOB,
            seconds=interval,
            start_date=datetime.fromtimestamp(begin, UTC),
            next_run_time=datetime.fromtimestamp(now, UTC),
            max_instances=1,
            coalesce=True,
            misfire_grace_time=max(1, int(interval)),
        )
        self._scheduler.start()
        threading.Thread(target=self._keep_time, name="time", daemon=True).start()

    def stop(self) -> None:
        """Finish the cycle that runs, save the state, give the lease back."""
        self._ending.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)
        self._threads.shutdown(wait=False)
        with self._turn:
            if self._parts.actuator is not None and self._parts.leadership.is_leader():
                self._save(self._clock())
        self._parts.leadership.stop()
        self._parts.close()

    def once(self, wait_seconds: float) -> CycleReport:
        """Run a single cycle, as the leader if that can be had.

        Args:
            wait_seconds: How long to wait for the lease.
        """
        self._parts.leadership.start()
        end = self._monotonic() + wait_seconds
        while not self._parts.leadership.is_leader() and self._monotonic() < end:
            time.sleep(0.05)
        return self.tick()

    @property
    def why_not_leading(self) -> str:
        """Why the last cycle, which was to act, did not; empty where it did or was not to."""
        cycle = self.controller.latest
        if self._parts.actuator is None or (cycle is not None and cycle.leading):
            return ""
        return self._parts.leadership.trouble or "another process holds the lease"

    def _run(self) -> None:
        """Run one cycle on time; whatever goes wrong, the next one comes."""
        try:
            self.tick()
        except Exception:  # noqa: BLE001  # a bug in one cycle must not end the process
            self._log.exception("cycle failed", reason="a bug: please report it")
        finally:
            self.latest.tick()

    def tick(self) -> CycleReport:
        """Run one cycle now."""
        with self._turn:
            now, began = self._clock(), self._monotonic()
            self._look_at_files(now)
            problem = self._cycle(now)
            cycle = self.controller.latest
            assert cycle is not None  # noqa: S101  # it has just run
            self._keep_state(cycle, now)
            report = CycleReport(
                cycle=cycle,
                fleet=self.controller.fleet,
                started=now,
                seconds=self._monotonic() - began,
                lag_seconds=self._lag(now),
                missed=self._missed,
                interval_seconds=self._settings.interval_seconds,
                mode=Mode.SHADOW if self._parts.actuator is None else Mode.LIVE,
                leader=self._parts.leadership.is_leader(),
                sources=self._parts.sources(),
                reload_problem=self._files.problem,
                journal_problem=problem,
            )
            self._missed = 0
            self.latest.publish(report)
            self._narrate(report)
            self._parts.announce(report.fleet, cycle)
            return report

    def _cycle(self, now: float) -> str:
        """Run the controller; return why the cycle could not be kept, if so."""
        journal = self._parts.journal
        if journal is not None:
            journal.expect(self.controller.fleet, self.controller.state)
        # Where the record is lost, everything was decided and done all the same.
        with suppress(JournalError):
            self.controller.run_once(now)
        return journal.problem if journal is not None else ""

    def _lag(self, now: float) -> float:
        """How much later than planned the cycle of `now` began."""
        job = self._scheduler.get_job(_CYCLE_JOB) if self._scheduler.running else None
        if job is None or job.next_run_time is None or self.latest.entry is None:
            return 0.0  # the first cycle comes at once
        planned: float = job.next_run_time.timestamp() - self._settings.interval_seconds
        return max(0.0, now - planned)

    def _keep_time(self) -> None:
        """Call the next cycle where the wall clock was set back: its time is long in coming."""
        interval = self._settings.interval_seconds
        while not self._ending.wait(interval):
            job = self._scheduler.get_job(_CYCLE_JOB)
            if job is None or job.next_run_time is None:
                continue
            ahead = job.next_run_time.timestamp() - self._clock()
            if ahead > 2 * interval and self.latest.silent_seconds > interval:
                self._log.warning("clock set back", reason=f"the next cycle was {ahead:.0f} s away")
                job.modify(next_run_time=datetime.fromtimestamp(self._clock(), UTC))

    def _note_missed(self, _event: JobEvent) -> None:
        self._missed += 1

    # --- policy files ----------------------------------------------------------------------------

    def _look_at_files(self, now: float) -> None:
        every = self._settings.reload_seconds
        if every == 0 or self._monotonic() - self._looked < every:
            return
        self._looked = self._monotonic()
        before = self._files.problem
        if self._files.look():
            fleet = self._files.loaded.fleet
            self.controller.state = adopt(self.controller.state, fleet, now)
            self.controller.fleet = fleet
            self._parts.replan(fleet)
            self._log.info("policy files reloaded", workloads=len(fleet.workloads))
        elif self._files.problem and self._files.problem != before:
            self._log.error(
                "policy files are broken", kept="the last good ones", reason=self._files.problem
            )
        elif before and not self._files.problem:
            self._log.info("policy files are mended")

    # --- state -----------------------------------------------------------------------------------

    def _restored(self) -> FleetState:
        now, fleet = self._clock(), self._files.loaded.fleet
        store = self._parts.store
        if store is None:
            return adopt(FleetState(), fleet, now)
        restored = restore(store, fleet, now, max_age_seconds=self._settings.state_max_age_seconds)
        if restored.problem:
            self._log.warning(
                "no state to go on from",
                meaning="nothing is lowered for one window",
                reason=restored.problem,
            )
        if self._parts.counts is not None:
            self._parts.counts.restore(restored.counts)
        return restored.state

    def _keep_state(self, cycle: Cycle, now: float) -> None:
        if not cycle.leading:
            return
        changed = any(outcome.done for outcome in cycle.outcomes)
        due = self._monotonic() - self._saved >= self._settings.state_interval_seconds
        if changed or due or self._unsaved:
            self._save(now)

    def _save(self, now: float) -> None:
        if self._parts.store is None:
            return
        counts = self._parts.counts.kept() if self._parts.counts is not None else None
        try:
            self._parts.store.save(dump_state(self.controller.state, now, counts))
        except AutoscalerError as error:
            if not self._unsaved:
                self._log.warning("state not saved", reason=str(error))
            self._unsaved = str(error)
            return
        self._saved = self._monotonic()
        if self._unsaved:
            self._log.info("state saved again", reason=self._unsaved)
        self._unsaved = ""
