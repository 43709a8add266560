"""Python threads that run the shards of a step at the same time, if some of its calls are not compiled.

An executor would need longer to distribute the work than a small network's step takes. So each thread has
two locks instead, which take about 10 µs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

__all__ = ["run_together"]


class _Worker(threading.Thread):
    """A thread that runs the tasks passed to `start_task`, one after another."""

    def __init__(self, number: int) -> None:
        super().__init__(name=f"gpubp-shard-{number}", daemon=True)
        self._task: Callable[[], None] | None = None
        self._error: BaseException | None = None
        self._given, self._finished = threading.Lock(), threading.Lock()
        self._given.acquire()
        self._finished.acquire()
        self.start()

    def run(self) -> None:
        while True:
            self._given.acquire()
            assert self._task is not None
            try:
                self._task()
            except BaseException as error:
                self._error = error
            self._task = None
            self._finished.release()

    def start_task(self, task: Callable[[], None]) -> None:
        self._task, self._error = task, None
        self._given.release()

    def wait(self) -> BaseException | None:
        """Wait for the end of the task; return the error that ended it, or None."""
        try:
            self._finished.acquire()
        except BaseException:  # Ctrl-C: first wait until the shard no longer uses the arrays
            self._finished.acquire()
            raise
        return self._error


_workers: list[_Worker] = []
_in_use = threading.Lock()


def run_together(tasks: Sequence[Callable[[], None]]) -> None:
    """Run all tasks, the first in this thread; when all have ended, raise the first error."""
    with _in_use:
        for number in range(len(_workers) + 1, len(tasks)):
            _workers.append(_Worker(number))
        busy = _workers[: len(tasks) - 1]
        for worker, task in zip(busy, tasks[1:], strict=True):
            worker.start_task(task)
        try:
            tasks[0]()
        finally:
            errors = [worker.wait() for worker in busy]
    for error in errors:
        if error is not None:
            raise error


def _forget_threads() -> None:
    """Reset the workers in a forked child, which has none of its parent's threads."""
    global _in_use  # noqa: PLW0603
    _workers.clear()
    _in_use = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
