"""Measure what a device and its CUDA do, in a few seconds: `python tests/gpu/gpu_facts.py [--probe]`.

The exit status is 2 where there is no GPU. Each fact becomes a record. A fact that fails does not stop the
others.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from gpu_cupy import ON_HOST, import_cupy, open_backend
from gpu_report import last_lines, record

NO_GPU = 2
SIDE, LAUNCHES = (64, 10) if ON_HOST else (8192, 1000)
"""Rows and columns of the matrices, and launches in a row."""
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
        host, device, report_head, launches, graphs, limits,
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
    """Yield what a report of the suite begins with."""
    from gpu_check import facts

    yield "report", facts()


def on_host(call: Callable[[], object], cupy: Any, count: int) -> float:
    """Measure the seconds that the host takes for a call while the device keeps up."""
    best = float("inf")
    for _ in range(5):
        cupy.cuda.runtime.deviceSynchronize()
        start = time.perf_counter()
        for _ in range(count):
            call()
        best = min(best, (time.perf_counter() - start) / count)
    cupy.cuda.runtime.deviceSynchronize()
    return best


def launches(cupy: Any) -> Iterator[tuple[str, Any]]:
    empty = cupy.RawKernel(EMPTY, "empty")
    add = cupy.ElementwiseKernel("float32 x", "float32 y", "y = x + 1", "add_one", no_return=True)
    x, y = (cupy.zeros(1024, np.float32) for _ in range(2))
    empty((1,), (32,), ())
    add(x, y)
    yield "RawKernel launch, µs", 1e6 * on_host(lambda: empty((1,), (32,), ()), cupy, LAUNCHES)
    yield "elementwise launch, µs", 1e6 * on_host(lambda: add(x, y), cupy, LAUNCHES)
    yield "ufunc launch with out, µs", 1e6 * on_host(lambda: cupy.add(x, y, out=y), cupy, LAUNCHES)


def graphs(cupy: Any) -> Iterator[tuple[str, Any]]:
    empty = cupy.RawKernel(EMPTY, "empty")
    empty((1,), (32,), ())
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        empty((1,), (32,), ())
        graph = stream.end_capture()
    graph.launch(stream)
    stream.synchronize()
    yield "graph launch, µs", 1e6 * on_host(lambda: graph.launch(stream), cupy, 100)


def limits(cupy: Any) -> Iterator[tuple[str, Any]]:
    """Measure the limits from which breakdown.py computes its floors."""
    from gpubp.benchmarks.timing import Timer
    from gpubp.kernels import PRECISIONS

    timer = Timer(open_backend(graphs=True), rounds=3)
    for precision in (None, *PRECISIONS):
        found = timer.limits(precision, SIDE)
        if precision is None:
            yield "graph node, µs", 1e6 * found.node
            yield "copy, GB/s read and written", found.bandwidth / 1e9
        yield f"{precision or 'float32'} matmul of {SIDE}, TFLOPS", 2 * found.rate / 1e12


if __name__ == "__main__":
    raise SystemExit(main())
