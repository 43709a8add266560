"""Functions that Ctrl-C does not interrupt."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gpubp.signals import PatientHandler, uninterrupted


@pytest.fixture(autouse=True)
def the_handler_is_pythons_own_before_and_after() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def control_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_control_c_interrupts_at_the_end_of_the_function() -> None:
    ended = []

    @uninterrupted
    def work() -> None:
        control_c()
        ended.append("work")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert ended == ["work"]


def test_control_c_interrupts_at_the_end_of_the_outermost_function() -> None:
    ended = []

    @uninterrupted
    def inner() -> None:
        control_c()
        ended.append("inner")

    @uninterrupted
    def outer() -> None:
        inner()
        ended.append("outer")

    with pytest.raises(KeyboardInterrupt):
        outer()
    assert ended == ["inner", "outer"]


def test_control_c_is_not_lost_if_the_function_raises() -> None:
    @uninterrupted
    def fail() -> None:
        control_c()
        raise ValueError("no")

    with pytest.raises(KeyboardInterrupt) as caught:
        fail()
    assert isinstance(caught.value.__context__, ValueError)


def test_a_users_handler_runs_once_for_each_control_c() -> None:
    received: list[tuple[int, bool]] = []

    @uninterrupted
    def work() -> int:
        control_c()
        control_c()
        assert received == []
        return 7

    signal.signal(signal.SIGINT, lambda number, frame: received.append((number, bool(frame))))
    try:
        assert work() == 7
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert received == [(signal.SIGINT, True)] * 2


def test_a_process_that_ignores_control_c_goes_on_ignoring_it() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        uninterrupted(control_c)()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_other_threads_leave_the_handler_alone() -> None:
    seen: list[Any] = []
    work = uninterrupted(lambda: seen.append(signal.getsignal(signal.SIGINT)))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="this system has no SIGALRM")
def test_the_handler_comes_back_if_another_signals_handler_raises() -> None:
    def time_out(number: int, frame: Any) -> None:
        raise TimeoutError

    work = uninterrupted(lambda: signal.raise_signal(signal.SIGALRM))
    before = signal.signal(signal.SIGALRM, time_out)
    try:
        with pytest.raises(TimeoutError):
            work()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_patient_handler_waits_for_the_outermost_function_and_stays_set() -> None:
    seen: list[Any] = []

    @uninterrupted
    def inner() -> None:
        control_c()
        seen.append("inner")

    @uninterrupted
    def outer() -> None:
        inner()
        control_c()
        seen.append(signal.getsignal(signal.SIGINT) is handler)

    handler = PatientHandler(lambda number, frame: seen.append(number))
    signal.signal(signal.SIGINT, handler)
    try:
        outer()
        assert seen == ["inner", True, signal.SIGINT, signal.SIGINT]
        control_c()
        assert seen[4:] == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_what_a_patient_handler_raises_comes_at_the_end_of_the_function() -> None:
    ended = []

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    @uninterrupted
    def work() -> None:
        control_c()
        ended.append("work")

    signal.signal(signal.SIGINT, PatientHandler(interrupt))
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert ended == ["work"]
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
