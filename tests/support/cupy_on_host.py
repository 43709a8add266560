"""CuPy itself on a machine without a GPU.

CuPy's Python and Cython code runs unchanged: its layouts, casts, checks of arguments, memory pool, streams
and graphs. Only the functions of its three lowest modules, which call NVIDIA's libraries, are replaced:
`runtime`, `driver` and `nvrtc` of `cupy_backends.cuda`. `interposing.py` replaces them. Replacing libcuda
would not work: the CUDA runtime in CuPy's wheel checks that the driver is NVIDIA's.

On a machine with a GPU, CuPy runs on the GPU, and `install` must not be called.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

from .answers import DriverAnswers, NvrtcAnswers, RuntimeAnswers, functions_of
from .cublas_on_host import cublas_on_host
from .cublaslt_on_host import cublaslt_on_host
from .interposing import interpose
from .memory import NOTHING
from .runtime import Runtime
from .streams import CudaError, Stream

__all__ = ["CudaOnHost", "gpus", "install"]


def gpus() -> tuple[int, str]:
    """Count the GPUs, and say why there are none. This does not import cupy: `install` must come first."""
    try:
        from cupy_backends.cuda.api import runtime

        return runtime.getDeviceCount(), ""
    except (ImportError, RuntimeError) as error:
        return 0, str(error)


def install() -> CudaOnHost:
    """Let CuPy run on the host from now on; it finds devices within `CudaOnHost.devices`.

    Raises
    ------
    ImportError
        CuPy is not installed, or NVRTC is not, without which CuPy does not import; or this version of CuPy
        has functions with unknown signatures.
    HostCompileError
        The host's compiler does not work.
    """
    return _install()


@functools.cache
def _install() -> CudaOnHost:
    if "cupy" in sys.modules:
        raise RuntimeError("cupy was imported before it could be put on the host")
    from cupy_backends.cuda.api import driver, runtime
    from cupy_backends.cuda.libs import nvrtc

    # Use CuPy's own reductions: those of CUB need NVIDIA's compiler.
    os.environ["CUPY_ACCELERATORS"] = ""
    os.environ["CUPY_CACHE_IN_MEMORY"] = "1"  # `compiling` keeps the libraries
    cuda = CudaOnHost()
    for module, answers in (
        (runtime, RuntimeAnswers),
        (driver, DriverAnswers),
        (nvrtc, NvrtcAnswers),
    ):
        interpose(module, functions_of(answers(cuda.runtime, module)))
    return cuda


class CudaOnHost:
    """The emulated devices, and a cuBLAS and a cuBLASLt for them."""

    def __init__(self) -> None:
        self.runtime = Runtime()
        self.cublas = cublas_on_host(self.runtime)
        self.cublaslt = cublaslt_on_host(self.runtime)

    @contextlib.contextmanager
    def devices(self, *, exact: bool = False) -> Iterator[None]:
        """Make the devices available in this context. At its end they finish the work in their queues.

        Parameters
        ----------
        exact : bool
            If true, every array has its own memory, every launch is examined, and each operation of the
            text is one IEEE operation. Otherwise arrays come from CuPy's pool, which is made to fill them
            with NaN when they are allocated and freed, and multiplications and additions are fused.

        Raises
        ------
        AssertionError
            A device has met a fault that the test did not expect; it says which.
        """
        if self.runtime.present:
            assert exact == self.runtime.exact, "devices of another kind are there already"
            yield
            return
        self.runtime.present, self.runtime.exact = True, exact
        import cupy

        pool = cupy.get_default_memory_pool()
        spoil = _spoil(self.runtime)

        def allocate(size: int) -> Any:
            spoil.follow()
            return pool.malloc(size)

        cupy.cuda.set_allocator(None if exact else allocate)
        try:
            yield
            self.runtime.finish()
        finally:
            cupy.cuda.set_allocator(pool.malloc)
            reports = self.runtime.forgive()
            self.runtime.present = False
        assert not reports, f"a device met a fault: {'; '.join(reports)}"


@functools.cache
def _spoil(runtime: Runtime) -> Any:
    """Make a hook of CuPy's pool that fills memory with NaN when it is allocated and when it is freed.

    It fills on the stream that the memory was allocated for. Each thread calls `follow` to use the hook.
    """
    import cupy

    class Spoil(cupy.cuda.MemoryHook):
        name = "spoil"

        def __init__(self) -> None:
            self.streams: dict[int, tuple[Stream, int]] = {}
            self.here = threading.local()

        def follow(self) -> None:
            if not hasattr(self.here, "follows"):
                self.here.follows = self.__enter__()

        def malloc_postprocess(self, **what: int) -> None:
            if what["mem_ptr"] == 0:  # the pool had no memory
                return
            stream = runtime.stream(cupy.cuda.get_current_stream().ptr)
            self.streams[what["mem_ptr"]] = stream, what["mem_size"]
            self.fill(what["mem_ptr"])

        def free_preprocess(self, **what: int) -> None:
            self.fill(what["mem_ptr"])

        def fill(self, address: int) -> None:
            stream, size = self.streams.get(address, (None, 0))
            if stream is not None and stream.capture is None and stream.device == runtime.device:
                with contextlib.suppress(CudaError), runtime.lock:
                    runtime.fill(address, NOTHING, size, stream)

    return Spoil()
