"""Tasks in one process or in several; what comes out does not depend on which."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from multiprocessing.queues import Queue
from queue import Empty
from typing import Any, Protocol, TypeVar

OnProgress = Callable[[str, float], None]
"""Told what is being worked on, and how far that is, 0 to 1."""

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class Job(Protocol[Result_co]):
    """Something of several tasks that does not depend on their order; can be pickled."""

    def carry_out(self, task: str, on_share: Callable[[float], None]) -> Result_co:
        """Carry out one task."""
        ...


def carry_out_all(
    job: Job[Result], tasks: Sequence[str], jobs: int, on_progress: OnProgress | None = None
) -> dict[str, Result]:
    """Carry out every task and return what came out, by task.

    Args:
        job: What the tasks belong to.
        tasks: Their names, the longest first.
        jobs: How many processes work at a time; with 1, this one alone.
        on_progress: Told how far each task is, in steps of a hundredth.
    """
    if jobs <= 1:
        return {task: job.carry_out(task, _told(task, on_progress)) for task in tasks}
    return _in_processes(job, tasks, min(jobs, len(tasks)), on_progress)


def _in_processes(
    job: Job[Result], tasks: Sequence[str], jobs: int, on_progress: OnProgress | None
) -> dict[str, Result]:
    """Carry out tasks in fresh processes: they share nothing with each other or with us."""
    context = multiprocessing.get_context("spawn")
    progress: Queue[tuple[str, float]] = context.Queue()
    with ProcessPoolExecutor(
        jobs, mp_context=context, initializer=_begin, initargs=(job, progress)
    ) as pool:
        futures: dict[str, Future[Result]] = {task: pool.submit(_work, task) for task in tasks}
        try:
            waiting = set(futures.values())
            while waiting:
                done, waiting = wait(waiting, timeout=0.1)
                _hand_on(progress, on_progress)
                for future in done:
                    future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    _hand_on(progress, on_progress)
    progress.close()
    return {task: future.result() for task, future in futures.items()}


_job: Job[Any] | None = None
_progress: "Queue[tuple[str, float]] | None" = None


def _begin(job: Job[Any], progress: "Queue[tuple[str, float]]") -> None:
    """Set up a worker process: the job travels once."""
    globals().update(_job=job, _progress=progress)


def _work(task: str) -> Any:
    """Carry out a task in a worker process."""
    job, progress = _job, _progress
    if job is None or progress is None:
        raise RuntimeError("a worker begins with its job")
    return job.carry_out(task, _told(task, lambda name, share: progress.put((name, share))))


def _hand_on(progress: "Queue[tuple[str, float]]", on_progress: OnProgress | None) -> None:
    while True:
        try:
            task, share = progress.get_nowait()
        except Empty:
            return
        if on_progress is not None:
            on_progress(task, share)


def _told(task: str, on_progress: OnProgress | None) -> Callable[[float], None]:
    """Return what hands progress on, but not each thousandth of it."""
    last = -1.0

    def tell(share: float) -> None:
        nonlocal last
        if on_progress is not None and (share - last >= 0.01 or share >= 1.0 > last):
            last = share
            on_progress(task, share)

    return tell
