"""What a device and its CUDA do, in a few seconds: `python tests/gpu_facts.py [--probe]`.

Ends with 2 where there is no GPU. Each fact is a record; one that fails costs only itself.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from gpu_cupy import ON_HOST, import_cupy, open_backend
from gpu_report import last_lines, record

NO_GPU = 2
SIDE, COPIED, NODES = (64, 2**16, 10) if ON_HOST else (8192, 2**31, 1000)
"""Of matrices; bytes of a copy, forty times an H100's cache; kernels of a graph."""
PACKAGES = (
    "cupy-cuda12x", "cupy-cuda13x", "numpy", "scipy", "torch", "jax", "scikit-learn", "pytest",
    "pytest-xdist", "pytest-timeout", "hypothesis", "autograd", "safetensors", "threadpoolctl",
)  # fmt: skip

EMPTY = 'extern "C" __global__ void empty() {}'


def main() -> int:
    try:
        cupy = import_cupy()
        count = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:
        return no_gpu(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    if not count:
        return no_gpu("CuPy finds no GPU")
    facts = [host, device] if "--probe" in sys.argv else [
        host, device, report_head, launches, graphs, copies, products,
    ]  # fmt: skip
    for fact in facts:
        try:
            for name, value in fact(cupy):
                record(fact=name, value=value)
                print(f"{name}: {value}", flush=True)
        except Exception:
            record(fact=fact.__name__, failure=last_lines(traceback.format_exc(), 15))
            traceback.print_exc()
    return 0


def no_gpu(reason: str) -> int:
    record(fact="no GPU", value=reason)
    print(f"no GPU: {reason}", flush=True)
    return NO_GPU


def host(cupy: Any) -> Iterator[tuple[str, Any]]:
    yield "python", platform.python_version()
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, None
    for tool in ("g++", "nvcc", "compute-sanitizer", "ncu"):
        yield tool, shutil.which(tool)


def device(cupy: Any) -> Iterator[tuple[str, Any]]:
    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(0)
    yield "device", properties["name"].decode()
    yield "driver", runtime.driverGetVersion()
    yield "runtime", runtime.runtimeGetVersion()
    for name in ("multiProcessorCount", "l2CacheSize", "totalGlobalMem", "clockRate"):
        if name in properties:
            yield name, properties[name]
    query = "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit,memory.total"
    try:
        command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
        yield "nvidia-smi", shown.stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        yield "nvidia-smi", f"absent: {error}"


def report_head(cupy: Any) -> Iterator[tuple[str, Any]]:
    """What a report of the suite begins with."""
    from gpu_check import facts

    yield "report", facts()


def on_host(call: Callable[[], object], cupy: Any, count: int) -> float:
    """Seconds that the host takes for a call, while the device keeps up."""
    best = float("inf")
    for _ in range(5):
        cupy.cuda.runtime.deviceSynchronize()
        start = time.perf_counter()
        for _ in range(count):
            call()
        best = min(best, (time.perf_counter() - start) / count)
    cupy.cuda.runtime.deviceSynchronize()
    return best


def on_device(call: Callable[[], object], cupy: Any, count: int, stream: Any = None) -> float:
    """Seconds that the device takes for a call, many in a row."""
    call()
    times = []
    for _ in range(5):
        if not hasattr(cupy.cuda, "get_elapsed_time"):  # the stand-in
            times.append(on_host(call, cupy, count))
            continue
        stream = stream or cupy.cuda.get_current_stream()
        start, stop = cupy.cuda.Event(), cupy.cuda.Event()
        start.record(stream)
        for _ in range(count):
            call()
        stop.record(stream)
        stop.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, stop) / 1e3 / count)
    return float(np.median(times))


def launches(cupy: Any) -> Iterator[tuple[str, Any]]:
    empty = cupy.RawKernel(EMPTY, "empty")
    add = cupy.ElementwiseKernel("float32 x", "float32 y", "y = x + 1", "add_one", no_return=True)
    x, y = (cupy.zeros(1024, np.float32) for _ in range(2))
    empty((1,), (32,), ())
    add(x, y)
    yield "RawKernel launch, µs", 1e6 * on_host(lambda: empty((1,), (32,), ()), cupy, NODES)
    yield "elementwise launch, µs", 1e6 * on_host(lambda: add(x, y), cupy, NODES)
    yield "ufunc launch with out, µs", 1e6 * on_host(lambda: cupy.add(x, y, out=y), cupy, NODES)
    yield (
        "RawKernel on the device, µs",
        1e6 * on_device(lambda: empty((1,), (32,), ()), cupy, NODES),
    )


def graphs(cupy: Any) -> Iterator[tuple[str, Any]]:
    empty = cupy.RawKernel(EMPTY, "empty")
    empty((1,), (32,), ())
    stream = cupy.cuda.Stream(non_blocking=True)
    made = {}
    for nodes in (1, NODES):
        with stream:
            stream.begin_capture()
            for _ in range(nodes):
                empty((1,), (32,), ())
            made[nodes] = stream.end_capture()
    cupy.cuda.runtime.deviceSynchronize()
    one, many = made[1], made[NODES]
    one.launch(stream)
    many.launch(stream)
    stream.synchronize()
    yield "graph launch, µs", 1e6 * on_host(lambda: one.launch(stream), cupy, 100)
    single = on_device(lambda: one.launch(stream), cupy, 100, stream)
    yield "graph of one node on the device, µs", 1e6 * single
    whole = on_device(lambda: many.launch(stream), cupy, 5, stream)
    yield "graph node, µs", 1e6 * whole / NODES


def copies(cupy: Any) -> Iterator[tuple[str, Any]]:
    source, target = (cupy.zeros(COPIED // 4, np.float32) for _ in range(2))
    seconds = on_device(lambda: cupy.copyto(target, source), cupy, 5)
    yield "copy, GB/s read and written", 2 * COPIED / seconds / 1e9
    small, held = (cupy.zeros(2**20, np.float32) for _ in range(2))
    seconds = on_device(lambda: cupy.copyto(held, small), cupy, 100)
    yield "copy within the cache, GB/s", 2 * small.nbytes / seconds / 1e9


def products(cupy: Any) -> Iterator[tuple[str, Any]]:
    from gpubp.kernels import PRECISIONS

    backend, rng = open_backend(), np.random.default_rng(0)
    a, b = (backend.asarray(rng.standard_normal((SIDE, SIDE), np.float32)) for _ in range(2))
    out = cupy.empty((SIDE, SIDE), np.float32)
    flops = 2 * SIDE**3

    def rate(call: Callable[[], object]) -> float:
        return flops / on_device(call, cupy, 3) / 1e12

    yield f"sgemm of {SIDE}, TFLOPS", rate(lambda: backend.matmul(a, b, out))
    for precision in PRECISIONS.values():
        left, right = (backend.operands(a.shape, precision) for _ in range(2))
        backend.convert(a, left)
        backend.convert(b, right)
        yield (
            f"{precision.name} matmul of {SIDE}, TFLOPS",
            rate(partial(backend.matmul, left, right, out, precision=precision)),
        )


if __name__ == "__main__":
    raise SystemExit(main())
