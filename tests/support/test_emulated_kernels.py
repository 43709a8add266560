"""Emulated kernels do what CUDA does, and report what CUDA leaves undefined."""

from __future__ import annotations

import re
from typing import Any

import environment
import numpy as np
import pytest

from support.cupy_on_host import CudaOnHost
from support.kernels import compile_text
from support.raw_kernels import FILL, SUM, cupy, errors, fault, needs_emulation, raw

pytestmark = needs_emulation


@pytest.mark.parametrize("t", ["float", "double"])
def test_shared_memory_tree_reduction(cuda: CudaOnHost, t: str) -> None:
    dtype = {"float": np.float32, "double": np.float64}[t]
    x, sums = cupy().arange(700, dtype=dtype), cupy().zeros(3, dtype)
    raw(SUM, (f"-DREAL={t}", "-std=c++17"))((3,), (256,), (x, sums, np.int32(700)))
    x = x.get()
    np.testing.assert_array_equal(sums.get(), [x[:256].sum(), x[256:512].sum(), x[512:].sum()])


def test_warp_shuffles_move_values_as_documented(cuda: CudaOnHost) -> None:
    code = r"""
    extern "C" __global__ void warp(int *out) {
        const unsigned full = 0xffffffff;
        const int t = threadIdx.x, lane = t % warpSize;
        int sum = t;
        for (int step = 16; step > 0; step >>= 1) sum += __shfl_down_sync(full, sum, step);
        double all = t;
        for (int step = 1; step < 32; step *= 2) all += __shfl_xor_sync(full, all, step);
        out[t] = sum;
        out[64 + t] = int(all);
        out[128 + t] = __shfl_sync(full, t, 3, 8);
        out[192 + t] = __shfl_up_sync(full, t, 2);
        out[256 + t] = __popc(__ballot_sync(full, lane % 3 == 0)) + 100 * __any_sync(full, t == 40);
        if (lane < 4) out[320 + t] = __shfl_sync(0xfu, 10 * t, 3 - lane);
        __syncwarp();
    }"""
    made = cupy().zeros((6, 64), np.int32)
    raw(code)((1,), (64,), (made,))
    out = made.get()
    t = np.arange(64)
    assert (out[0, 0], out[0, 32]) == (sum(range(32)), sum(range(32, 64)))
    np.testing.assert_array_equal(out[1], np.repeat([496, 1520], 32))
    np.testing.assert_array_equal(out[2], t // 8 * 8 + 3)
    np.testing.assert_array_equal(out[3], np.where(t % 32 < 2, t, t - 2))
    np.testing.assert_array_equal(out[4], np.repeat([11, 111], 32))
    np.testing.assert_array_equal(out[5, :4], [30, 20, 10, 0])


TRANSPOSE = r"""
#define TILE 8
extern "C" __global__ void transpose(const float *in, float *out, int rows, int columns) {
    extern __shared__ float tile[];
    int x = blockIdx.x * TILE + threadIdx.x, y = blockIdx.y * TILE + threadIdx.y;
    if (x < columns && y < rows) tile[threadIdx.y * TILE + threadIdx.x] = in[y * columns + x];
    BARRIER
    x = blockIdx.y * TILE + threadIdx.x, y = blockIdx.x * TILE + threadIdx.y;
    if (x < rows && y < columns) out[y * rows + x] = tile[threadIdx.x * TILE + threadIdx.y];
}
"""


def transpose(barrier: str, shared_mem: int = 256) -> tuple[Any, Any]:
    x = cupy().arange(12 * 21, dtype=np.float32).reshape(12, 21)
    y = cupy().zeros((21, 12), np.float32)
    kernel = raw(TRANSPOSE, (f"-DBARRIER={barrier}",))
    kernel((3, 2), (8, 8), (x, y, np.int32(12), np.int32(21)), shared_mem=shared_mem)
    return x, y


def test_two_dimensional_blocks_and_dynamic_shared_memory(cuda: CudaOnHost) -> None:
    x, y = transpose("__syncthreads();")
    np.testing.assert_array_equal(y.get(), x.get().T)


@pytest.mark.parametrize(("kind", "is_told"), [("int", True), ("float", False)])
def test_races_are_told_beside_counting_but_not_beside_sums_of_floats(
    exact: CudaOnHost, kind: str, is_told: bool
) -> None:
    """Atomic sums of floats depend on the order of threads anyway."""
    code = f"""extern "C" __global__ void race({kind} *count, int *last) {{
        atomicAdd(count, ({kind})1);
        *last = threadIdx.x;
    }}"""
    arguments = cupy().zeros(1, "i4" if kind == "int" else "f4"), cupy().zeros(1, "i4")
    if is_told:
        assert "race: " in fault(exact, lambda: raw(code)((1,), (8,), arguments))
    else:
        raw(code)((1,), (8,), arguments)
        assert [array.item() for array in arguments] == [8, 7]


def test_a_missing_barrier_is_reported_as_a_race(exact: CudaOnHost) -> None:
    assert fault(exact, lambda: transpose("")) == (
        "transpose: race: an array of 1008 bytes depends on the order of threads or blocks"
    )


def test_too_little_dynamic_shared_memory_is_reported(cuda: CudaOnHost) -> None:
    report = fault(cuda, lambda: transpose("__syncthreads();", shared_mem=128))
    assert "wrote past its 128 bytes of dynamic shared memory" in report
    with pytest.raises(cupy().cuda.driver.CUDADriverError):
        transpose("__syncthreads();", shared_mem=49153)
    kernel = raw(TRANSPOSE, ("-DBARRIER=",))
    kernel.max_dynamic_shared_size_bytes = 200 * 1024
    with pytest.raises(cupy().cuda.driver.CUDADriverError):
        kernel.max_dynamic_shared_size_bytes = 228 * 1024


@pytest.mark.parametrize(("grid", "block"), [((1,), (1025,)), ((1, 65536), (1,))])
def test_shapes_that_no_device_launches_are_refused(
    cuda: CudaOnHost, grid: tuple[int, ...], block: tuple[int, ...]
) -> None:
    x = cupy().zeros(1, np.float32)
    with pytest.raises(cupy().cuda.driver.CUDADriverError, match="1"):
        raw(FILL)(grid, block, (x, np.int32(0)))


def test_atomics_and_three_dimensions_of_threads(cuda: CudaOnHost) -> None:
    code = r"""
    extern "C" __global__ void count(int *ints, unsigned *ticket, float *floats, double *doubles,
                                     unsigned long long *longs) {
        atomicAdd(ints, 1);
        const unsigned mine = atomicAdd(ticket, 1);
        atomicAdd(floats + threadIdx.z, 0.5f);
        atomicAdd(doubles, 0.25);
        atomicMax(longs, (unsigned long long)mine * gridDim.y);
    }"""
    shapes = ((1, "i4"), (1, "u4"), (4, "f4"), (1, "f8"), (1, "u8"))
    args = tuple(cupy().zeros(*shape) for shape in shapes)
    raw(code)((2, 3), (2, 3, 4), args)
    ints, ticket, floats, doubles, longs = (array.get() for array in args)
    assert (ints[0], ticket[0], doubles[0], longs[0]) == (144, 144, 36, 143 * 3)
    np.testing.assert_array_equal(floats, 18)


def test_integer_and_bit_intrinsics(cuda: CudaOnHost) -> None:
    code = r"""
    extern "C" __global__ void bits(unsigned *out, unsigned long long *wide, float4 *four) {
        out[0] = __umulhi(0xD2511F53u, 0x12345678u);
        out[1] = __float_as_uint(1.0f);
        out[2] = __uint_as_float(0x40000000u) == 2.0f;
        wide[0] = __umul64hi(0xD2B74407B1CE6E93ull, 0x123456789ABCDEFull);
        four[0] = make_float4(four[0].w, four[0].z, four[0].y, four[0].x);
    }"""
    made = cupy().zeros(3, "u4"), cupy().zeros(1, "u8"), cupy().arange(4, dtype="f4")
    raw(code)((1,), (1,), made)
    out, wide, four = (array.get() for array in made)
    assert list(out) == [0xD2511F53 * 0x12345678 >> 32, 0x3F800000, 1]
    assert int(wide[0]) == 0xD2B74407B1CE6E93 * 0x123456789ABCDEF >> 64
    np.testing.assert_array_equal(four, [3, 2, 1, 0])


@pytest.mark.parametrize("first", [-1, 2])
def test_a_write_beside_an_array_is_reported(exact: CudaOnHost, first: int) -> None:
    x = cupy().zeros(10, np.float32)
    report = fault(exact, lambda: raw(FILL)((10,), (1,), (x, np.int32(first))))
    assert report == "fill: out-of-bounds write beside an array of 40 bytes"


@pytest.mark.parametrize("body", ["x[1ll << 40] = 0;", "x[0] = *(char *)8;"])
def test_a_memory_fault_is_reported_and_the_device_refuses_all_from_then_on(
    cuda: CudaOnHost, body: str
) -> None:
    kernel = raw(f'extern "C" __global__ void fault(char *x) {{ {body} }}')
    x = cupy().zeros(1, np.int8)
    kernel((1,), (2,), (x,))  # the host does not know of the fault yet
    for use in (x.get, lambda: x + 1, x.copy, x.get):
        with pytest.raises(errors(), match=r"cudaErrorIllegalAddress|700"):
            use()
    with cupy().cuda.Device(1):
        assert int(cupy().ones(3).sum()) == 3
    (report,) = cuda.runtime.forgive()
    assert report == "fault: illegal access by thread (0, 0, 0) of block (0, 0, 0)"


def test_what_is_not_aligned_is_a_fault(cuda: CudaOnHost) -> None:
    code = 'extern "C" __global__ void move(float4 *to, const float4 *from) { *to = *from; }'
    kernel, x, y = raw(code), cupy().arange(8, dtype="f4"), cupy().zeros(8, "f4")
    kernel((1,), (1,), (y[4:], x[4:]))
    np.testing.assert_array_equal(y.get(), [0, 0, 0, 0, 4, 5, 6, 7])
    report = fault(cuda, lambda: kernel((1,), (1,), (y[4:], x[1:])))
    assert report.startswith("move: misaligned address by thread")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            "if (t < 3) __syncthreads();",
            "waits in __syncthreads at line 1, thread .3, 0, 0. has left",
        ),
        (
            "if (t) __syncthreads();\nelse __syncthreads();",
            "at line 2, thread .1, 0, 0. in .* line 1",
        ),
        ("if (t) __syncthreads(); else __syncwarp();", "in __syncthreads at line 1"),
        ("if (t) __syncwarp(1);", "lane 1 calls with the mask 0x1, which leaves it out"),
    ],
)
def test_a_divergent_barrier_is_reported(cuda: CudaOnHost, body: str, text: str) -> None:
    code = f'extern "C" __global__ void split() {{ int t = threadIdx.x; {body} }}'
    for _ in range(2):  # a failed launch must leave no suspended fiber
        assert re.search(text, fault(cuda, lambda: raw(code)((1,), (8,), ())))


