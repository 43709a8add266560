"""The functions that replace those of CuPy's lowest modules.

There is one class for each module. Its methods have the names and arguments of the module's functions.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

from .compiling import HostCompileError
from .kernels import Kernel, compile_text, names_in
from .memory import HOST
from .runtime import DEVICES, Runtime
from .streams import CudaError, Status

__all__ = ["DriverAnswers", "NvrtcAnswers", "RuntimeAnswers", "functions_of"]


ARCHITECTURE = 9, 0
"""The compute capability that the devices report."""

VERSION = 12, 9
"""The version of CUDA that the driver reports."""

ATTRIBUTES = {
    1: 1024,  # threads of a block
    8: 48 * 1024,  # shared memory of a block
    10: 32,  # threads of a warp
    16: 132,  # multiprocessors
    39: 2048,  # threads of a multiprocessor
    75: ARCHITECTURE[0],
    76: ARCHITECTURE[1],
    97: 227 * 1024,  # shared memory of a block that asks for it
}
"""The values of cudaDeviceAttr that CuPy and gpubp ask for."""

MOST_SHARED_BYTES, MOST_THREADS = 227 * 1024, 1024
_DYNAMIC_SHARED_BYTES = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
_TO_HOST_MEMORY_TYPE, _DEVICE_MEMORY_TYPE = 1, 2


def functions_of(answers: Any) -> dict[str, Callable[..., Any]]:
    """Return the methods of `answers`, which then run one thread at a time and raise CuPy's exceptions."""
    names = [name for name in vars(type(answers)) if not name.startswith("__")]
    return {name: _answer(getattr(answers, name), answers) for name in names}


def _answer(method: Callable[..., Any], answers: Any) -> Callable[..., Any]:
    if isinstance(answers, NvrtcAnswers):  # it compiles; other threads need not wait
        return method

    @functools.wraps(method)
    def answer(*arguments: Any) -> Any:
        try:
            with answers.lock:
                return method(*arguments)
        except CudaError as error:
            raise answers.error(error.status) from None

    return answer


