"""Cycles run in time; those that could not are counted."""

import threading

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobEvent

from autoscaler.service import wall
from autoscaler.service.timetable import Timetable
from tests.waiting import until


def test_planned_cycles_that_never_ran_because_one_took_long_are_counted_once() -> None:
    running, go_on = threading.Semaphore(0), threading.Event()

    def run() -> None:
        running.release()
        go_on.wait(20)

    timetable = Timetable(run, 0.1, clock=wall, silent=lambda: 0.0)
    assert timetable.lag_seconds(wall()) == 0.0  # nothing is planned yet
    timetable.start()
    assert running.acquire(timeout=20)
    until(lambda: timetable._missed > 1, "cycles are missed")
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
        until(lambda: job.next_run_time.timestamp() > wall(), "the next one is planned")
        planned = job.next_run_time.timestamp() - 600.0

        assert abs(timetable.lag_seconds(planned + 7.0) - 7.0) < 1e-6
        assert timetable.lag_seconds(planned - 7.0) == 0.0
    finally:
        timetable.stop()


def test_a_cycle_out_of_turn_comes_at_once_and_is_not_late() -> None:
    lags: list[float] = []
    ran = threading.Semaphore(0)

    def run() -> None:
        lags.append(timetable.lag_seconds(wall() + 500.0))
        ran.release()

    timetable = Timetable(run, 600.0, clock=wall, silent=lambda: 0.0)
    timetable.soon()  # nothing runs yet: the first cycle comes at once anyway
    timetable.start()
    assert ran.acquire(timeout=20)
    planned = timetable._scheduler.get_job("cycle")
    until(lambda: planned.next_run_time.timestamp() > wall(), "the next one is planned")
    due = planned.next_run_time
    try:
        timetable.soon()
        assert ran.acquire(timeout=20)

        assert lags[-1] == 0.0
        assert timetable.take_missed() == 0
        assert timetable._scheduler.get_job("cycle").next_run_time == due
    finally:
        timetable.stop()


def test_only_planned_cycles_are_missed_and_none_comes_early_after_the_end() -> None:
    ran: list[int] = []
    timetable = Timetable(lambda: ran.append(1), 600.0, clock=wall, silent=lambda: 0.0)
    for job in ("early", "cycle"):
        timetable._note_missed(JobEvent(EVENT_JOB_MAX_INSTANCES, job, "default"))
    timetable.stop()
    timetable._run_early()

    assert (timetable.take_missed(), ran) == (1, [])
