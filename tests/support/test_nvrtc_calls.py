"""The functions of the tests that call NVRTC."""

from __future__ import annotations

import pytest

from support.nvidia import NvrtcError, nvrtc_compile, nvrtc_version, resources
from support.raw_kernels import FILL, SUM, needs_emulation

needs_nvrtc = pytest.mark.skipif(nvrtc_version() is None, reason="CuPy or NVRTC is not installed")

pytestmark = needs_emulation


ARCHITECTURES = ("compute_75", "compute_80", "compute_90", "compute_100")


@needs_nvrtc
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_nvrtc_compiles(arch: str) -> None:
    ptx = nvrtc_compile(SUM, "block_sums", arch, ("-DREAL=float", "-std=c++17"))
    assert f".target sm_{arch.removeprefix('compute_')}" in ptx


@needs_nvrtc
def test_nvrtc_tells_what_a_kernel_takes() -> None:
    found = resources(SUM, "sm_90", ("-DREAL=float", "-std=c++17"))
    assert found["block_sums"].shared == 1024
    spilling = """extern "C" __global__ void __launch_bounds__(1024, 2) many(float *x, int n) {
        float kept[64];
        #pragma unroll
        for (int k = 0; k < 64; ++k) kept[k] = x[k * n];
        __syncthreads();
        #pragma unroll
        for (int k = 0; k < 64; ++k) x[k * n + 1] = kept[k] * kept[63 - k];
    }"""
    assert resources(spilling, "sm_90")["many"].spilled > 0


@needs_nvrtc
def test_nvrtc_reports_the_error_in_a_broken_text() -> None:
    with pytest.raises(NvrtcError, match=r'fill.cu\(1\): error: identifier "undeclared"'):
        nvrtc_compile(FILL.replace("1.0f", "undeclared"), "fill", "compute_80")
    with pytest.raises(NvrtcError, match="the text defines no kernel other"):
        nvrtc_compile(FILL, "other", "compute_80")
