"""When cycles run: on time, one after the other, also where the wall clock is set back."""

import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.schedulers.background import BackgroundScheduler

_CYCLE: Final = "cycle"
_EARLY: Final = "early"


class Timetable:
    """Runs cycles in a thread of their own; never two at once."""

    def __init__(
        self,
        run: Callable[[], None],
        interval_seconds: float,
        *,
        clock: Callable[[], float],
        silent: Callable[[], float],
    ) -> None:
        """Plan cycles; none runs before `start`.

        Args:
            run: Runs one. It must not raise.
            interval_seconds: Between two.
            clock: Unix seconds.
            silent: Seconds since the last one ended.
        """
        self._run = run
        self._interval = interval_seconds
        self._clock = clock
        self._silent = silent
        self._log: Any = structlog.get_logger("service")
        self._scheduler = BackgroundScheduler(timezone=UTC)
        self._ending = threading.Event()
        self._missed = 0
        self._early = threading.local()

    def start(self) -> None:
        """Run the first cycle at once, the others in time."""
        now, interval = self._clock(), self._interval
        # Prometheus is asked on a grid of whole steps: right after a point its newest is freshest.
        begin = math.ceil(now / interval) * interval + min(1.0, 0.1 * interval)
        self._scheduler.add_listener(self._note_missed, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
        self._scheduler.add_job(
            self._run,
            "interval",
            id=_CYCLE,
            seconds=interval,
            start_date=datetime.fromtimestamp(begin, UTC),
            next_run_time=datetime.fromtimestamp(now, UTC),
            max_instances=1,
            coalesce=True,
            misfire_grace_time=max(1, int(interval)),
        )
        self._scheduler.start()
        threading.Thread(target=self._keep_time, name="time", daemon=True).start()

    def soon(self) -> None:
        """Run a cycle at once, out of turn; the others keep their times."""
        if self._scheduler.running:
            self._scheduler.add_job(
                self._run_early, id=_EARLY, replace_existing=True, misfire_grace_time=None
            )

    def stop(self) -> None:
        """Let the cycle that runs end, and run no other."""
        self._ending.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def lag_seconds(self, now: float) -> float:
        """Return how much later than planned a cycle began at `now`; 0 for one that was not."""
        if getattr(self._early, "runs", False):
            return 0.0
        job = self._scheduler.get_job(_CYCLE) if self._scheduler.running else None
        if job is None or job.next_run_time is None:
            return 0.0
        planned: float = job.next_run_time.timestamp() - self._interval
        return max(0.0, now - planned)

    def take_missed(self) -> int:
        """Return how many planned cycles never ran since this was last asked."""
        missed, self._missed = self._missed, 0
        return missed

    def _run_early(self) -> None:
        if self._ending.is_set():
            return
        self._early.runs = True
        try:
            self._run()
        finally:
            self._early.runs = False

    def _keep_time(self) -> None:
        """Call the next cycle where the wall clock was set back: its time is long in coming."""
        while not self._ending.wait(self._interval):
            job = self._scheduler.get_job(_CYCLE)
            if job is None or job.next_run_time is None:
                continue
            ahead = job.next_run_time.timestamp() - self._clock()
            if ahead > 2 * self._interval and self._silent() > self._interval:
                self._log.warning("clock set back", reason=f"the next cycle was {ahead:.0f} s away")
                job.modify(next_run_time=datetime.fromtimestamp(self._clock(), UTC))

    def _note_missed(self, event: JobEvent) -> None:
        if event.job_id == _CYCLE:
            self._missed += 1
