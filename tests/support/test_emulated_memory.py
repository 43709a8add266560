"""Memory of emulated devices: fresh, freed, used up, or of another device."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from support.cupy_on_host import CudaOnHost
from support.raw_kernels import FILL, cupy, fault, needs_emulation, raw

pytestmark = needs_emulation


def test_fresh_memory_holds_nothing_useful(cuda: CudaOnHost) -> None:
    for _ in range(3):
        x = cupy().empty(100, np.float32)
        assert np.isnan(x.get()).all()
        x[...] = 1


def test_fresh_memory_holds_nothing_useful_in_other_threads_either(pooled: CudaOnHost) -> None:
    seen = []

    def look() -> None:
        cupy().full(100, 5, np.float32)  # freed at once
        seen.append(cupy().empty(100, np.float32).get())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert np.isnan(seen[0]).all()


def test_memory_of_its_own_faults_once_it_is_given_back(exact: CudaOnHost) -> None:
    x, kernel = cupy().zeros(10, np.float32), raw(FILL)
    address = np.uintp(x.data.ptr)
    del x
    report = fault(exact, lambda: kernel((1,), (1,), (address, np.int32(0))))
    assert report.startswith("fill: illegal access")


def test_memory_of_the_pool_is_spoilt_once_it_is_given_back(pooled: CudaOnHost) -> None:
    code = 'extern "C" __global__ void look(const float *from, float *to) { *to = *from; }'
    x, to = cupy().ones(1, np.float32), cupy().zeros(1, np.float32)
    address = np.uintp(x.data.ptr)
    del x
    raw(code)((1,), (1,), (address, to))
    assert np.isnan(to.get()).all()


@pytest.mark.slow
def test_a_device_has_so_much_memory(pooled: CudaOnHost, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = pooled.runtime.memory
    monkeypatch.setattr(memory, "sizes", [2**20 + memory.used[0], 0])
    kept = cupy().zeros(2**19, np.uint8)
    with pytest.raises(cupy().cuda.memory.OutOfMemoryError):
        cupy().zeros(memory.sizes[0] + 1, np.uint8)
    assert not kept.any()


def test_an_array_of_another_device_is_refused_by_cupy_and_faults_without_it(
    cuda: CudaOnHost,
) -> None:
    with cupy().cuda.Device(1):
        x = cupy().zeros(3, np.float32)
    with pytest.raises(ValueError, match="device"):
        x + 1
    raw_x = np.uintp(x.data.ptr)
    report = fault(cuda, lambda: raw(FILL)((1,), (1,), (raw_x, np.int32(0))))
    assert report == "fill: an array of device 1"
    with pytest.raises(cupy().cuda.runtime.CUDARuntimeError, match="invalid device ordinal"):
        cupy().cuda.Device(2).use()
