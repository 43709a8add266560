"""Streams and events of emulated devices: as late as CUDA allows."""

from __future__ import annotations

import contextvars
import threading

import numpy as np
import pytest

from support.cupy_on_host import CudaOnHost
from support.kernels import Kernel
from support.raw_kernels import SLOW, cupy, errors, needs_emulation, raw
from support.runtime import MOST_ASKED
from support.streams import CudaError

pytestmark = needs_emulation


def test_work_is_done_as_late_as_it_may_be(cuda: CudaOnHost) -> None:
    """Copies from ordinary host memory are the exception: they read it at once."""
    first, second = (cupy().cuda.Stream(non_blocking=True) for _ in range(2))
    x, kernel, order = cupy().zeros(1, np.float32), raw(SLOW), []
    cupy().cuda.Device().synchronize()
    note = cuda.runtime.ask
    for name, stream in (("first", first), ("second", second)):
        handle = cuda.runtime.stream(stream.ptr)
        note(handle, lambda name=name: order.append(name))
    assert order == []
    second.synchronize()
    assert order == ["second"]
    event = first.record()
    second.wait_event(event)
    note(cuda.runtime.stream(second.ptr), lambda: order.append("after"))
    second.synchronize()
    assert order == ["second", "first", "after"]
    host = np.ones(1, np.float32)
    x.set(host)
    host[0] = 7
    kernel((1,), (1,), (x, np.float32(1)))
    assert x.item() == 2


def test_work_changes_no_context_variable_of_the_thread_that_waits(cuda: CudaOnHost) -> None:
    variable = contextvars.ContextVar("variable", default="as before")
    stream = cupy().cuda.Stream(non_blocking=True)
    cuda.runtime.ask(cuda.runtime.stream(stream.ptr), lambda: variable.set("changed"))
    stream.synchronize()
    assert variable.get() == "as before"


def test_page_locked_memory_is_read_when_its_turn_comes(cuda: CudaOnHost) -> None:
    memory = cupy().cuda.alloc_pinned_memory(4)
    host = np.frombuffer(memory, np.float32, 1)
    host[0] = 1
    stream, x = cupy().cuda.Stream(non_blocking=True), cupy().zeros(1, np.float32)
    cupy().cuda.Device().synchronize()
    x.set(host, stream=stream)
    host[0] = 2  # before the copy has read the 1
    stream.synchronize()
    assert x.item() == 2


def test_a_stream_of_the_default_kind_waits_for_the_null_stream_and_it_for_that(
    cuda: CudaOnHost,
) -> None:
    x, kernel = cupy().zeros(1, np.float32), raw(SLOW)
    with cupy().cuda.Stream():
        for _ in range(3):
            kernel((1,), (1,), (x, np.float32(1)))
    assert (x * 1).item() == 3


def test_a_queue_holds_only_so_much(cuda: CudaOnHost) -> None:
    x, kernel = cupy().zeros(1, np.float32), raw(SLOW)
    for _ in range(MOST_ASKED + 10):
        kernel((1,), (1,), (x, np.float32(1)))
    stream = cuda.runtime.stream(0)
    assert 0 < stream.asked - stream.done <= MOST_ASKED
    assert x.item() == MOST_ASKED + 10


def test_events_tell_the_time_between_them(cuda: CudaOnHost) -> None:
    start, end = cupy().cuda.Event(), cupy().cuda.Event()
    start.record()
    cupy().ones(3).sum()
    end.record()
    with pytest.raises(cupy().cuda.runtime.CUDARuntimeError, match="cudaErrorNotReady"):
        cupy().cuda.get_elapsed_time(start, end)
    end.synchronize()
    assert cupy().cuda.get_elapsed_time(start, end) >= 0


def test_what_is_asked_whether_it_is_done_gets_there(cuda: CudaOnHost) -> None:
    stream, x = cupy().cuda.Stream(non_blocking=True), cupy().zeros(1, np.float32)
    cupy().cuda.Device().synchronize()
    with stream:
        for _ in range(3):
            raw(SLOW)((1,), (1,), (x, np.float32(1)))
        event = stream.record()
    assert not event.done and not stream.done
    for _ in range(10):
        assert event.done or not stream.done
    assert stream.done and x.item() == 3


def test_events_and_launches_are_for_streams_of_their_device(cuda: CudaOnHost) -> None:
    with cupy().cuda.Device(1):
        stream = cupy().cuda.Stream(non_blocking=True)
    handle = cuda.runtime.new_event()
    with pytest.raises(errors(), match="InvalidResourceHandle"):
        cupy().cuda.runtime.eventRecord(handle, stream.ptr)
    kernel, shape = Kernel("add", SLOW, ()), (1, 1, 1, 1, 1, 1, 0)
    with pytest.raises(CudaError, match="400"):
        cuda.runtime.launch(cuda.runtime.stream(stream.ptr), kernel, shape, b"")


def test_threads_have_a_current_device_each(cuda: CudaOnHost) -> None:
    seen = []
    with cupy().cuda.Device(1):
        thread = threading.Thread(target=lambda: seen.append(cupy().cuda.runtime.getDevice()))
        thread.start()
        thread.join()
        assert cupy().cuda.runtime.getDevice() == 1
    assert seen == [0]
