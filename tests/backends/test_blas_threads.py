"""The number of threads of SciPy's BLAS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
from threadpoolctl import threadpool_limits

from gpubp.backends.numpy import blas
from gpubp.backends.numpy.blas_threads import get_threads, on_one_thread, single_threaded


def blas_now() -> int:
    """Ask BLAS itself; `get_threads` tells the number outside the context."""
    library = blas.library()
    return 1 if library is None else int(library.get_num_threads())


@pytest.fixture
def two_threads() -> Iterator[None]:
    with threadpool_limits(2, user_api="blas"):
        if blas_now() != 2:
            pytest.skip("this BLAS does not let its threads be set")
        yield


def test_blas_has_one_thread_within_the_context_whichever_thread_enters_it(
    two_threads: None,
) -> None:
    seen: list[int] = []

    def enter() -> None:
        with single_threaded:
            seen.append(blas_now())
        seen.append(blas_now())

    enter()
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [1, 2, 1, 2]


def test_blas_gets_its_threads_back_when_the_last_thread_leaves(two_threads: None) -> None:
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with single_threaded:
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=stay)
    thread.start()
    assert inside.wait(60)
    with single_threaded:
        assert get_threads() == 2
    assert blas_now() == 1
    leave.set()
    thread.join()
    assert blas_now() == 2


def test_steps_without_products_leave_blas_its_threads(two_threads: None) -> None:
    with single_threaded.without_blas:
        assert (blas_now(), get_threads()) == (2, 2)
        with single_threaded:
            assert (blas_now(), get_threads()) == (1, 2)
        assert (blas_now(), get_threads()) == (2, 2)


@pytest.mark.parametrize("context", [single_threaded, single_threaded.without_blas])
def test_a_thread_enters_after_a_fork_that_waits(context: AbstractContextManager[None]) -> None:
    entered, waits, ended = threading.Event(), threading.Event(), list[str]()

    def stay() -> None:
        with context:
            entered.set()
            waits.wait(60)
            ended.append("step")

    def enter_later() -> None:
        while not single_threaded.fork_waits:
            time.sleep(1e-4)
        waits.set()
        with context:
            ended.append("later step")

    threads = [threading.Thread(target=each) for each in (stay, enter_later)]
    for thread in threads:
        thread.start()
    assert entered.wait(60)
    single_threaded.before_fork()
    ended.append("fork")
    single_threaded.after_fork()
    for thread in threads:
        thread.join()
    assert ended == ["step", "fork", "later step"]


def test_a_function_on_one_thread_has_steps_with_all_threads_within_it(two_threads: None) -> None:
    def minimize() -> list[int]:
        seen = [blas_now(), get_threads()]
        with single_threaded:
            seen.append(get_threads())
        return [*seen, blas_now()]

    assert on_one_thread(minimize) == [1, 2, 2, 1]
    assert blas_now() == 2


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_function_on_one_thread_that_fails_gives_blas_its_threads_back(
    error: type[BaseException], two_threads: None
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(error):
        on_one_thread(fail)
    assert blas_now() == get_threads() == 2


def test_control_c_before_a_function_on_one_thread_begins_gives_blas_its_threads_back(
    two_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep_then_interrupt() -> None:
        keep()
        raise KeyboardInterrupt  # as a signal that came while `keep` ran

    keep = single_threaded.keep
    monkeypatch.setattr(single_threaded, "keep", keep_then_interrupt)
    with pytest.raises(KeyboardInterrupt):
        on_one_thread(lambda: None)
    assert blas_now() == 2 and not single_threaded.keepers


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_does_not_wait_for_a_function_on_one_thread_and_the_child_forgets_it() -> None:
    code = (
        "import os, sys, threading, time\n"
        "from gpubp.backends.numpy.blas_threads import _get, get_threads, on_one_thread\n"
        "before, inside, leave = get_threads(), threading.Event(), threading.Event()\n"
        "stay = lambda: (inside.set(), leave.wait(60))\n"
        "thread = threading.Thread(target=on_one_thread, args=(stay,))\n"
        "thread.start(); inside.wait(60)\n"
        "began = time.monotonic()\n"
        "child = os.fork()\n"
        "if not child: os._exit(_get() != before)\n"
        "waited = time.monotonic() - began\n"
        "leave.set(); thread.join()\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or waited > 5)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    subprocess.run(command, check=True, timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_forked_within_the_context_has_all_of_its_threads() -> None:
    code = (
        "import os, sys\n"
        "from gpubp.backends.numpy.blas_threads import _get, get_threads, single_threaded\n"
        "before = get_threads()\n"
        "with single_threaded:\n"
        "    child = os.fork()\n"
        "if not child:\n"
        "    with single_threaded: pass\n"
        "    os._exit(_get() != before)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_control_c_while_a_fork_waits_for_steps_leaves_no_lock_behind() -> None:
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with single_threaded:
            inside.set()
            leave.wait(60)

    def interrupt_then_leave() -> None:
        inside.wait(60)
        time.sleep(0.1)  # the fork waits by then; without this wait the test can only pass
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.1)
        leave.set()

    threads = [threading.Thread(target=each) for each in (stay, interrupt_then_leave)]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for thread in threads:
            thread.start()
        assert inside.wait(60)
        with pytest.raises(KeyboardInterrupt):
            single_threaded.before_fork()
    finally:
        leave.set()
        for thread in threads:
            thread.join()
        signal.signal(signal.SIGINT, before)
    single_threaded.after_fork()
    assert not single_threaded.entry.locked() and not single_threaded.lock.locked()
