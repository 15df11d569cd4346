"""Cycles run in time; those that could not are counted."""

import threading

from autoscaler.service import wall
from autoscaler.service.timetable import Timetable
from tests.live.stage import eventually


def test_planned_cycles_that_never_ran_because_one_took_long_are_counted_once() -> None:
    running, go_on = threading.Semaphore(0), threading.Event()

    def run() -> None:
        running.release()
        go_on.wait(20)

    timetable = Timetable(run, 0.1, clock=wall, silent=lambda: 0.0)
    assert timetable.lag_seconds(wall()) == 0.0  # nothing is planned yet
    timetable.start()
    assert running.acquire(timeout=20)
    eventually(lambda: timetable._missed > 1, "cycles are missed")
    go_on.set()
    timetable.stop()

    assert timetable.take_missed() > 1
    assert timetable.take_missed() == 0


def test_a_cycle_is_as_late_as_it_began_after_its_time() -> None:
    ran = threading.Event()
    timetable = Timetable(ran.set, 600.0, clock=wall, silent=lambda: 0.0)
    timetable.start()
    assert ran.wait(20)
    try:
        job = timetable._scheduler.get_job("cycle")
        eventually(lambda: job.next_run_time.timestamp() > wall(), "the next one is planned")
        planned = job.next_run_time.timestamp() - 600.0

        assert abs(timetable.lag_seconds(planned + 7.0) - 7.0) < 1e-6
        assert timetable.lag_seconds(planned - 7.0) == 0.0
    finally:
        timetable.stop()
