"""A stand-in for the module `cupy` on a machine without a GPU.

Its arrays wrap NumPy's, its kernels are compiled and run on the host (`cuda_on_host.py`), and the
cuBLAS beside it is NumPy's matmul. What CuPy rejects it rejects: a device array does not mix with, or turn
silently into, a NumPy array.
"""

from __future__ import annotations

import ctypes
import functools
import threading
import time
import types
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from cuda_on_host import HostElementwiseKernel, HostRawKernel

Array = np.ndarray[Any, Any]

DEVICES = 2


_owners: weakref.WeakValueDictionary[int, Array] = weakref.WeakValueDictionary()


def _owner(array: Array) -> Array:
    """The array whose memory this one is a view of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class _Place:
    """Where an array lies, as a pointer knows it."""

    def __init__(self, array: Array) -> None:
        self._owner, self._kind = _owner(array).ctypes.data, (array.shape, array.dtype)
        self._offset, self._strides = array.ctypes.data - self._owner, array.strides

    def array(self) -> Array:
        """What lies there, unless nothing does."""
        owner = _owners.get(self._owner)
        assert owner is not None, "a graph uses memory that has been given back"
        return np.ndarray(*self._kind, owner.data, self._offset, self._strides)


class _Current(threading.local):
    """The number of each thread's current device, and of those it was before, within `with`; and what its
    stream has captured, while it captures."""

    def __init__(self) -> None:
        self.device = 0
        self.before: list[int] = []
        self.captured: _Capture | None = None
        self.streams = [self.bottom]

    bottom: _FakeStream

    def do(self, launch: Callable[..., object], *arguments: Any) -> object:
        """Launch something now, or in a graph's replay: on the same memory, which that does not keep."""
        if self.captured is None:
            return self.streams[-1].do(functools.partial(launch, *arguments))
        places = [_Place(a) if isinstance(a, np.ndarray) else a for a in arguments]
        self.captured.add(
            self.streams[-1],
            lambda: launch(*(p.array() if isinstance(p, _Place) else p for p in places)),
        )
        return None

    def refuse(self, what: str) -> None:
        """What CUDA does not allow while a stream captures: it fails, and the capture with it."""
        if self.captured is not None:
            self.captured.broken = True
            raise _FakeCUDARuntimeError(f"{what}: operation not permitted when stream is capturing")

    def wait(self, what: str) -> None:
        """What the host does only when the current stream has done all it was asked for."""
        self.refuse(what)
        self.streams[-1].synchronize()


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """A NumPy array in the part of `cupy.ndarray`; what is not here, NumPy's array does."""

    __slots__ = ("_device", "_host")

    def __init__(self, host: Array, device: int | None = None) -> None:
        self._host = host
        self._device = _current.device if device is None else device
        _owners[_owner(host).ctypes.data] = _owner(host)

    def get(self, stream: Any = None, order: str = "C", out: Array | None = None) -> Array:
        """A copy on the host."""
        _current.wait("get")
        if out is None:
            return np.array(self._host, order=order)  # type: ignore[call-overload, no-any-return]
        np.copyto(out, self._host)
        return out

    def set(self, arr: Array, stream: Any = None) -> None:
        """Copies an array of the host into this one, which it may read as late as the copy is done."""
        _current.refuse("set")
        if arr.shape != self.shape or arr.dtype != self.dtype:
            raise ValueError(f"set: {arr.dtype} {arr.shape} into {self.dtype} {self.shape}")
        (stream or _current.streams[-1]).do(lambda: np.copyto(self._host, arr))

    @property
    def data(self) -> Any:
        return types.SimpleNamespace(ptr=self._host.ctypes.data)

    @property
    def device(self) -> _FakeDevice:
        return _FakeDevice(self._device)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self._host.__array_interface__, "version": 3}

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use `.get()`")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return _on_device(getattr(ufunc, method))(*inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func in (np.ndim, np.shape, np.size):
            return func(self._host)
        return _on_device(func)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._host, name)
        if not callable(value):
            return DeviceArray(value, self._device) if isinstance(value, np.ndarray) else value
        if name in ("ravel", "reshape", "transpose", "view"):
            return lambda *args, **kwargs: DeviceArray(value(*args, **kwargs), self._device)
        _to_host(self)  # it computes, which only the array's own device does
        return _on_device(value)

    def __getitem__(self, index: Any) -> Any:
        return DeviceArray(np.asarray(self._host[_to_host(index)]), self._device)

    def __setitem__(self, index: Any, value: Any) -> None:
        _current.wait("assignment")
        _to_host(self)[_to_host(index)] = _to_host(value)

    def __len__(self) -> int:
        return len(self._host)

    def __bool__(self) -> bool:
        _current.wait("bool")
        return bool(self._host)

    def __int__(self) -> int:
        _current.wait("int")
        return int(self._host)

    def __index__(self) -> int:
        return self._host.__index__()

    def __float__(self) -> float:
        _current.wait("float")
        return float(self._host)

    def __repr__(self) -> str:
        return repr(self._host)


