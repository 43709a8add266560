"""CuPy on the host does what CUDA does, and tells what CUDA leaves undefined."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import conftest
import numpy as np
import pytest
from support.cupy_on_host import CudaOnHost
from support.kernels import Kernel, compile_text, names_in
from support.nvidia import NvrtcError, nvrtc_compile, nvrtc_version, resources
from support.runtime import MOST_ASKED
from support.streams import CudaError

pytestmark = pytest.mark.skipif(
    conftest.ON_HOST is None, reason=f"CuPy does not run on the host: {conftest.NO_GPU_BECAUSE}"
)
needs_nvrtc = pytest.mark.skipif(nvrtc_version() is None, reason="CuPy or NVRTC is not installed")
ARCHITECTURES = ("compute_75", "compute_80", "compute_90", "compute_100")


@pytest.fixture(params=["exact", "as a GPU"])
def cuda(request: pytest.FixtureRequest) -> Iterator[CudaOnHost]:
    assert conftest.ON_HOST is not None
    with conftest.ON_HOST.devices(exact=request.param == "exact"):
        yield conftest.ON_HOST


@pytest.fixture
def exact() -> Iterator[CudaOnHost]:
    assert conftest.ON_HOST is not None
    with conftest.ON_HOST.devices(exact=True):
        yield conftest.ON_HOST


@pytest.fixture
def pooled() -> Iterator[CudaOnHost]:
    assert conftest.ON_HOST is not None
    with conftest.ON_HOST.devices():
        yield conftest.ON_HOST


def cupy() -> Any:
    import cupy

    return cupy


def raw(code: str, options: tuple[str, ...] = ()) -> Any:
    """The only kernel of the text."""
    (name,) = names_in(code)
    return cupy().RawKernel(code, name, options)


def errors() -> tuple[type[Exception], type[Exception]]:
    """What calls of the runtime and of the driver raise."""
    return cupy().cuda.runtime.CUDARuntimeError, cupy().cuda.driver.CUDADriverError


def fault(cuda: CudaOnHost, work: Callable[[], object]) -> str:
    """What is reported of work that a device does not survive."""
    with pytest.raises(errors()):
        work()
        cupy().cuda.Device().synchronize()
    (report,) = cuda.runtime.forgive()
    return report


# Kernels

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
    """Such sums depend on the order of threads anyway."""
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


FILL = 'extern "C" __global__ void fill(float *x, int n) { x[int(blockIdx.x) + n] = 1.0f; }'


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
    kernel((1,), (2,), (x,))  # the host is not told yet
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
    for _ in range(2):  # a failed launch leaves no fiber half-way
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
        assert conftest.ON_HOST is not None
        with conftest.ON_HOST.devices(exact=is_exact):
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


# Memory


def test_fresh_memory_holds_nothing_useful(cuda: CudaOnHost) -> None:
    for _ in range(3):
        x = cupy().empty(100, np.float32)
        assert np.isnan(x.get()).all()
        x[...] = 1


def test_fresh_memory_holds_nothing_useful_in_other_threads_either(pooled: CudaOnHost) -> None:
    seen = []

    def look() -> None:
        cupy().full(100, 5, np.float32)  # given back at once
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


# Streams

SLOW = 'extern "C" __global__ void add(float *x, float y) { *x += y; }'


def test_work_is_done_as_late_as_it_may_be(cuda: CudaOnHost) -> None:
    """And what the host copies from memory that may be swapped out is read at once."""
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


def test_page_locked_memory_is_read_when_its_turn_comes(cuda: CudaOnHost) -> None:
    memory = cupy().cuda.alloc_pinned_memory(4)
    host = np.frombuffer(memory, np.float32, 1)
    host[0] = 1
    stream, x = cupy().cuda.Stream(non_blocking=True), cupy().zeros(1, np.float32)
    cupy().cuda.Device().synchronize()
    x.set(host, stream=stream)
    host[0] = 2  # too early
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


# Captures


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
    """CuPy's captures are relaxed unless it is told otherwise."""
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
    assert conftest.ON_HOST is not None
    with pytest.raises(AssertionError, match="fault: illegal access"):  # noqa: SIM117
        with conftest.ON_HOST.devices():
            code = 'extern "C" __global__ void fault(char *x) { x[1ll << 40] = 0; }'
            raw(code)((1,), (1,), (cupy().zeros(1, np.int8),))


# NVRTC


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
