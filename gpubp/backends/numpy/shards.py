"""Python threads that run the shards of a step at the same time, where not all of it is compiled.

A step of a small network takes less time than an executor needs to hand out its work, so the hand-over
is two locks for each thread: about 10 µs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

__all__ = ["run_together"]


class _Worker(threading.Thread):
    """Runs one task after another, as `start_task` gives them."""

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
        """The error that ended the task, if one did."""
        try:
            self._finished.acquire()
        except BaseException:  # Ctrl-C: not before the shard has left the arrays alone
            self._finished.acquire()
            raise
        return self._error


_workers: list[_Worker] = []
_in_use = threading.Lock()


def run_together(tasks: Sequence[Callable[[], None]]) -> None:
    """Run every task, the first in this thread; raise the first error once all have ended."""
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
    """A forked child has none of its parent's threads."""
    global _in_use  # noqa: PLW0603
    _workers.clear()
    _in_use = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