def test_unknown_options_are_errors_and_broken_texts_have_the_compilers_log(
    cuda: CudaOnHost,
) -> None:
    for option, message in (("--no-such", "is not known"), ("-DT=float", "use the name T")):
        with pytest.raises(ValueError, match=message):
            compile_text(FILL, (option,), exact=True)
    x = cupy().zeros(1, np.float32)
    with pytest.raises(cupy().cuda.compiler.CompileException, match=r"kernel.cu:1:.*undeclared"):
        raw(FILL.replace("1.0f", "undeclared"))((1,), (1,), (x, np.int32(0)))


def test_arithmetic_is_the_texts_or_a_gpus() -> None:
    code = """extern "C" __global__ void calculate(float *x) {
        x[0] = x[0] * x[0] + x[1];
        x[2] = x[2] + x[3];
    }"""
    near_one, least = np.float32(1 + 2**-12), np.float32(1e-40)
    for is_exact, expected in ((True, [0, 1e-40]), (False, [2.0**-24, 0])):
        assert environment.ON_HOST is not None
        with environment.ON_HOST.devices(exact=is_exact):
            x = cupy().asarray(np.array([near_one, -(1 + 2**-11), least, 0], np.float32))
            raw(code)((1,), (1,), (x,))
            np.testing.assert_array_equal(x.get()[[0, 2]], np.array(expected, np.float32))


def test_cupys_own_kernels_run(cuda: CudaOnHost) -> None:
    x = np.linspace(-3, 3, 24, dtype=np.float32).reshape(4, 6)
    there = cupy().asarray(x)
    for mine, its in (
        (np.tanh(x.T), cupy().tanh(there.T)),
        (x[::2, 1::3] * 2 + 1, there[::2, 1::3] * 2 + 1),
        (x.sum(axis=0), there.sum(axis=0)),
        (x.argmax(axis=1), there.argmax(axis=1)),
        (np.concatenate([x, x]), cupy().concatenate([there, there])),
        (np.nonzero(x > 1)[1], cupy().nonzero(there > 1)[1]),
        (x.astype(np.float16), there.astype(np.float16)),
        (np.maximum(x, 0), cupy().maximum(there, 0)),
    ):
        np.testing.assert_allclose(cupy().asnumpy(its), mine, rtol=1e-6)