class RuntimeAnswers:
    """The functions of `cupy_backends.cuda.api.runtime`."""

    def __init__(self, runtime: Runtime, module: Any) -> None:
        self._runtime, self.lock, self.error = runtime, runtime.lock, module.CUDARuntimeError
        self._pointer_attributes = module.PointerAttributes

    # Devices.

    def driverGetVersion(self) -> int:
        return VERSION[0] * 1000 + VERSION[1] * 10 if self._runtime.present else 0

    def getDeviceCount(self) -> int:
        if not self._runtime.present:
            raise CudaError(Status.INSUFFICIENT_DRIVER)
        return DEVICES

    def getDevice(self) -> int:
        return self._runtime.device

    def setDevice(self, device: int) -> None:
        self._runtime.device = device

    def deviceGetAttribute(self, attribute: int, device: int) -> int:
        return ATTRIBUTES.get(attribute, 0)

    def getDeviceProperties(self, device: int) -> dict[str, Any]:
        return {
            "name": b"host emulation",
            "major": ARCHITECTURE[0],
            "minor": ARCHITECTURE[1],
            "multiProcessorCount": ATTRIBUTES[16],
            "warpSize": ATTRIBUTES[10],
            "maxThreadsPerBlock": ATTRIBUTES[1],
            "sharedMemPerBlock": ATTRIBUTES[8],
            "sharedMemPerBlockOptin": ATTRIBUTES[97],
            "totalGlobalMem": self._runtime.memory.sizes[device],
            "l2CacheSize": 50 * 2**20,
            "clockRate": 0,
        }

    def deviceGetPCIBusId(self, device: int) -> str:
        return f"0000:0{device}:00.0"

    def deviceCanAccessPeer(self, device: int, peer: int) -> int:
        return 0

    def deviceSynchronize(self) -> None:
        self._runtime.synchronize()

    def _ensure_context(self) -> None:
        self.getDeviceCount()

    # Memory.

    def malloc(self, size: int) -> int:
        return self._runtime.allocate(size, self._runtime.device)

    def hostAlloc(self, size: int, flags: int) -> int:
        return self._runtime.allocate(size, HOST)

    def free(self, address: int) -> None:
        self._runtime.free(address)

    def freeHost(self, address: int) -> None:
        self._runtime.free(address)

    def memGetInfo(self) -> tuple[int, int]:
        memory, device = self._runtime.memory, self._runtime.device
        return memory.sizes[device] - memory.used[device], memory.sizes[device]

    def memcpy(self, to: int, source: int, size: int, kind: int) -> None:
        self._runtime.copy(to, source, size, self._runtime.stream(0), True)

    def memcpyAsync(self, to: int, source: int, size: int, kind: int, stream: int) -> None:
        self._runtime.copy(to, source, size, self._runtime.stream(stream), False)

    def memcpyPeer(self, to: int, to_device: int, source: int, device: int, size: int) -> None:
        self._runtime.copy(to, source, size, self._runtime.stream(0), True)

    def memcpyPeerAsync(
        self, to: int, to_device: int, source: int, device: int, size: int, stream: int
    ) -> None:
        self._runtime.copy(to, source, size, self._runtime.stream(stream), False)

    def memset(self, address: int, value: int, size: int) -> None:
        self._runtime.fill(address, value, size, self._runtime.stream(0))

    def memsetAsync(self, address: int, value: int, size: int, stream: int) -> None:
        self._runtime.fill(address, value, size, self._runtime.stream(stream))

    def pointerGetAttributes(self, address: int) -> Any:
        piece = self._runtime.memory.find(address)
        if piece is None:  # memory that CUDA does not know
            return self._pointer_attributes(-2, 0, 0, 0)
        on_host = piece.device == HOST
        kind = _TO_HOST_MEMORY_TYPE if on_host else _DEVICE_MEMORY_TYPE
        return self._pointer_attributes(
            *(0 if on_host else piece.device, address, address if on_host else 0, kind)
        )

    def pointerGetMemoryType(self, address: int) -> int:
        piece = self._runtime.memory.find(address)
        if piece is None:
            return 0
        return _TO_HOST_MEMORY_TYPE if piece.device == HOST else _DEVICE_MEMORY_TYPE

    # Streams and events.

    def streamCreate(self) -> int:
        return self._runtime.new_stream(True)

    def streamCreateWithFlags(self, flags: int) -> int:
        return self._runtime.new_stream(not flags & 1)

    def streamCreateWithPriority(self, flags: int, priority: int) -> int:
        return self._runtime.new_stream(not flags & 1)

    def streamDestroy(self, stream: int) -> None:
        self._runtime.destroy_stream(stream)

    def streamGetFlags(self, stream: int) -> int:
        return 0 if self._runtime.stream(stream).blocking else 1

    def streamGetPriority(self, stream: int) -> int:
        return 0

    def streamSynchronize(self, stream: int) -> None:
        self._runtime.wait_for(self._runtime.stream(stream))

    def streamQuery(self, stream: int) -> int:
        return self._runtime.query_stream(self._runtime.stream(stream))

    def streamWaitEvent(self, stream: int, event: int, flags: int = 0) -> None:
        self._runtime.make_wait(self._runtime.stream(stream), event)

    def eventCreate(self) -> int:
        return self._runtime.new_event()

    def eventCreateWithFlags(self, flags: int) -> int:
        return self._runtime.new_event()

    def eventDestroy(self, event: int) -> None:
        self._runtime.destroy_event(event)

    def eventRecord(self, event: int, stream: int) -> None:
        self._runtime.record(event, self._runtime.stream(stream))

    def eventSynchronize(self, event: int) -> None:
        self._runtime.wait_for_event(event)

    def eventQuery(self, event: int) -> int:
        return self._runtime.query_event(event)

    def eventElapsedTime(self, start: int, end: int) -> float:
        return self._runtime.elapsed_time(start, end)

    # Captures and graphs.

    def streamBeginCapture(self, stream: int, mode: int = 0) -> None:
        names = "global", "thread local", "relaxed"
        self._runtime.begin_capture(self._runtime.stream(stream), names[mode])

    def streamEndCapture(self, stream: int) -> int:
        return self._runtime.end_capture(self._runtime.stream(stream))

    def streamIsCapturing(self, stream: int) -> int:
        return self._runtime.stream(stream).capture is not None

    def graphInstantiate(self, graph: int) -> int:
        return self._runtime.instantiate(graph)

    def graphDestroy(self, graph: int) -> None:
        self._runtime.destroy_graph(graph)

    def graphExecDestroy(self, graph: int) -> None:
        self._runtime.destroy_graph(graph)

    def graphLaunch(self, graph: int, stream: int) -> None:
        self._runtime.launch_graph(graph, self._runtime.stream(stream))

    def graphUpload(self, graph: int, stream: int) -> None:
        pass


def _driver_error(self: Any, status: int) -> None:
    """Make the error without libcuda, which CuPy's own constructor asks for the name of the status."""
    RuntimeError.__init__(self, f"CUDA driver error {status}")
    self.status = status


