"""Accelerate, macOS's BLAS, with a made-up library: which threads compute a product."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import scipy

from gpubp.backends.numpy import accelerate, blas, blas_threads, shards
from gpubp.kernels.cpu import system

CORES = 6


class MadeUp:
    """A library in which every thread has a setting of its own, as in Accelerate."""

    def __init__(self) -> None:
        self._own = threading.local()

    def BLASGetThreading(self) -> int:
        return getattr(self._own, "value", accelerate.MANY)

    def BLASSetThreading(self, value: int) -> int:
        self._own.value = value
        return 0


@pytest.fixture
def one() -> Callable[[], bool]:
    """Return a function that says whether the calling thread's products have one thread."""
    return lambda: blas_threads._get() == 1


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Make Accelerate SciPy's BLAS, and return the context of steps."""
    controller = accelerate.Controller(MadeUp(), CORES)
    monkeypatch.setattr(accelerate, "controller", lambda: controller)
    context = blas_threads._SingleThreadedEach()
    monkeypatch.setattr(blas_threads, "single_threaded", context)
    blas_threads._functions.cache_clear()
    yield context
    blas_threads._functions.cache_clear()


def in_a_thread(function: Callable[[], None]) -> None:
    """Run a function in a new thread, and raise its error here."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def test_each_thread_has_one_thread_within_the_context(
    context: Any, one: Callable[[], bool]
) -> None:
    def steps() -> None:
        assert not one()
        with context:
            assert one() and blas_threads.get_threads() == CORES
            with context:
                assert one()
            assert one()
        assert not one()

    assert blas_threads.get_threads() == CORES
    with context:
        in_a_thread(steps)
        assert one()
    assert not one() and blas_threads.get_threads() == CORES


def test_minimising_has_one_thread_in_its_own_thread_only(
    context: Any, one: Callable[[], bool]
) -> None:
    def other() -> None:
        assert not one()

    def minimise() -> str:
        assert one()
        in_a_thread(other)
        with context:
            assert one()
        assert one()
        return "minimum"

    assert blas_threads.on_one_thread(minimise) == "minimum"
    assert not one()


def test_a_user_who_set_one_thread_keeps_it(context: Any, one: Callable[[], bool]) -> None:
    accelerate.use_one_thread()
    assert blas_threads.get_threads() == 1
    with context:
        assert one()
    assert one()


def test_threads_of_shards_compute_their_products_alone(
    context: Any, one: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "_workers", [])
    here, seen = threading.get_ident(), []
    shards.run_together([lambda: seen.append((threading.get_ident() == here, one()))] * 3)
    assert sorted(seen) == [(False, True), (False, True), (True, False)]


@pytest.mark.parametrize(
    ("limit", "expected"), [("", CORES), ("2", 2), ("100", CORES), ("0", CORES), ("x", CORES)]
)
def test_the_number_of_threads_is_that_of_fast_cores_or_the_users_limit(
    limit: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerate, "performance_cores", lambda: CORES)
    monkeypatch.setenv("VECLIB_MAXIMUM_THREADS", limit)
    assert accelerate._threads() == expected


@pytest.fixture
def on_a_mac(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Make the system a Mac whose SciPy has Accelerate."""
    built_with = {"Build Dependencies": {"blas": {"name": "accelerate"}}}
    monkeypatch.setattr(accelerate, "is_mac", lambda: True)
    monkeypatch.setattr(system, "is_mac", lambda: True)
    monkeypatch.setattr(scipy, "show_config", lambda mode: built_with)
    caches = accelerate.controller, blas.library, blas_threads._functions
    for function in caches:
        function.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    for function in caches:
        function.cache_clear()


def test_a_mac_before_macos_15_leaves_products_to_accelerate(
    on_a_mac: pytest.MonkeyPatch,
) -> None:
    on_a_mac.setattr(accelerate.ctypes, "PyDLL", lambda place: object())
    assert accelerate.controller() is None and blas.library() is None
    assert blas_threads.get_threads() == 1
    accelerate.use_one_thread()  # does nothing


def test_a_mac_since_macos_15_has_a_controller(on_a_mac: pytest.MonkeyPatch) -> None:
    on_a_mac.setattr(accelerate.ctypes, "PyDLL", lambda place: MadeUp())
    on_a_mac.setattr(accelerate, "performance_cores", lambda: CORES)
    on_a_mac.delenv("VECLIB_MAXIMUM_THREADS", raising=False)
    assert accelerate.controller() is not None
    assert blas_threads.get_threads() == CORES


def test_another_blas_on_a_mac_is_steered_by_threadpoolctl(on_a_mac: pytest.MonkeyPatch) -> None:
    def old_scipy() -> None: ...

    openblas = {"Build Dependencies": {"blas": {"name": "scipy-openblas"}}}
    on_a_mac.setattr(scipy, "show_config", lambda mode: openblas)
    assert not accelerate.is_scipys() and accelerate.controller() is None
    on_a_mac.setattr(scipy, "show_config", old_scipy)
    assert not accelerate.is_scipys()
    assert blas.library() is not None
