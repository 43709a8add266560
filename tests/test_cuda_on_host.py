"""The emulation of CUDA kernels on the host does what CUDA and CuPy do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import replace_cupy
from cuda_on_host import (
    HostCompileError,
    HostElementwiseKernel,
    HostLaunchError,
    HostRawKernel,
    elementwise_cuda_source,
    host_compiler,
    nvrtc_compile,
    nvrtc_version,
)
from fake_cupy import DEVICES, fake_cupy, fake_cupy_modules

pytestmark = pytest.mark.skipif(host_compiler() is None, reason="no C++ compiler")
needs_nvrtc = pytest.mark.skipif(nvrtc_version() is None, reason="CuPy or NVRTC is not installed")
ARCHITECTURES = ("compute_75", "compute_80", "compute_90", "compute_100")

axpy = HostElementwiseKernel("T a, T x, T y", "T z", "z = a * x + y", "axpy")
double_it = HostElementwiseKernel("T x", "T y", "y = 2 * x", "double_it")


# Elementwise kernels


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.uint8])
def test_elementwise_runs_for_every_dtype_of_the_call(dtype: Any) -> None:
    x = np.arange(6, dtype=dtype)
    z = axpy(2, x, x)
    assert z.dtype == dtype
    np.testing.assert_array_equal(z, [0, 3, 6, 9, 12, 15])


def test_elementwise_half_precision_rounds_to_half() -> None:
    x = np.array([1.0, 2049.0, 1e-3], np.float16)
    np.testing.assert_array_equal(double_it(x), x * np.float16(2))


def test_elementwise_broadcasts_like_numpy() -> None:
    column, row = np.arange(3.0)[:, None], np.arange(4.0)
    z = axpy(column, row, np.ones((2, 1, 1)))
    np.testing.assert_array_equal(z, column * row + np.ones((2, 1, 1)))
    assert z.shape == (2, 3, 4)


def test_elementwise_takes_scalars_of_every_kind() -> None:
    x = np.ones(3, np.float32)
    for two in (2, 2.0, np.float64(2), np.int8(2), np.array(2, np.float32)):
        z = axpy(two, x, x)
        assert z.dtype == np.float32
        np.testing.assert_array_equal(z, [3, 3, 3])


def test_elementwise_works_in_place() -> None:
    x = np.arange(5.0)
    assert double_it(x, x) is x
    np.testing.assert_array_equal(x, [0, 2, 4, 6, 8])


@pytest.mark.parametrize(
    "view", [lambda a: a.T, lambda a: a[::2, 1::3], lambda a: a[::-1], lambda a: a[:, 2]]
)
def test_elementwise_writes_into_a_strided_view_and_nowhere_else(view: Any) -> None:
    base, expected = np.zeros((4, 7)), np.zeros((4, 7))
    values = np.arange(1.0, 1 + view(base).size).reshape(view(base).shape)
    double_it(values, view(base))
    view(expected)[...] = 2 * values
    np.testing.assert_array_equal(base, expected)


def test_elementwise_raw_parameters_are_indexed_in_c_order() -> None:
    reverse = HostElementwiseKernel(
        "raw T x", "T y", "y = x[x.size() - 1 - i] + x[_ind.size() - 1]", "reverse"
    )
    x = np.arange(12.0).reshape(3, 4).T
    y = reverse(x, np.empty(12))
    np.testing.assert_array_equal(y, x.ravel()[::-1] + x.ravel()[11])


def test_elementwise_raw_parameters_take_one_index_per_axis() -> None:
    diagonal = HostElementwiseKernel(
        "raw T x", "T y", "ptrdiff_t at[] = {i, i}; y = x[at] * x.shape()[0]", "diagonal"
    )
    x = np.arange(9.0).reshape(3, 3)
    np.testing.assert_array_equal(diagonal(x, size=3), [0, 12, 24])


def test_elementwise_preamble_loop_parts_and_several_outputs() -> None:
    split = HostElementwiseKernel(
        *("float64 x, int32 n", "float64 whole, T rest"),
        "whole = part(x) * scale; rest = x - part(x)",
        "split",
        preamble="__device__ __forceinline__ double part(double x) { return floor(x); }",
        loop_prep="const double scale = n",
    )
    whole, rest = split(np.array([1.25, 2.5]), 10, np.empty(2), np.empty(2, np.float32))
    np.testing.assert_array_equal(whole, [10, 20])
    np.testing.assert_array_equal(rest, np.array([0.25, 0.5], np.float32))


def test_elementwise_mathematics_is_numpys() -> None:
    x = np.linspace(0.1, 3, 50)
    for text, expected in [
        ("tanh(x)", np.tanh(x)),
        ("log1p(exp(-x))", np.log1p(np.exp(-x))),
        ("rsqrt(x)", 1 / np.sqrt(x)),
        ("expm1(x)", np.expm1(x)),
        ("max(x, T(1)) + min(x, T(1))", np.maximum(x, 1) + np.minimum(x, 1)),
        ("fma(x, x, T(1))", x * x + 1),
        ("normcdf(x) - T(0.5) * (1 + erf(x * sqrt(T(0.5))))", np.zeros(50)),
        ("signbit(-x) ? abs(-x) : T(0)", x),
    ]:
        kernel = HostElementwiseKernel("T x", "T y", f"y = {text}")
        for dtype, tolerance in ((np.float32, 1e-6), (np.float64, 1e-14)):
            np.testing.assert_allclose(kernel(x.astype(dtype)), expected, tolerance, tolerance)


def test_elementwise_of_no_elements_runs_nothing() -> None:
    assert double_it(np.empty((0, 3), np.float32)).shape == (0, 3)
    quiet = HostElementwiseKernel("T x", "T y", "y = x", no_return=True)
    assert quiet(np.ones(2), np.ones(2)) is None
    assert isinstance(
        HostElementwiseKernel("T x", "T y", "y = x", return_tuple=True)(np.ones(2)), tuple
    )


@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        (
            (np.ones(2),),
            TypeError,
            "Wrong number of arguments for 'axpy'. It must be either 3 or 4",
        ),
        ((np.ones(2), np.ones(2), np.ones(2, "f4")), TypeError, "mismatched. y float32 float64 T"),
        ((1, np.ones(2, "f4"), 1, np.ones(2)), TypeError, "mismatched. x float32 float64 T"),
        ((1.0, np.ones(2), 1.0, 3.0), TypeError, "Output arguments must be arrays"),
        ((1.0, np.ones(2), 1.0, np.ones(3)), ValueError, "broadcast"),
        ((1.0, np.ones(1), 1.0, np.ones((1, 1))), None, ""),
        ((1.0, np.ones((2, 2)), 1.0, np.ones(2)), ValueError, "Out shape is mismatched"),
        ((1.0, 2.0, 3.0), KeyError, "T"),
        ((1.0, [2.0], 3.0), TypeError, "Unsupported type <class 'list'>"),
    ],
)
def test_elementwise_rejects_what_cupy_rejects(args: Any, error: Any, text: str) -> None:
    if error is None:
        axpy(*args)
        return
    with pytest.raises(error, match=text):
        axpy(*args)


def test_elementwise_decides_dtypes_as_cupy_does() -> None:
    kernels = pytest.importorskip("cupy._core._kernel")
    texts = ("T x, U y, float32 s", "U z")
    host, theirs = HostElementwiseKernel(*texts, ""), kernels.ElementwiseKernel(*texts, "")
    choices = (None, np.float32, np.float64)
    for x in choices:
        for y in choices:
            for s in choices:
                args = [1.0 if t is None else np.ones(1, t) for t in (x, y, s)]
                try:
                    ins, _, _ = kernels._decide_params_type(
                        theirs.in_params, theirs.out_params, (x, y, s), ()
                    )
                except (TypeError, KeyError) as error:
                    with pytest.raises(type(error)):
                        host._bind_types(args)
                else:
                    generic = host._bind_types(args)
                    assert [generic["T"], generic["U"]] == list(map(np.dtype, ins[:2]))


def test_elementwise_index_out_of_bounds_is_reported() -> None:
    shift = HostElementwiseKernel("raw T x", "T y", "y = x[i + 1]", "shift")
    with pytest.raises(
        HostLaunchError, match="shift: index 3 is out of bounds for an array of size 3"
    ):
        shift(np.ones(3), size=3)


def test_elementwise_inputs_are_constant() -> None:
    with pytest.raises(HostCompileError, match="read-only"):
        HostElementwiseKernel("T x", "T y", "x = y")(np.ones(2))


# Raw kernels

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


@pytest.mark.parametrize("t", ["float", "double"])
def test_shared_memory_tree_reduction(t: str) -> None:
    dtype = {"float": np.float32, "double": np.float64}[t]
    x, sums = np.arange(700, dtype=dtype), np.zeros(3, dtype)
    HostRawKernel(SUM, "block_sums", (f"-DREAL={t}", "-std=c++17"))((3,), (256,), (x, sums, 700))
    np.testing.assert_array_equal(sums, [x[:256].sum(), x[256:512].sum(), x[512:].sum()])


def test_warp_shuffles_move_values_as_documented() -> None:
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
    out = np.zeros((6, 64), np.int32)
    HostRawKernel(code, "warp")((1,), (64,), (out,))
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


def transpose(barrier: str, shared_mem: int = 256) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.arange(12 * 21, dtype=np.float32).reshape(12, 21), np.zeros((21, 12), np.float32)
    kernel = HostRawKernel(TRANSPOSE, "transpose", (f"-DBARRIER={barrier}",))
    kernel((3, 2), (8, 8), (x, y, 12, np.int32(21)), shared_mem=shared_mem)
    return x, y


def test_two_dimensional_blocks_and_dynamic_shared_memory() -> None:
    x, y = transpose("__syncthreads();")
    np.testing.assert_array_equal(y, x.T)


def test_a_missing_barrier_is_reported_as_a_race() -> None:
    with pytest.raises(HostLaunchError, match=r"race: argument 1 \(float32, shape \(21, 12\)\)"):
        transpose("")


def test_too_little_dynamic_shared_memory_is_reported() -> None:
    with pytest.raises(HostLaunchError, match="wrote past its 128 bytes of dynamic shared memory"):
        transpose("__syncthreads();", shared_mem=128)
    with pytest.raises(ValueError, match="exceeds max_dynamic_shared_size_bytes 49152"):
        transpose("__syncthreads();", shared_mem=49153)


def test_atomics_and_three_dimensions_of_threads() -> None:
    code = r"""
    extern "C" __global__ void count(int *ints, unsigned *ticket, float *floats, double *doubles,
                                     unsigned long long *longs) {
        atomicAdd(ints, 1);
        const unsigned mine = atomicAdd(ticket, 1);
        atomicAdd(floats + threadIdx.z, 0.5f);
        atomicAdd(doubles, 0.25);
        atomicMax(longs, (unsigned long long)mine * gridDim.y);
    }"""
    ints, ticket = np.zeros(1, np.int32), np.zeros(1, np.uint32)
    floats, doubles, longs = np.zeros(4, np.float32), np.zeros(1), np.zeros(1, np.uint64)
    args = (ints, ticket, floats, doubles, longs)
    HostRawKernel(code, "count")((2, 3), (2, 3, 4), args)
    assert (ints[0], ticket[0], doubles[0], longs[0]) == (144, 144, 36, 143 * 3)
    np.testing.assert_array_equal(floats, 18)


def test_integer_and_bit_intrinsics() -> None:
    code = r"""
    extern "C" __global__ void bits(unsigned *out, unsigned long long *wide, float4 *four) {
        out[0] = __umulhi(0xD2511F53u, 0x12345678u);
        out[1] = __float_as_uint(1.0f);
        out[2] = __uint_as_float(0x40000000u) == 2.0f;
        wide[0] = __umul64hi(0xD2B74407B1CE6E93ull, 0x123456789ABCDEFull);
        four[0] = make_float4(four[0].w, four[0].z, four[0].y, four[0].x);
    }"""
    out, wide, four = np.zeros(3, np.uint32), np.zeros(1, np.uint64), np.arange(4, dtype="f4")
    HostRawKernel(code, "bits")((1,), (1,), (out, wide, four))
    assert list(out) == [0xD2511F53 * 0x12345678 >> 32, 0x3F800000, 1]
    assert int(wide[0]) == 0xD2B74407B1CE6E93 * 0x123456789ABCDEF >> 64
    np.testing.assert_array_equal(four, [3, 2, 1, 0])


FILL = 'extern "C" __global__ void fill(float *x, int n) { x[int(blockIdx.x) + n] = 1.0f; }'


@pytest.mark.parametrize(("n", "byte"), [(1, 40), (-1, -4)])
def test_an_out_of_bounds_write_is_reported_and_the_array_is_left_alone(n: int, byte: int) -> None:
    x = np.zeros(30, np.float32)
    with pytest.raises(
        HostLaunchError, match=rf"out-of-bounds write at byte {byte} of argument 0 \(float32"
    ):
        HostRawKernel(FILL, "fill")((10,), (1,), (x[10:20], n))
    np.testing.assert_array_equal(x, 0)


@pytest.mark.parametrize("body", ["x[1ll << 40] = 0;", "volatile char big[200000]; big[0] = *x;"])
def test_a_memory_fault_is_reported(body: str) -> None:
    kernel = HostRawKernel(f'extern "C" __global__ void fault(char *x) {{ {body} }}', "fault")
    for _ in range(2):
        with pytest.raises(
            HostLaunchError, match=r"illegal access .* by thread .0, 0, 0. of block"
        ):
            kernel((1,), (2,), (np.zeros(1, np.int8),))


def test_overlapping_arguments_share_their_memory() -> None:
    code = 'extern "C" __global__ void copy(const float *a, float *b) { b[0] = a[1] + 1; }'
    x = np.arange(5, dtype=np.float32)
    HostRawKernel(code, "copy")((1,), (1,), (x[:3], x[1:]))
    np.testing.assert_array_equal(x, [0, 2, 2, 3, 4])


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
def test_a_divergent_barrier_is_reported(body: str, text: str) -> None:
    code = f'extern "C" __global__ void split() {{ int t = threadIdx.x; {body} }}'
    kernel = HostRawKernel(code, "split")
    for _ in range(2):  # a failed launch leaves no fiber half-way
        with pytest.raises(HostLaunchError, match=text):
            kernel((1,), (8,), ())


def test_raw_arguments_must_fit_the_parameters() -> None:
    kernel = HostRawKernel(FILL, "fill")
    x = np.zeros(3, np.float32)
    for args, text in [
        ((x,), "fill takes 2 arguments, but 1 were given"),
        ((x.astype("f8"), 0), "argument 0 of fill is an array of float64.* a pointer to f4"),
        ((x, 0.0), "argument 1 of fill is float64, but the kernel takes i4"),
        ((x, x), "argument 1 of fill is an array of float32, but the kernel takes i4"),
        (([1.0], 0), "Unsupported type <class 'list'>"),
    ]:
        with pytest.raises(TypeError, match=text):
            kernel((1,), (1,), args)
    with pytest.raises(
        ValueError, match=r"no device launches grid .1, 1, 1. with block .2048, 1, 1."
    ):
        kernel((1,), (2048,), (x, 0))
    with pytest.raises(ValueError, match="option '--no-such' is not known"):
        HostRawKernel(FILL, "fill", ("--no-such",))
    with pytest.raises(ValueError, match="NVRTC's own headers use the name T"):
        HostRawKernel(FILL, "fill", ("-DT=float",))


def test_a_read_only_array_is_not_written() -> None:
    x = np.zeros(1, np.float32)
    x.flags.writeable = False
    with pytest.raises(HostLaunchError, match="read-only"):
        HostRawKernel(FILL, "fill")((1,), (1,), (x, 0))


def test_a_broken_text_is_reported_with_the_compilers_log() -> None:
    with pytest.raises(HostCompileError, match=r"fill:1:.*undeclared"):
        HostRawKernel(FILL.replace("1.0f", "undeclared"), "fill")(
            (1,), (1,), (np.zeros(1, "f4"), 0)
        )


# NVRTC


@needs_nvrtc
@pytest.mark.filterwarnings("default")  # importing CuPy without a driver may warn
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_nvrtc_compiles_raw_and_elementwise_kernels(arch: str) -> None:
    ptx = nvrtc_compile(SUM, "block_sums", arch, ("-DREAL=float", "-std=c++17"))
    assert f".target sm_{arch.removeprefix('compute_')}" in ptx
    source = elementwise_cuda_source(axpy, {"T": "float32"}, scalars=["a"])
    assert "const float a" in source
    assert ".entry axpy" in nvrtc_compile(source, "axpy", arch)


@needs_nvrtc
def test_nvrtc_reports_the_error_in_a_broken_text() -> None:
    with pytest.raises(HostCompileError, match=r'fill.cu\(1\): error: identifier "undeclared"'):
        nvrtc_compile(FILL.replace("1.0f", "undeclared"), "fill", "compute_80")
    with pytest.raises(HostCompileError, match="the text defines no kernel other"):
        nvrtc_compile(FILL, "other", "compute_80")


# The stand-in for CuPy


def test_fake_cupy_runs_array_code_and_kernels() -> None:
    cp: Any = fake_cupy()
    host = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = cp.asarray(host)
    host[0, 0] = 99  # a transfer copies
    assert cp.asarray(x) is x
    y = cp.ElementwiseKernel("T x", "T y", "y = 2 * x")(x)
    assert isinstance(y, cp.ndarray)
    assert isinstance(x.sum(axis=0) + 1, cp.ndarray)
    assert isinstance(y[0, 1], cp.ndarray)
    np.testing.assert_array_equal(cp.asnumpy(cp.maximum(y, 4)), [[4, 4, 4], [6, 8, 10]])
    fill = cp.RawModule(code=FILL, options=("-std=c++17",)).get_function("fill")
    fill((6,), (1,), (y, np.int32(0)))
    assert type(y.get()) is np.ndarray
    assert float(y.sum()) == 6


def test_fake_cupy_does_not_mix_with_numpy_arrays() -> None:
    cp: Any = fake_cupy()
    x, host = cp.ones(3), np.ones(3)
    kernel = cp.ElementwiseKernel("T x", "T y", "y = x")
    fill = cp.RawKernel(FILL, "fill")
    for wrong in (
        lambda: x + host,
        lambda: cp.add(host, x),
        lambda: np.concatenate([x, host]),
        lambda: x.__setitem__(0, host),
        lambda: kernel(host),
        lambda: fill((1,), (1,), (host, 0)),
    ):
        with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy.ndarray'>"):
            wrong()
    for silent in (np.asarray, np.array):
        with pytest.raises(TypeError, match="Implicit conversion to a NumPy array"):
            silent(x)


def test_fake_cupy_can_be_imported_and_says_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_cupy(monkeypatch, fake_cupy_modules())
    import cupy
    import cupyx
    from cupy.cuda import runtime

    assert runtime.getDeviceCount() == DEVICES
    assert runtime.getDeviceProperties(0)["name"] == b"host emulation"
    with cupy.cuda.Device(0) as device, cupy.cuda.Stream(non_blocking=True) as stream:
        stream.synchronize()
        device.synchronize()
    with pytest.raises(runtime.CUDARuntimeError, match="invalid device ordinal"):
        cupy.cuda.Device(DEVICES)
    assert cupyx.empty_pinned(3, np.float32).shape == (3,)
    assert len(cupy.cuda.alloc_pinned_memory(16)) == 16
    cupy.get_default_memory_pool().free_all_blocks()
    assert cupy.get_array_module(cupy.ones(1)) is cupy
    assert cupy.get_array_module(np.ones(1)) is np
