"""What tests of emulated devices share: kernels, and the report of a fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import environment
import pytest

from support.cupy_on_host import CudaOnHost
from support.kernels import names_in

needs_emulation = pytest.mark.skipif(
    environment.ON_HOST is None,
    reason=f"CuPy does not run on the host: {environment.NO_GPU_BECAUSE}",
)


def cupy() -> Any:
    import cupy

    return cupy


def raw(code: str, options: tuple[str, ...] = ()) -> Any:
    """Return the only kernel of the text."""
    (name,) = names_in(code)
    return cupy().RawKernel(code, name, options)


def errors() -> tuple[type[Exception], type[Exception]]:
    """Return the exceptions that calls of the runtime and of the driver raise."""
    return cupy().cuda.runtime.CUDARuntimeError, cupy().cuda.driver.CUDADriverError


def fault(cuda: CudaOnHost, work: Callable[[], object]) -> str:
    """Do work that must end in a fault of the device, and return the fault's report."""
    with pytest.raises(errors()):
        work()
        cupy().cuda.Device().synchronize()
    (report,) = cuda.runtime.forgive()
    return report


SUM = r"""
extern "C" __global__ void __launch_bounds__(256)
block_sums(const REAL *__restrict__ x, REAL *__restrict__ sums, int n) {
    __shared__ REAL part[256];
    const int t = threadIdx.x;
    const int i = blockIdx.x * blockDim.x + t;
    part[t] = i < n ? __ldg(x + i) : REAL(0);
    __syncthreads();
    #pragma unroll
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (t < half) part[t] += part[t + half];
        __syncthreads();
    }
    if (t == 0) sums[blockIdx.x] = part[0];
}
"""


FILL = 'extern "C" __global__ void fill(float *x, int n) { x[int(blockIdx.x) + n] = 1.0f; }'


SLOW = 'extern "C" __global__ void add(float *x, float y) { *x += y; }'
