"""Captures and graphs of emulated devices, and what ends them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import environment
import numpy as np
import pytest

from support.cupy_on_host import CudaOnHost
from support.raw_kernels import SLOW, cupy, errors, fault, needs_emulation, raw

pytestmark = needs_emulation


def test_a_graph_does_its_work_on_the_addresses_that_were_captured(cuda: CudaOnHost) -> None:
    stream, kernel = cupy().cuda.Stream(non_blocking=True), raw(SLOW)
    x = cupy().zeros(1, np.float32)
    cupy().cuda.Device().synchronize()
    with stream:
        stream.begin_capture()
        for y in (1, 10):
            kernel((1,), (1,), (x, np.float32(y)))
        graph = stream.end_capture()
        stream.synchronize()
        assert x.item() == 0
        for _ in range(3):
            graph.launch()
        stream.synchronize()
    assert x.item() == 33


def test_a_branch_runs_before_and_after_what_it_runs_beside(cuda: CudaOnHost) -> None:
    main, side = (cupy().cuda.Stream(non_blocking=True) for _ in range(2))
    order: list[str] = []
    main.begin_capture()
    side.wait_event(main.record())
    for name, stream in (("side", side), ("main", main)):
        cuda.runtime.ask(cuda.runtime.stream(stream.ptr), lambda name=name: order.append(name))
    main.wait_event(side.record())
    cuda.runtime.ask(cuda.runtime.stream(main.ptr), lambda: order.append("end"))
    graph = main.end_capture()
    for _ in range(2):
        graph.launch(main)
    main.synchronize()
    assert order == ["side", "main", "end", "main", "side", "end"]


FORBIDDEN: dict[str, tuple[Callable[[Any, Any], object], str]] = {
    "waiting for the stream": (lambda s, o: s.synchronize(), "StreamCaptureUnsupported"),
    "waiting for the device": (
        lambda s, o: cupy().cuda.Device().synchronize(),
        "StreamCaptureUnsupported",
    ),
    "waiting for an event": (lambda s, o: s.record().synchronize(), "CapturedEvent"),
    "an event from outside": (lambda s, o: s.wait_event(o.record()), "StreamCaptureIsolation"),
    "the null stream": (
        lambda s, o: cupy().cuda.Stream.null.wait_event(s.record()),
        "StreamCaptureImplicit",
    ),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_is_forbidden_ends_a_capture(cuda: CudaOnHost, what: str) -> None:
    forbidden, error = FORBIDDEN[what]
    stream, other = (cupy().cuda.Stream(non_blocking=True) for _ in range(2))
    with stream:
        stream.begin_capture()
        with pytest.raises(errors(), match=error):
            forbidden(stream, other)
        for use in (stream.record, stream.end_capture):
            with pytest.raises(errors(), match="StreamCaptureInvalidated"):
                use()
        stream.synchronize()


def test_the_null_stream_ends_the_capture_of_a_stream_that_waits_for_it(cuda: CudaOnHost) -> None:
    stream, x = cupy().cuda.Stream(), cupy().zeros(1, np.float32)
    stream.begin_capture()
    with pytest.raises(errors(), match="906"):
        raw(SLOW)((1,), (1,), (x, np.float32(1)))
    with pytest.raises(errors(), match="StreamCaptureInvalidated"):
        stream.end_capture()
    with pytest.raises(RuntimeError, match="cannot capture on the default"):
        cupy().cuda.Stream.null.begin_capture()


@pytest.mark.parametrize(("mode", "is_allowed"), [(None, True), (0, False), (1, False)])
def test_memory_may_be_allocated_while_a_relaxed_stream_captures(
    exact: CudaOnHost, mode: int | None, is_allowed: bool
) -> None:
    """Relaxed is the default mode of CuPy's captures."""
    stream = cupy().cuda.Stream(non_blocking=True)
    stream.begin_capture(mode)
    if is_allowed:
        cupy().empty(3)
        stream.end_capture()
        return
    with pytest.raises(errors(), match="StreamCaptureUnsupported"):
        cupy().empty(3)
    with pytest.raises(errors(), match="StreamCaptureInvalidated"):
        stream.end_capture()


def test_a_branch_that_nobody_waits_for_is_an_error(cuda: CudaOnHost) -> None:
    main, side = (cupy().cuda.Stream(non_blocking=True) for _ in range(2))
    x = cupy().zeros(1, np.float32)
    cupy().cuda.Device().synchronize()
    main.begin_capture()
    side.wait_event(main.record())
    with side:
        raw(SLOW)((1,), (1,), (x, np.float32(1)))
    with pytest.raises(cupy().cuda.runtime.CUDARuntimeError, match="StreamCaptureUnjoined"):
        main.end_capture()
    assert not side.is_capturing()


def test_cupy_refuses_to_copy_to_the_host_during_a_capture(cuda: CudaOnHost) -> None:
    stream, x = cupy().cuda.Stream(non_blocking=True), cupy().zeros(1, np.float32)
    with stream:
        stream.begin_capture()
        with pytest.raises(RuntimeError, match="capturing"):
            x.get()
        stream.end_capture()


def test_a_graph_whose_memory_was_given_back_is_caught(exact: CudaOnHost) -> None:
    stream, kernel = cupy().cuda.Stream(non_blocking=True), raw(SLOW)
    x = cupy().zeros(1, np.float32)
    cupy().cuda.Device().synchronize()
    with stream:
        stream.begin_capture()
        kernel((1,), (1,), (x, np.float32(1)))
        graph = stream.end_capture()
    del x
    report = fault(exact, lambda: graph.launch(stream))
    assert report.startswith("add: illegal access")


def test_a_fault_that_a_test_does_not_see_is_told_at_its_end() -> None:
    assert environment.ON_HOST is not None
    with pytest.raises(AssertionError, match="fault: illegal access"):  # noqa: SIM117
        with environment.ON_HOST.devices():
            code = 'extern "C" __global__ void fault(char *x) { x[1ll << 40] = 0; }'
            raw(code)((1,), (1,), (cupy().zeros(1, np.int8),))