def _to_host(value: Any) -> Any:
    """The same memory as `numpy.ndarray`, inside containers too; of arrays on the current device."""
    if isinstance(value, DeviceArray):
        if value._device != _current.device:
            raise ValueError(
                f"Array device must be same as the current device: array device = {value._device}"
                f" while current = {_current.device}"
            )
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {np.ndarray}")
    if isinstance(value, list | tuple):
        return type(value)(map(_to_host, value))
    return value


def _to_device(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return DeviceArray(np.asarray(value))
    if isinstance(value, list | tuple):
        return type(value)(map(_to_device, value))
    return value


def _on_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """A NumPy function that takes and returns device arrays."""

    @functools.wraps(function, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        named = {key: _to_host(value) for key, value in kwargs.items()}
        if _current.captured is not None and function is not np.empty:
            # A graph could not hold on to a new array, so there must be one for the result.
            assert named.get("out") is not None, f"{function} makes an array during capture"
            named.pop("out")
            out = _to_host(kwargs["out"])
            _current.do(
                lambda out, *host: function(*host, out=out, **named), out, *map(_to_host, args)
            )
            return kwargs["out"]
        if function is not np.empty:
            _current.wait("computing on the host")
        result = function(*map(_to_host, args), **named)
        out = kwargs.get("out")
        return _to_device(result) if out is None else out[0] if isinstance(out, tuple) else out

    return call


class _FakeElementwiseKernel(HostElementwiseKernel):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        run = super().__call__
        return _to_device(_current.do(lambda *host: run(*host, **kwargs), *map(_to_host, args)))


class _FakeRawKernel(HostRawKernel):
    def __call__(self, grid: Any, block: Any, args: Sequence[Any], **kwargs: Any) -> None:
        run = super().__call__
        _current.do(lambda *host: run(grid, block, host, **kwargs), *map(_to_host, args))


class _FakeRawModule:
    """`cupy.RawModule`, except that its functions do not share `__device__` variables."""

    def __init__(self, *, code: str, options: Sequence[str] = (), backend: str = "nvrtc") -> None:
        self.code, self.options, self.backend = code, options, backend

    def get_function(self, name: str) -> HostRawKernel:
        return _FakeRawKernel(self.code, name, self.options, self.backend)


_NUMBERS = {0: np.float32, 1: np.float64, 2: np.float16, 14: np.uint16}  # 14: a bfloat16's bits
_COMPUTE_32F, _COMPUTE_64F, _COMPUTE_32F_FAST_TF32 = 68, 70, 77


class _FakeHandle:
    """What cuBLAS knows of a handle; to set a stream is to forget the workspace."""

    def __init__(self) -> None:
        self.stream, self.workspace = 0, 0


def fake_cublas_library() -> types.SimpleNamespace:
    """The functions of libcublas that gpubp calls, as ctypes calls them: with numbers and addresses."""
    handles: dict[int, _FakeHandle] = {}

    def create(address: int) -> int:
        _current.refuse("cublasCreate")
        handle = _FakeHandle()
        handles[id(handle)] = handle
        ctypes.c_void_p.from_address(address).value = id(handle)
        return 0

    def destroy(handle: int) -> int:
        _current.refuse("cublasDestroy, which waits for the device")
        del handles[handle]
        return 0

    def set_stream(handle: int, stream: int) -> int:
        handles[handle].stream, handles[handle].workspace = stream, 0
        return 0

    def set_workspace(handle: int, workspace: int, size: int) -> int:
        assert workspace and size >= 2**22
        handles[handle].workspace = workspace
        return 0

    def gemm(
        handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int,
        a: int, a_type: int, lda: int, b: int, b_type: int, ldb: int, beta: int,
        c: int, c_type: int, ldc: int, compute_type: int, algo: int,
    ) -> int:  # fmt: skip
        """Column-major c = alpha op(a) op(b) + beta c."""
        capturing = _current.captured is not None
        assert handles[handle].stream == _current.streams[-1].ptr
        assert bool(handles[handle].workspace) == capturing, (
            "a graph would hold memory of cuBLAS's own"
        )
        assert algo == -1 and a_type == b_type
        assert c_type == (1 if a_type == 1 else 0)
        assert compute_type in (
            {1: (_COMPUTE_64F,), 0: (_COMPUTE_32F, _COMPUTE_32F_FAST_TF32)}.get(
                a_type, (_COMPUTE_32F,)
            )
        )
        real: Any = ctypes.c_double if compute_type == _COMPUTE_64F else ctypes.c_float
        factor, kept = real.from_address(alpha).value, real.from_address(beta).value

        def operand(at: int, kind: int, transposed: int, shape: tuple[int, int], ld: int) -> Array:
            stored = _columns(at, kind, *(shape[::-1] if transposed else shape), ld)
            numbers = stored.T if transposed else stored
            if kind == 14:
                return (numbers.astype(np.uint32) << 16).view(np.float32)
            numbers = numbers.astype(np.float64 if kind == 1 else np.float32)
            if compute_type == _COMPUTE_32F_FAST_TF32:  # cut off, as tensor cores may
                numbers = (numbers.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
            return numbers

        def multiply() -> None:
            left = operand(a, a_type, transa, (m, k), lda)
            product = left @ operand(b, b_type, transb, (k, n), ldb)
            out = _columns(c, c_type, m, n, ldc)
            scalar = out.dtype.type
            out[...] = scalar(factor) * product + (scalar(kept) * out if kept else 0)

        _current.do(multiply)
        return 0

    return types.SimpleNamespace(
        cublasCreate_v2=create,
        cublasDestroy_v2=destroy,
        cublasSetStream_v2=set_stream,
        cublasSetWorkspace_v2=set_workspace,
        cublasGemmEx=gemm,
    )


def _columns(pointer: int, kind: int, rows: int, columns: int, leading: int) -> Array:
    """What lies at an address, column after column, as BLAS counts; `leading` elements between."""
    assert leading >= rows
    dtype = np.dtype(_NUMBERS[kind])
    size = (leading * (columns - 1) + rows) * dtype.itemsize
    alive = any(
        start <= pointer and pointer + size <= start + array.nbytes
        for start, array in list(_owners.items())
    )
    assert alive, "a matmul uses memory that is not there, or has been given back"
    memory = np.frombuffer((ctypes.c_char * size).from_address(pointer), dtype)
    strides = dtype.itemsize, leading * dtype.itemsize
    return np.lib.stride_tricks.as_strided(memory, (rows, columns), strides)


class _FakeDevice:
    """`cupy.cuda.Device`: a device is a number, which arrays remember; all of them are the CPU."""

    compute_capability = "00"

    def __init__(self, device: int | None = None) -> None:
        self.id = _current.device if device is None else device
        if self.id >= DEVICES:
            raise _FakeCUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")

    def __enter__(self) -> _FakeDevice:
        _current.before.append(_current.device)
        _current.device = self.id
        return self

    def __exit__(self, *_: object) -> None:
        _current.device = _current.before.pop()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _FakeDevice) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __int__(self) -> int:
        return self.id

    def use(self) -> None:
        _current.device = self.id

    def synchronize(self) -> None:
        pass


class _FakeStream:
    """`cupy.cuda.Stream`: work is done before a call returns, or as late as events and the host allow.

    `late` says which: "steps" delays what is launched, "copies" what streams of one's own are asked for,
    "both" delays both.
    """

    null: _FakeStream
    late = ""

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        self.ptr = 0 if null else id(self)
        self._asked: list[Callable[[], object]] = []
        self._done = 0

    def __enter__(self) -> _FakeStream:
        _current.streams.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.streams.pop()

    def use(self) -> _FakeStream:
        _current.streams[-1:] = [self]
        return self

    def do(self, work: Callable[[], object]) -> object:
        """Do it after what was asked for before: now, or later."""
        if self.late in ("both", "copies" if self.ptr else "steps"):
            self._asked.append(work)
            return None
        self.reach(len(self._asked))
        return work()

    def reach(self, position: int) -> None:
        """Do what has been asked for up to there."""
        while self._done < position:
            self._done += 1
            self._asked[self._done - 1]()

    def synchronize(self) -> None:
        _current.refuse("synchronize")
        self.reach(len(self._asked))

    def record(self, event: Any = None) -> _FakeEvent:
        if _current.captured is not None:
            return _FakeEvent(self, _current.captured.position(self))
        return _FakeEvent(self, len(self._asked))

    def wait_event(self, event: _FakeEvent) -> None:
        if _current.captured is not None:
            _current.captured.wait(self, event)
        else:
            self.do(event.synchronize)

    def begin_capture(self, mode: Any = None) -> None:
        assert self is not _FakeStream.null and _current.captured is None
        _current.captured = _Capture(self)

    def end_capture(self) -> _FakeGraph:
        assert _current.captured is not None
        captured, _current.captured = _current.captured, None
        if captured.broken:
            raise _FakeCUDARuntimeError(
                "end_capture: failed due to a previous error during capture"
            )
        if captured.run(lambda work: None, first=self):
            raise _FakeCUDARuntimeError("end_capture: a stream's work is not waited for")
        return _FakeGraph(captured)


class _FakeEvent:
    """`cupy.cuda.Event`: a place in a stream."""

    def __init__(self, stream: _FakeStream | None = None, position: int = 0) -> None:
        self._stream, self._position = stream, position
        self.at = time.perf_counter()

    def record(self, stream: _FakeStream | None = None) -> None:
        _current.refuse("record")
        self._stream = stream or _current.streams[-1]
        self._position, self.at = len(self._stream._asked), time.perf_counter()

    def synchronize(self) -> None:
        if self._stream is not None:
            self._stream.reach(self._position)


class _Capture:
    """What streams were asked for while they captured; one that waits for an event of another joins it."""

    def __init__(self, origin: _FakeStream) -> None:
        self.broken = False
        self._work: dict[_FakeStream, list[Any]] = {origin: []}

    def add(self, stream: _FakeStream, work: Callable[[], object]) -> None:
        if stream not in self._work:
            raise _FakeCUDARuntimeError(
                "a stream that does not capture works while another one does"
            )
        self._work[stream].append(work)

    def position(self, stream: _FakeStream) -> int:
        return len(self._work[stream])

    def wait(self, stream: _FakeStream, event: _FakeEvent) -> None:
        self._work.setdefault(stream, []).append(event)

    def run(self, do: Callable[[Any], object], first: _FakeStream | None = None) -> int:
        """Do one stream's work, and of the others' what it waits for; how much of these is left then.

        Without `first`, all of the side streams' is done before what the origin need not have done.
        """
        done = dict.fromkeys(self._work, 0)

        def reach(stream: _FakeStream, position: int) -> None:
            while done[stream] < position:
                work = self._work[stream][done[stream]]
                done[stream] += 1
                if isinstance(work, _FakeEvent):
                    assert work._stream is not None
                    reach(work._stream, work._position)
                else:
                    do(work)

        for stream in [first] if first else reversed(self._work):
            reach(stream, len(self._work[stream]))
        return sum(len(work) - done[stream] for stream, work in self._work.items())


class _FakeGraph:
    """`cupy.cuda.Graph`. Branches that need not wait run first and last in turn, from launch to launch."""

    def __init__(self, captured: _Capture) -> None:
        self._captured, self._launches = captured, 0

    def launch(self, stream: Any = None) -> None:
        origin = next(iter(self._captured._work))
        where, self._launches = stream or _current.streams[-1], self._launches + 1
        self._captured.run(where.do, origin if self._launches % 2 else None)


_FakeStream.null = _FakeStream(null=True)
_Current.bottom = _FakeStream.null
_current = _Current()


class _FakeCUDARuntimeError(RuntimeError):
    """`cupy.cuda.runtime.CUDARuntimeError`."""


class _FakeCUDADriverError(RuntimeError):
    """`cupy.cuda.driver.CUDADriverError`."""


class _FakeMemoryPool:
    """`cupy.get_default_memory_pool()`: NumPy's memory is in no pool."""

    def used_bytes(self) -> int:
        return 0

    def total_bytes(self) -> int:
        return 0

    def free_all_blocks(self, stream: Any = None) -> None:
        pass


class _FakeCupy(types.ModuleType):
    """What this module does not have, NumPy's functions do, on device arrays."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(np, name)
        return _on_device(value) if callable(value) and not isinstance(value, type) else value


def _transfer(
    a: Any, dtype: Any = None, order: Any = None, *, copy: bool = False, blocking: bool = False
) -> DeviceArray:
    """To the device; what is there already is copied only if asked or if the dtype differs."""
    if isinstance(a, DeviceArray):
        result = np.array(a._host, dtype, order=order or "K", copy=copy or None)
        return (
            a
            if result is a._host
            else DeviceArray(np.array(_to_host(a), dtype, order=order or "K"))
        )
    if isinstance(a, list | tuple):
        a = [_to_host(x) for x in a]
    result = np.array(a, dtype, order=order or "K")
    if result.dtype.char not in "?bhilqBHILQefdFD":
        raise ValueError(f"Unsupported dtype {result.dtype}")
    return DeviceArray(result.astype(result.dtype.newbyteorder("="), copy=False))


def _array(a: Any, dtype: Any = None, copy: bool = True, order: Any = "K") -> DeviceArray:
    return _transfer(a, dtype, order, copy=copy)


def _asnumpy(
    a: Any, stream: Any = None, order: str = "C", out: Array | None = None, *, blocking: bool = True
) -> Array:
    return a.get(stream, order, out) if isinstance(a, DeviceArray) else np.asarray(a)


def _module(name: str, contents: Mapping[str, Any]) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(contents)
    return module


def fake_cupy_modules() -> dict[str, types.ModuleType]:
    """Fresh stand-ins for `cupy`, its submodules and `cupyx`, by name, ready for `sys.modules`."""
    runtime = _module(
        "cupy.cuda.runtime",
        {
            "getDeviceCount": lambda: DEVICES,
            "getDevice": lambda: _current.device,
            "getDeviceProperties": lambda device: {
                "name": b"host emulation",
                "major": 0,
                "minor": 0,
                "multiProcessorCount": 1,
                "sharedMemPerBlock": 48 * 1024,
                "sharedMemPerBlockOptin": 227 * 1024,
                "totalGlobalMem": 0,
            },
            "runtimeGetVersion": lambda: 0,
            "driverGetVersion": lambda: 0,
            "deviceSynchronize": lambda: None,
            "CUDARuntimeError": _FakeCUDARuntimeError,
        },
    )
    cuda = _module(
        "cupy.cuda",
        {
            "Device": _FakeDevice,
            "driver": types.SimpleNamespace(CUDADriverError=_FakeCUDADriverError),
            "Stream": _FakeStream,
            "runtime": runtime,
            "Event": _FakeEvent,
            "get_elapsed_time": lambda start, end: (end.at - start.at) * 1e3,
            "get_current_stream": lambda: _current.streams[-1],
            "alloc_pinned_memory": bytearray,
            "is_available": lambda: True,
        },
    )
    cupy = _FakeCupy("cupy")
    pool = _FakeMemoryPool()
    vars(cupy).update(
        __path__=[],
        __version__="0+host.emulation",
        ndarray=DeviceArray,
        array=_array,
        asarray=_transfer,
        ascontiguousarray=lambda a, dtype=None: _transfer(a, dtype, "C"),
        asnumpy=_asnumpy,
        get_array_module=lambda *args: (
            cupy if any(isinstance(a, DeviceArray) for a in args) else np
        ),
        get_default_memory_pool=lambda: pool,
        ElementwiseKernel=_FakeElementwiseKernel,
        RawKernel=_FakeRawKernel,
        RawModule=_FakeRawModule,
        cuda=cuda,
    )
    cupyx = _module("cupyx", {"empty_pinned": np.empty, "zeros_pinned": np.zeros})
    modules = (cupy, cuda, runtime, cupyx)
    return {module.__name__: module for module in modules}


def fake_cupy() -> types.ModuleType:
    """A stand-in for the module `cupy`: NumPy's arrays, kernels that run on the host."""
    return fake_cupy_modules()["cupy"]
