"""Python threads that run the shards of a step at the same time, if some of its calls are not compiled.

An executor would need longer to distribute the work than a small network's step takes. So each thread has a
queue of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue

from .accelerate import use_one_thread

__all__ = ["run_together"]


class _Worker(threading.Thread):
    """A thread that runs the tasks of its queue, one after another; tasks must not raise."""

    def __init__(self, number: int) -> None:
        super().__init__(name=f"gpubp-shard-{number}", daemon=True)
        self.tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.start()

    def run(self) -> None:
        use_one_thread()
        while True:
            self.tasks.get()()


class _Outcome:
    """The outcome of tasks that other threads run.

    `wait` holds back what the handler of a signal raises, because tasks that run use the caller's arrays.
    """

    def __init__(self) -> None:
        self.errors: dict[int, BaseException | None] = {}
        self._ended: SimpleQueue[None] = SimpleQueue()

    def run(self, number: int, task: Callable[[], None]) -> None:
        error = None
        try:
            task()
        except BaseException as raised:
            error = raised
        self.errors[number] = error
        self._ended.put(None)

    def wait(self, count: int) -> None:
        raised = None
        while len(self.errors) < count:
            try:
                self._ended.get()
            except BaseException as error:
                raised = error
        if raised is not None:
            raise raised


_workers: list[_Worker] = []
_in_use = threading.Lock()


def run_together(tasks: Sequence[Callable[[], None]]) -> None:
    """Run all tasks, the first in this thread; when all have ended, raise the first error.

    While the threads run the tasks of another step, or if no thread can be started, this thread runs the
    tasks one after another.
    """
    if not _in_use.acquire(blocking=False):
        for task in tasks:
            task()
        return
    outcome, given = _Outcome(), 0
    try:
        for worker, task in zip(_start_workers(len(tasks) - 1), tasks[1:], strict=False):
            run = partial(outcome.run, given, task)
            given += 1
            worker.tasks.put(run)
        for task in (tasks[0], *tasks[given + 1 :]):
            task()
    finally:
        try:
            outcome.wait(given)
        finally:
            _in_use.release()
    for number in range(given):
        error = outcome.errors[number]
        if error is not None:
            raise error


def _start_workers(count: int) -> list[_Worker]:
    """Return `count` workers, or fewer if the system starts no more threads."""
    try:
        for number in range(len(_workers) + 1, count + 1):
            _workers.append(_Worker(number))
    except RuntimeError:  # can't start new thread
        pass
    return _workers[:count]


def _forget_threads() -> None:
    """Reset the workers in a forked child, which has none of its parent's threads."""
    global _in_use  # noqa: PLW0603
    _workers.clear()
    _in_use = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
