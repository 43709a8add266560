"""Python threads that run the shards of a step."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

from gpubp.backends.numpy import shards
from gpubp.backends.numpy.shards import run_together


def test_every_task_runs_once_each_in_a_thread_of_its_own() -> None:
    barrier, threads = threading.Barrier(3), []

    def task() -> None:
        barrier.wait(60)
        threads.append(threading.get_ident())

    run_together([task] * 3)
    assert len(set(threads)) == 3 and threading.get_ident() in threads


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_error_is_raised_when_all_tasks_have_ended(number: int) -> None:
    ended: list[int] = []

    def task(k: int) -> None:
        if k == number:
            raise ValueError(f"in task {k}")
        time.sleep(0.05)
        ended.append(k)

    with pytest.raises(ValueError, match=f"in task {number}"):
        run_together([lambda k=k: task(k) for k in range(3)])  # type: ignore[misc]
    assert sorted([*ended, number]) == [0, 1, 2]


def test_tasks_of_a_second_step_run_in_its_own_thread() -> None:
    inside, leave, threads = threading.Event(), threading.Event(), []

    def stay() -> None:
        inside.set()
        leave.wait(60)

    first = threading.Thread(target=run_together, args=([stay, stay],))
    first.start()
    assert inside.wait(60)
    run_together([lambda: threads.append(threading.get_ident())] * 3)
    leave.set()
    first.join()
    assert threads == [threading.get_ident()] * 3


def test_without_threads_the_tasks_run_in_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(shards, "_workers", [])
    monkeypatch.setattr(threading.Thread, "start", refuse)
    threads: list[int] = []
    run_together([lambda: threads.append(threading.get_ident())] * 3)
    assert threads == [threading.get_ident()] * 3


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
def test_a_signals_handler_that_raises_does_not_leave_a_task_running() -> None:
    def time_out(number: int, frame: Any) -> None:
        raise TimeoutError

    ended = threading.Event()

    def task() -> None:
        time.sleep(0.3)
        ended.set()

    before = signal.signal(signal.SIGALRM, time_out)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(TimeoutError):
            run_together([lambda: None, task])
        assert ended.is_set()
    finally:
        signal.signal(signal.SIGALRM, before)
    run_together([lambda: None, lambda: None])