class DriverAnswers:
    """The functions of `cupy_backends.cuda.api.driver` that modules and kernels need."""

    def __init__(self, runtime: Runtime, module: Any) -> None:
        self._runtime, self.lock = runtime, runtime.lock
        self.error = type("DriverError", (module.CUDADriverError,), {"__init__": _driver_error})
        self._modules: list[dict[str, Kernel]] = []
        self._functions: list[tuple[Kernel, dict[int, int]]] = []

    def moduleLoadData(self, image: bytes) -> int:
        code, *options = image.decode().rstrip("\0").split("\0")
        self._modules.append({name: Kernel(name, code, options) for name in names_in(code)})
        return len(self._modules)

    def moduleUnload(self, module: int) -> None:
        """Do nothing: a loaded library stays."""

    def moduleGetFunction(self, module: int, name: str) -> int:
        kernel = self._modules[module - 1].get(name)
        if kernel is None:
            raise CudaError(500)  # CUDA_ERROR_NOT_FOUND
        self._functions.append((kernel, {_DYNAMIC_SHARED_BYTES: 48 * 1024}))
        return len(self._functions)

    def funcGetAttribute(self, attribute: int, function: int) -> int:
        return self._functions[function - 1][1].get(attribute, 0)

    def funcSetAttribute(self, function: int, attribute: int, value: int) -> None:
        if attribute == _DYNAMIC_SHARED_BYTES and value > MOST_SHARED_BYTES:
            raise CudaError(Status.INVALID_VALUE)
        self._functions[function - 1][1][attribute] = value

    def occupancyMaxActiveBlocksPerMultiprocessor(
        self, function: int, threads: int, shared_bytes: int
    ) -> int:
        return 2048 // threads

    def occupancyMaxPotentialBlockSize(
        self, function: int, shared_bytes: int, most_threads: int
    ) -> tuple[int, int]:
        return ATTRIBUTES[16], MOST_THREADS

    def launchKernel(
        self, function: int, gx: int, gy: int, gz: int, bx: int, by: int, bz: int,
        shared_bytes: int, stream: int, parameters: int, extra: int,
    ) -> None:  # fmt: skip
        kernel, attributes = self._functions[function - 1]
        grid_fits = all(0 < n <= most for n, most in ((gx, 2**31 - 1), (gy, 65535), (gz, 65535)))
        block_fits = all(0 < n <= most for n, most in ((bx, 1024), (by, 1024), (bz, 64)))
        if not grid_fits or not block_fits or bx * by * bz > MOST_THREADS:
            raise CudaError(Status.INVALID_VALUE)
        if shared_bytes > attributes[_DYNAMIC_SHARED_BYTES]:
            raise CudaError(Status.INVALID_VALUE)
        if self._runtime.noted is not None:
            self._runtime.noted.append(kernel)
            return
        addresses = (
            (ctypes.c_size_t * len(kernel.sizes)).from_address(parameters) if parameters else ()
        )
        shape = gx, gy, gz, bx, by, bz, shared_bytes
        self._runtime.launch(self._runtime.stream(stream), kernel, shape, kernel.pack(addresses))


class NvrtcAnswers:
    """The functions of `cupy_backends.cuda.libs.nvrtc`.

    While devices are present, programs go to the host's compiler; otherwise they go to NVRTC itself.
    """

    def __init__(self, runtime: Runtime, module: Any) -> None:
        self._runtime = runtime
        names = [name for name in vars(type(self)) if not name.startswith("_")]
        self._nvrtc = {name: getattr(module, name) for name in names}
        self._error = module.NVRTCError
        self._programs: dict[int, _Program] = {}
        self._last = 0

    def getVersion(self) -> tuple[int, int]:
        try:
            return self._nvrtc["getVersion"]()
        except RuntimeError:  # CuPy 13 does not find NVRTC everywhere
            if not self._runtime.present:
                raise
            return VERSION

    def createProgram(self, code: str, name: str, headers: Any, include_names: Any) -> int:
        if not self._runtime.present:
            return self._nvrtc["createProgram"](code, name, headers, include_names)
        self._last -= 1  # negative, so never a program of NVRTC
        self._programs[self._last] = _Program(code)
        return self._last

    def destroyProgram(self, program: int) -> None:
        if program in self._programs:
            del self._programs[program]
        else:
            self._nvrtc["destroyProgram"](program)

    def compileProgram(self, program: int, options: Sequence[str]) -> None:
        if program not in self._programs:
            self._nvrtc["compileProgram"](program, options)
            return
        own = self._programs[program]
        try:
            if self._runtime.noted is None:
                compile_text(own.code, options, exact=self._runtime.exact)
        except HostCompileError as error:
            own.log = str(error)
            raise self._error(6) from None  # NVRTC_ERROR_COMPILATION
        own.image = "\0".join((own.code, *options)).encode()

    def getPTX(self, program: int) -> bytes:
        own = self._programs.get(program)
        return own.image if own else self._nvrtc["getPTX"](program)

    def getCUBIN(self, program: int) -> bytes:
        own = self._programs.get(program)
        return own.image if own else self._nvrtc["getCUBIN"](program)

    def getProgramLog(self, program: int) -> str:
        own = self._programs.get(program)
        return own.log if own else self._nvrtc["getProgramLog"](program)


class _Program:
    """A text, its log, and its image: text and options, in place of a compiled program."""

    def __init__(self, code: str) -> None:
        self.code, self.log, self.image = code, "", b""
