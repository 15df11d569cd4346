"""Tasks in one process or in several; what comes out does not depend on which."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from ctypes import c_bool
from dataclasses import dataclass
from multiprocessing.queues import Queue
from queue import Empty
from threading import Thread
from time import sleep
from types import FrameType
from typing import Any, Final, Protocol, TypeVar

from autoscaler.core.errors import AutoscalerError, Ended

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


_DEADLY: Final = (signal.SIGTERM, signal.SIGHUP)
_ENDING: Final = frozenset({signal.SIGINT, *_DEADLY})


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let signals wait while processes begin: one that is half told what to do would complain.

    Processes that begin meanwhile let them wait too, until they are ready for them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_processes(
    job: Job[Result], tasks: Sequence[str], jobs: int, on_progress: OnProgress | None
) -> dict[str, Result]:
    """Carry out tasks in fresh processes: they share nothing with each other or with us.

    However this ends, each of them has ended its task, and left nothing half-written, before.

    Raises:
        AutoscalerError: A process was killed.
    """
    context = multiprocessing.get_context("spawn")
    with _undisturbed():  # Python's own helper process is deaf to what is blocked now
        work = _Work(job, context.Queue(), context.RawValue(c_bool))
    with ProcessPoolExecutor(
        jobs, mp_context=context, initializer=_begin, initargs=(work,)
    ) as pool:
        futures: dict[str, Future[Result]] = {}
        try:
            with _undisturbed():
                futures.update((task, pool.submit(_carry_out, task)) for task in tasks)
                # The pool looks after the processes that it knew when it was last woken up.
                pool.submit(int)
            waiting = set(futures.values())
            while waiting:
                done, waiting = wait(waiting, timeout=0.1)
                _hand_on(work.progress, on_progress)
                for future in done:
                    future.result()
        except BrokenProcessPool as error:
            raise AutoscalerError(
                "a process that simulates was killed, perhaps for lack of memory: use fewer, as "
                "with --jobs 1"
            ) from error
        finally:
            work.over.value = True
            pool.shutdown(cancel_futures=True)
    _hand_on(work.progress, on_progress)
    work.progress.close()
    return {task: future.result() for task, future in futures.items()}


@dataclass(frozen=True, slots=True)
class _Work:
    """What a worker process begins with.

    Attributes:
        job: What its tasks belong to.
        progress: Where it says how far they are.
        over: True once nobody waits for it any more. No lock guards it: whoever is killed while
            it holds one would stop all others.
    """

    job: Job[Any]
    progress: "Queue[tuple[str, float]]"
    over: c_bool


class _OverError(Exception):
    """Nobody waits for the task any more."""


_work: _Work | None = None
_ended = 0
"""The exit code of a worker process that was told to end: it begins nothing more."""


def _begin(work: _Work) -> None:
    """Set up a worker process: the job travels once."""
    globals().update(_work=work)
    # Ctrl-C reaches every process of a terminal; ours says when it is over.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def _end_with_parent() -> None:
    """End this process, after what it has begun, once the one that wanted it is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        while True:
            os.kill(os.getpid(), signal.SIGTERM)
            sleep(1)


def _carry_out(task: str) -> Any:
    """Carry out a task in a worker process."""
    work = _work
    if work is None:
        raise RuntimeError("a worker begins with its job")
    tell = _told(task, lambda name, share: work.progress.put((name, share)))

    def on_share(share: float) -> None:
        if work.over.value:
            work.progress.cancel_join_thread()  # nobody reads it any more
            raise _OverError(task)
        tell(share)

    if _ended:
        raise SystemExit(_ended)
    with _unwinding():
        on_share(0.0)
        return work.job.carry_out(task, on_share)


@contextmanager
def _unwinding() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind a task, so that nothing half-written stays, and then end us.

    Outside of a task they end the process at once, without a word; what is ignored, as under nohup,
    stays ignored.
    """
    ours = [one for one in _DEADLY if signal.getsignal(one) is signal.SIG_DFL]
    for one in ours:
        signal.signal(one, _end)
    try:
        yield
    except SystemExit:
        signal.alarm(1)  # time to say so, and then nothing more
        raise
    else:
        for one in ours:
            signal.signal(one, signal.SIG_DFL)


def _end(number: int, _frame: FrameType | None) -> None:
    for one in _DEADLY:  # the next one would come while we clean up
        signal.signal(one, signal.SIG_IGN)
    globals().update(_ended=128 + number)
    raise Ended(128 + number)


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
