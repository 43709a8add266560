"""Runs the text of CUDA kernels on a machine without a GPU.

`HostElementwiseKernel` and `HostRawKernel` are called like `cupy.ElementwiseKernel` and
`cupy.RawKernel`, with NumPy arrays. The kernel's own text is compiled by the host's C++ compiler
against `cuda_on_host.h`, which supplies what CUDA C++ has and C++ has not: a block's threads are
fibers, barriers and warp intrinsics switch between them, blocks run one after another.

`fake_cupy.py` puts both into a stand-in for the module `cupy`, under which the Python code of a
CuPy backend runs too. `elementwise_cuda_source` and `nvrtc_compile` are the other half of the proof:
the same text, as CuPy itself would wrap it, goes through NVIDIA's compiler, which needs no device.

What this cannot show: speed, rounding (the device fuses multiply-add, flushes subnormals under
CuPy's options, and has its own exp and tanh), and warps that race ahead of each other.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import math
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

try:
    from numpy.lib.array_utils import byte_bounds
except ImportError:  # numpy 1
    from numpy import byte_bounds

Array = np.ndarray[Any, Any]

HEADER = Path(__file__).with_name("cuda_on_host.h")
# No contraction and no fast-math: one operation of the text is one IEEE operation. _FORTIFY_SOURCE,
# which some distributions switch on, rejects a longjmp from one fiber's stack to another's.
FLAGS = (
    *("-O1", "-std=c++17", "-ffp-contract=off", "-fno-fast-math", "-fPIC"),
    *("-U_FORTIFY_SOURCE", "-Wno-attributes"),
)
GUARD_BYTES = 16384


class HostCompileError(RuntimeError):
    """The host's compiler or NVRTC rejected a kernel; the text is the compiler's log."""


class HostLaunchError(RuntimeError):
    """A kernel did what CUDA leaves undefined: left its arrays, split a barrier, raced."""


# ------------------------------------------------------------------------------------------------
# Compiling


def host_compiler() -> str | None:
    """Path of the C++ compiler (`CXX`, else g++), or None if the machine has none."""
    return shutil.which(os.environ.get("CXX", "g++"))


@functools.cache
def _cache_directory() -> Path:
    """A folder that outlives the process, so that a second run of the tests compiles nothing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cuda_on_host"
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(cache, os.W_OK):
            return cache
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="cuda_on_host-"))


@functools.cache
def _precompiled_header() -> Path:
    """Folder of the header and its compiled form, without which a kernel takes 4 times as long."""
    version = subprocess.run([_compiler(), "--version"], capture_output=True, check=True).stdout
    key = hashlib.sha256(HEADER.read_bytes() + version + " ".join(FLAGS).encode()).hexdigest()
    folder = _cache_directory() / key[:16]
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=_cache_directory()) as scratch:
            staged = Path(scratch, "header")
            staged.mkdir()
            copy = Path(shutil.copy(HEADER, staged))
            _run_compiler("-x", "c++-header", str(copy), "-o", f"{copy}.gch")
            with contextlib.suppress(OSError):  # another process was faster
                staged.rename(folder)
    return folder


def _compiler() -> str:
    compiler = host_compiler()
    if compiler is None:
        raise HostCompileError("no C++ compiler: install g++ or set CXX")
    return compiler


def _run_compiler(*arguments: str) -> None:
    command = [_compiler(), *FLAGS, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostCompileError(done.stderr)


@functools.cache
def _load(source: str) -> ctypes.CDLL:
    """The shared library of a C++ source that includes the header; compiled once, ever."""
    folder = _precompiled_header()
    library = folder / (hashlib.sha256(source.encode()).hexdigest()[:32] + ".so")
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            text, built = Path(scratch, "kernel.cpp"), Path(scratch, "kernel.so")
            text.write_text(source)
            _run_compiler(
                *("-shared", "-Wl,-Bsymbolic", "-I", str(folder), str(text), "-o", str(built))
            )
            built.replace(library)
    return ctypes.CDLL(str(library))


_one_at_a_time = threading.Lock()
_shared_stacks: list[ctypes.c_void_p] = []


def _stacks(library: ctypes.CDLL) -> ctypes.c_void_p:
    """The stacks that all kernels' threads run on, one kernel at a time."""
    if not _shared_stacks:
        library.cuda_on_host_stacks.restype = ctypes.c_void_p
        address = library.cuda_on_host_stacks()
        if address is None:
            raise HostLaunchError("no memory for the stacks of a block's threads")
        _shared_stacks.append(ctypes.c_void_p(address))
    return _shared_stacks[0]


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-zA-Z_]\w*", name, re.ASCII):
        raise ValueError(f'Invalid kernel name: "{name}"')


# ------------------------------------------------------------------------------------------------
# Elementwise kernels


class Parameter(NamedTuple):
    """One parameter of an elementwise kernel: `raw T x`, `float32 y`."""

    name: str
    type_name: str  # the letter of a generic type, the C type of another
    dtype: np.dtype[Any] | None  # None: generic
    raw: bool


def _c_type(dtype: np.dtype[Any]) -> str:
    integers = {1: "char", 2: "short", 4: "int", 8: "long long"}
    if dtype.kind == "b":
        return "bool"
    if dtype.kind == "f" and dtype.itemsize in (2, 4, 8):
        return {2: "float16", 4: "float", 8: "double"}[dtype.itemsize]
    if dtype.kind == "i":
        return ("signed " if dtype.itemsize == 1 else "") + integers[dtype.itemsize]
    if dtype.kind == "u":
        return "unsigned " + integers[dtype.itemsize]
    raise TypeError(f"dtype {dtype} is not supported by kernels on the host")


def _parse_parameters(text: str) -> tuple[Parameter, ...]:
    parameters = []
    for declaration in filter(None, (part.strip() for part in text.split(","))):
        words = declaration.split()
        if len(words) < 2:
            raise ValueError(f"Syntax error: {declaration}")
        *qualifiers, type_name, name = words
        for qualifier in qualifiers:
            if qualifier != "raw":
                raise ValueError(f'Unknown keyword "{qualifier}"')
        dtype = None if len(type_name) == 1 else np.dtype(type_name)
        c_type = type_name if dtype is None else _c_type(dtype)
        parameters.append(Parameter(name, c_type, dtype, "raw" in qualifiers))
    return tuple(parameters)


class _ArrayArgument(ctypes.Structure):
    """`cuda_on_host::ArrayArgument`."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_int64),
        ("ndim", ctypes.c_int64),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("contiguous", ctypes.c_int64),
    )

    def __init__(self, array: Array) -> None:
        integers = ctypes.c_int64 * array.ndim
        super().__init__(
            *(array.ctypes.data, array.size, array.ndim),
            *(integers(*array.shape), integers(*array.strides), array.flags.c_contiguous),
        )


class HostElementwiseKernel:
    """`cupy.ElementwiseKernel` on NumPy arrays: same arguments, same call, same errors.

    Beyond CuPy it reports an index of a raw parameter that is out of bounds. CuPy's option
    `options` is for NVRTC and ignored here; `reduce_dims` changes speed alone.
    """

    def __init__(
        self,
        in_params: str,
        out_params: str,
        operation: str,
        name: str = "kernel",
        reduce_dims: bool = True,
        preamble: str = "",
        no_return: bool = False,
        return_tuple: bool = False,
        *,
        options: Sequence[str] = (),
        loop_prep: str = "",
        after_loop: str = "",
    ) -> None:
        _check_name(name)
        if isinstance(options, str):
            raise TypeError("options must be a tuple of strings")
        self.in_params = _parse_parameters(in_params)
        self.out_params = _parse_parameters(out_params)
        self.params = self.in_params + self.out_params
        self.nin, self.nout, self.nargs = (
            len(self.in_params),
            len(self.out_params),
            len(self.params),
        )
        if "i" in (p.name for p in self.params):
            raise ValueError("Can not use 'i' as a parameter name")
        self.operation, self.name, self.preamble = operation, name, preamble
        self.reduce_dims, self.no_return, self.return_tuple = reduce_dims, no_return, return_tuple
        self.options, self.loop_prep, self.after_loop = tuple(options), loop_prep, after_loop

    def __call__(
        self, *args: Any, size: int = -1, block_size: int = 128, stream: Any = None
    ) -> Any:
        """Runs the kernel; returns its outputs as CuPy does.

        Args:
            args: the inputs (arrays or scalars), then all outputs or none.
            size: number of iterations; needed if and only if every array is raw.
        """
        if block_size <= 0:
            raise ValueError("block_size must be greater than zero")
        if len(args) not in (self.nin, self.nargs):
            raise TypeError(
                f"Wrong number of arguments for {self.name!r}. It must be either {self.nin} or "
                f"{self.nargs} (with outputs), but given {len(args)}."
            )
        for argument in args:
            if not isinstance(argument, np.ndarray | bool | int | float | np.generic):
                raise TypeError(f"Unsupported type {type(argument)}")
        generic = self._bind_types(args)
        shape = self._loop_shape(args, size)
        outputs = self._outputs(args[self.nin :], generic, shape, size)
        result = tuple(outputs) if self.return_tuple or self.nout != 1 else outputs[0]
        if math.prod(shape):
            self._run([*args[: self.nin], *outputs], generic, shape)
        return None if self.no_return else result

    def _bind_types(self, args: Sequence[Any]) -> dict[str, np.dtype[Any]]:
        """The dtype of each generic type; outputs decide before inputs, scalars never."""
        for argument in args[self.nin :]:
            if not isinstance(argument, np.ndarray):
                raise TypeError("Output arguments must be arrays")
        generic: dict[str, np.dtype[Any]] = {}
        pairs = list(zip(self.params, args, strict=False))
        for p, argument in pairs[self.nin :] + pairs[: self.nin]:
            if not isinstance(argument, np.ndarray):
                continue
            expected = p.dtype or generic.setdefault(p.type_name, argument.dtype)
            if argument.dtype != expected:
                raise TypeError(
                    f"Type is mismatched. {p.name} {argument.dtype} {expected} {p.type_name}"
                )
        for p in self.params:
            if p.dtype is None and p.type_name not in generic:
                raise KeyError(p.type_name)
        return generic

    def _loop_shape(self, args: Sequence[Any], size: int) -> tuple[int, ...]:
        shapes = [
            a.shape
            for p, a in zip(self.params, args, strict=False)
            if isinstance(a, np.ndarray) and not p.raw
        ]
        if size != -1 and shapes:
            raise ValueError("Specified 'size' can be used only if all of the ndarray are 'raw'.")
        if size == -1 and not shapes:
            raise ValueError("Loop size is undecided.")
        return np.broadcast_shapes(*shapes) if shapes else (size,)

    def _outputs(
        self,
        given: Sequence[Array],
        generic: Mapping[str, np.dtype[Any]],
        shape: tuple[int, ...],
        size: int,
    ) -> list[Array]:
        for p, argument in zip(self.out_params, given, strict=False):
            if not p.raw and argument.shape != shape:
                raise ValueError("Out shape is mismatched")
        if given:
            return list(given)
        if size == -1 and any(p.raw for p in self.out_params):
            raise ValueError("Output array size is Undecided")
        return [np.empty(shape, p.dtype or generic[p.type_name]) for p in self.out_params]

    def _run(
        self, args: Sequence[Any], generic: Mapping[str, np.dtype[Any]], shape: tuple[int, ...]
    ) -> None:
        for p, argument in zip(self.out_params, args[self.nin :], strict=True):
            if not argument.flags.writeable:
                raise ValueError(f"output {p.name} is read-only")
        arrays, scalars = [], []
        for p, argument in zip(self.params, args, strict=True):
            if not isinstance(argument, np.ndarray):
                if p.raw:
                    raise TypeError(f"raw parameter {p.name} takes an array, not {type(argument)}")
                scalars.append(p.name)
                array = np.asarray(argument).astype(p.dtype or generic[p.type_name])
            else:
                array = np.asarray(argument)
            arrays.append(array if p.raw else _broadcast(array, shape))
        c_arrays = (_ArrayArgument * len(arrays))(*map(_ArrayArgument, arrays))
        loop = _load(self.host_source(generic, scalars)).cuda_on_host_loop
        loop.restype = ctypes.c_char_p
        error = loop(ctypes.c_int64(math.prod(shape)), c_arrays)
        if error:
            raise HostLaunchError(f"{self.name}: {error.decode()}")

    def host_source(self, generic: Mapping[str, np.dtype[Any]], scalars: Sequence[str] = ()) -> str:
        """The C++ text of this kernel for the dtypes of its generic types.

        Parameters named in `scalars` have a value before the loop, as in the text that CuPy makes.
        """
        typedefs = [f"typedef {_c_type(dtype)} {name};" for name, dtype in sorted(generic.items())]
        wrappers, references = [], []
        for k, p in enumerate(self.params):
            t = f"const {p.type_name}" if k < self.nin else p.type_name
            variable = p.name if p.raw else f"_raw_{p.name}"
            wrappers.append(f"const cuda_on_host::Array<{t}> {variable}(_arrays[{k}]);")
            if p.name in scalars:
                wrappers.append(f"{t} {p.name} = {variable}.at(0);")
            elif not p.raw:
                references.append(f"{t} &{p.name} = {variable}.at(i);")
        return "\n".join(
            [
                '#include "cuda_on_host.h"',
                *typedefs,
                f'#line 1 "preamble of {self.name}"',
                self.preamble,
                'extern "C" const char *cuda_on_host_loop(',
                "    ptrdiff_t _size, const cuda_on_host::ArrayArgument *_arrays) {",
                "cuda_on_host::error[0] = 0;",
                "const cuda_on_host::Indexer _ind{_size};",
                *wrappers,
                f"{self.loop_prep};",
                "for (ptrdiff_t i = 0; i < _size; ++i) {",
                *references,
                f'#line 1 "{self.name}"',
                f"{self.operation};",
                "}",
                f"{self.after_loop};",
                "return cuda_on_host::error;",
                "}\n",
            ]
        )


def _broadcast(array: Array, shape: tuple[int, ...]) -> Array:
    """`array` with `shape`; a repeated axis has stride 0."""
    return np.broadcast_to(np.asarray(array), shape)


# ------------------------------------------------------------------------------------------------
# Raw kernels

# NVRTC options that change nothing on the host; -D and -U are handled, others are errors.
_IGNORED_OPTIONS = re.compile(
    r"--?(std=c\+\+(11|14|17)|use_fast_math|lineinfo|generate-line-info|fmad=.*|ftz=.*"
    r"|prec-div=.*|prec-sqrt=.*|maxrregcount=.*|arch=.*|gpu-architecture=.*|I.*)"
)
_EXTERN_SHARED = re.compile(
    r"extern\s+__shared__\s+((?:__align__|alignas)\s*\(\s*\d+\s*\)\s*)?([\w:\s]+?)\s*(\w+)\s*\[\s*\]"
)
_BUFFER_BYTE = 0xFE


def _definitions(options: Sequence[str]) -> str:
    """`-DNAME=VALUE` options as text: on the command line they would reach the header too."""
    lines = []
    words = iter(options)
    for option in words:
        if match := re.fullmatch(r"-([DU])\s*(.*)", option):
            definition = match[2] or next(words)
            name, equals, value = definition.partition("=")
            if name == "T":
                raise ValueError(f"option {option!r}: NVRTC's own headers use the name T")
            if match[1] == "U":
                lines.append(f"#undef {name}")
            else:
                lines.append(f"#define {name} {value if equals else 1}")
        elif not _IGNORED_OPTIONS.fullmatch(option):
            raise ValueError(f"option {option!r} is not known to kernels on the host")
    return "\n".join(lines)


class _DeviceMemory:
    """Copies of array arguments with guard zones around them.

    Arrays that overlap share a copy, so that views of one buffer stay views of one buffer. Every
    copy has a fill of its own (a large negative number in any dtype): a kernel that copies what
    lies behind one array to what lies behind another does not go unnoticed.
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        self.spans: list[list[int]] = []
        bounds = {(a.ctypes.data, a.ctypes.data) if a.size == 0 else byte_bounds(a) for a in arrays}
        for low, high in sorted(bounds):
            if self.spans and low < self.spans[-1][1]:
                self.spans[-1][1] = max(high, self.spans[-1][1])
            else:
                self.spans.append([low, high])
        self.buffers = []
        for k, (low, high) in enumerate(self.spans):
            buffer = np.full(high - low + 2 * GUARD_BYTES + 256, _BUFFER_BYTE - k % 8, np.uint8)
            start = buffer.ctypes.data + GUARD_BYTES
            start += (low - start) % 256  # the copy is as well aligned as the original
            ctypes.memmove(start, low, high - low)
            self.buffers.append((buffer, start - buffer.ctypes.data))

    def address(self, array: Array) -> int:
        """Where the copy of `array` begins."""
        original = array.ctypes.data
        for (low, high), (buffer, offset) in zip(self.spans, self.buffers, strict=True):
            if low <= original < high or (low == high == original and array.size == 0):
                return int(buffer.ctypes.data + offset + original - low)
        raise AssertionError("array was not copied")

    def contents(self, k: int) -> Array:
        """The bytes of copy `k` without its guard zones."""
        (low, high), (buffer, offset) = self.spans[k], self.buffers[k]
        return buffer[offset : offset + high - low]

    def damage(self) -> tuple[int, int] | None:
        """Number of a copy and offset of the first byte that was written outside it."""
        for k, ((low, high), (buffer, offset)) in enumerate(
            zip(self.spans, self.buffers, strict=True)
        ):
            fill = _BUFFER_BYTE - k % 8
            for first, zone in (
                (0, buffer[:offset]),
                (offset + high - low, buffer[offset + high - low :]),
            ):
                touched = np.flatnonzero(zone != fill)
                if touched.size:
                    return k, int(touched[0]) + first - offset
        return None


class HostRawKernel:
    """`cupy.RawKernel` on NumPy arrays: one `extern "C" __global__` function of a CUDA source.

    Every launch runs twice on copies of the arrays: threads and blocks in rising order, then in
    falling order. Where the two differ the kernel has a race (unless it uses atomics, whose order
    is free). Reported as `HostLaunchError`:

    - a write next to an array argument or to the dynamic shared memory, and any memory fault;
    - a barrier or warp intrinsic that some threads of the block or the mask do not reach: they
      wait elsewhere or, for `__syncthreads`, have returned;
    - results that depend on the order of threads or blocks.

    Shared memory and the surroundings of arrays hold large negative numbers at the start, so that
    reading what nobody wrote shows in the results. Not supported: spinning on another block,
    dynamic parallelism, cooperative groups, textures, half and bfloat16 intrinsics, inline PTX,
    `#include` of CUDA headers, `__shared__` variables in function templates.
    """

    def __init__(
        self, code: str, name: str, options: Sequence[str] = (), backend: str = "nvrtc"
    ) -> None:
        _check_name(name)
        if isinstance(options, str):
            raise TypeError("options must be a tuple of strings")
        self.code, self.name, self.options, self.backend = code, name, tuple(options), backend
        self.max_dynamic_shared_size_bytes = 48 * 1024
        self._definitions = _definitions(self.options)

    def __call__(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
        stream: Any = None,
    ) -> None:
        """Launches the kernel on `grid` blocks of `block` threads and waits for it."""
        grid3, block3 = self._launch_shape(grid, block)
        if not 0 <= shared_mem <= self.max_dynamic_shared_size_bytes <= 227 * 1024:
            raise ValueError(
                f"{self.name}: shared_mem {shared_mem} exceeds max_dynamic_shared_size_bytes "
                f"{self.max_dynamic_shared_size_bytes} (of at most {227 * 1024})"
            )
        values = [self._value(a) for a in args]
        self._check_arguments(values)
        arrays = [v for v in values if isinstance(v, np.ndarray)]
        rising, falling = _DeviceMemory(arrays), _DeviceMemory(arrays)
        self._launch(grid3, block3, shared_mem, values, rising, reverse=False)
        if "atomic" not in self.code:
            self._launch(grid3, block3, shared_mem, values, falling, reverse=True)
            for k in range(len(rising.spans)):
                if not np.array_equal(rising.contents(k), falling.contents(k)):
                    culprit = self._argument_at(values, rising.spans[k][0])
                    raise HostLaunchError(
                        f"{self.name}: race: {culprit} depends on the order of threads or blocks"
                    )
        self._copy_back(values, rising)

    @staticmethod
    def _launch_shape(
        grid: Sequence[int], block: Sequence[int]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if not (1 <= len(grid) <= 3 and 1 <= len(block) <= 3):
            raise ValueError(f"grid {grid} and block {block} must have 1 to 3 dimensions")
        grid3, block3 = (*map(int, grid), 1, 1)[:3], (*map(int, block), 1, 1)[:3]
        grid_limits, block_limits = (2**31 - 1, 65535, 65535), (1024, 1024, 64)
        limits = zip(grid3 + block3, grid_limits + block_limits, strict=True)
        if not all(1 <= n <= limit for n, limit in limits) or math.prod(block3) > 1024:
            raise ValueError(f"no device launches grid {grid3} with block {block3}")
        return grid3, block3

    def _value(self, argument: Any) -> Any:
        """CuPy's conversion: arrays and None are pointers, Python's numbers take 8 bytes."""
        if argument is None or isinstance(argument, np.ndarray | np.generic):
            return argument
        for python_type, numpy_type in ((bool, np.bool_), (int, np.int64), (float, np.float64)):
            if isinstance(argument, python_type):
                return numpy_type(argument)
        raise TypeError(f"Unsupported type {type(argument)}")

    def _check_arguments(self, values: Sequence[Any]) -> None:
        """CUDA would reinterpret the bytes of a wrong argument; here it is an error."""
        signature = self._library.cuda_on_host_signature
        signature.restype = ctypes.c_char_p
        codes = signature().decode().split()
        if len(codes) != len(values):
            raise TypeError(
                f"{self.name} takes {len(codes)} arguments, but {len(values)} were given"
            )
        for k, (code, value) in enumerate(zip(codes, values, strict=True)):
            pointer, kind, size = code[0] == "*", code.lstrip("*")[0], int(code.lstrip("*")[1:])
            if value is None or (pointer and isinstance(value, np.uintp) and not value):
                fits = pointer  # np.uintp(0) is a null pointer too
            elif pointer != isinstance(value, np.ndarray):
                fits = False
            else:
                given = value.dtype
                integers = given.kind in "iu" and kind in "iu"
                fits = (
                    (pointer and (kind == "V" or size == 1))
                    or (given.kind == kind and given.itemsize == size)
                    or (
                        integers and (given.itemsize == size if pointer else given.itemsize >= size)
                    )
                )
            if not fits:
                what = getattr(value, "dtype", value)
                what = f"an array of {what}" if isinstance(value, np.ndarray) else f"{what}"
                raise TypeError(
                    f"argument {k} of {self.name} is {what}, but the kernel takes "
                    f"{'a pointer to ' if pointer else ''}{kind}{size}"
                )

    def _launch(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        shared_mem: int,
        values: Sequence[Any],
        memory: _DeviceMemory,
        *,
        reverse: bool,
    ) -> None:
        cells = []
        for value in values:
            if value is None or isinstance(value, np.ndarray):
                address = 0 if value is None else memory.address(value)
                cells.append(np.array([address], np.uintp))
            else:
                cells.append(np.array([value]))
        pointers = (ctypes.c_void_p * len(cells))(*(cell.ctypes.data for cell in cells))
        launch = self._library.cuda_on_host_launch
        launch.restype = ctypes.c_char_p
        three = ctypes.c_uint * 3
        with _one_at_a_time:
            stacks = _stacks(self._library)
            error = launch(
                *(three(*grid), three(*block), ctypes.c_size_t(shared_mem), int(reverse)),
                *(stacks, pointers),
            )
        if error:
            raise HostLaunchError(f"{self.name}: {error.decode()}")
        if damage := memory.damage():
            culprit = self._argument_at(values, memory.spans[damage[0]][0])
            raise HostLaunchError(
                f"{self.name}: out-of-bounds write at byte {damage[1]} of {culprit}"
            )

    @staticmethod
    def _argument_at(values: Sequence[Any], address: int) -> str:
        for k, value in enumerate(values):
            if isinstance(value, np.ndarray):
                low = byte_bounds(value)[0] if value.size else value.ctypes.data
                if low == address:
                    return f"argument {k} ({value.dtype}, shape {value.shape})"
        raise AssertionError("no argument lies there")

    @staticmethod
    def _copy_back(values: Sequence[Any], memory: _DeviceMemory) -> None:
        read_only = [v for v in values if isinstance(v, np.ndarray) and not v.flags.writeable]
        for k, (low, high) in enumerate(memory.spans):
            result = memory.contents(k)
            original = np.ctypeslib.as_array((ctypes.c_uint8 * (high - low)).from_address(low))
            if np.array_equal(result, original):
                continue
            if any(low <= v.ctypes.data < high for v in read_only):
                raise HostLaunchError("the kernel wrote to a read-only array")
            original[...] = result

    @functools.cached_property
    def _library(self) -> ctypes.CDLL:
        return _load(self.host_source())

    def host_source(self) -> str:
        """The C++ text that runs this kernel."""
        code = _EXTERN_SHARED.sub(
            lambda m: f"{m[2]} *const {m[3]} = ({m[2]} *)cuda_on_host::dynamic_shared", self.code
        )
        # Fewer lines than the declaration had would shift the line numbers in messages.
        return f"""#include "cuda_on_host.h"
{self._definitions}
#line 1 "{self.name}"
{code}
extern "C" const char *cuda_on_host_signature() {{ return cuda_on_host::signature({self.name}); }}
extern "C" const char *cuda_on_host_launch(const unsigned *grid, const unsigned *block,
                                           size_t shared_mem, int reversed, void *stacks,
                                           void **arguments) {{
    return cuda_on_host::launch(grid, block, shared_mem, reversed, stacks, [](void **arguments) {{
        cuda_on_host::call({self.name}, arguments, std::make_index_sequence<
            cuda_on_host::count_parameters(decltype(&{self.name})(nullptr))>());
    }}, arguments);
}}
extern "C" void *cuda_on_host_stacks() {{ return cuda_on_host::make_stacks(); }}
"""


# ------------------------------------------------------------------------------------------------
# NVRTC


def nvrtc_version() -> tuple[int, int] | None:
    """Version of the NVRTC that CuPy finds, or None if CuPy or NVRTC is not installed."""
    try:
        from cupy.cuda import nvrtc

        major, minor = nvrtc.getVersion()
    except (ImportError, RuntimeError):
        return None
    return major, minor


def nvrtc_compile(source: str, name: str, arch: str, options: Sequence[str] = ()) -> str:
    """Compiles CUDA text as CuPy would and returns the PTX. No device is needed.

    Args:
        source: the whole text; it may include CuPy's headers, not those of CUDA or the host.
        name: an `extern "C" __global__` function that the text must define.
        arch: "compute_75", "compute_90", ...
        options: further NVRTC options, such as "-DT=float".

    Raises:
        HostCompileError: with NVRTC's log.
    """
    from cupy._core import core
    from cupy.cuda import nvrtc

    # What CuPy adds to every kernel that it compiles.
    every = (*core.assemble_cupy_compiler_options(tuple(options)), "-ftz=true")
    program = nvrtc.createProgram(source, f"{name}.cu", (), ())
    try:
        nvrtc.compileProgram(
            program, (*every, "--device-as-default-execution-space", f"-arch={arch}")
        )
        ptx: bytes = nvrtc.getPTX(program)
    except nvrtc.NVRTCError as error:
        raise HostCompileError(nvrtc.getProgramLog(program) or str(error)) from None
    finally:
        nvrtc.destroyProgram(program)
    text = ptx.decode().rstrip("\0")
    if not re.search(rf"\.entry {re.escape(name)}\b", text):
        raise HostCompileError(f"the text defines no kernel {name}")
    return text


def elementwise_cuda_source(
    kernel: Any, dtypes: Mapping[str, Any], scalars: Sequence[str] = ()
) -> str:
    """The CUDA text that CuPy generates for an ElementwiseKernel, with the headers it includes.

    CuPy's own generator writes it: it runs without a device.

    Args:
        kernel: a `cupy.ElementwiseKernel` or `HostElementwiseKernel`.
        dtypes: the dtype of each generic type, {"T": "float32"}.
        scalars: names of parameters that the call passes as scalars; all others are contiguous
            arrays of one dimension.
    """
    import cupy
    from cupy._core import _kernel, core

    if isinstance(kernel, HostElementwiseKernel):
        loop = {"loop_prep": kernel.loop_prep, "after_loop": kernel.after_loop}
        in_params, out_params = (
            ", ".join(f"{'raw ' * p.raw}{p.dtype or p.type_name} {p.name}" for p in parameters)
            for parameters in (kernel.in_params, kernel.out_params)
        )
        kernel = cupy.ElementwiseKernel(
            *(in_params, out_params, kernel.operation, kernel.name),
            preamble=kernel.preamble,
            **loop,
        )
    loop = {k: v for k, v in kernel.kwargs.items() if k in ("loop_prep", "after_loop")}
    generic = {name: np.dtype(dtype).type for name, dtype in sorted(dtypes.items())}
    array, indexer, scalar = 1, 2, 3  # CuPy's codes for kinds of arguments
    infos = []
    for p in (*kernel.in_params, *kernel.out_params):
        dtype = generic[p.ctype] if p.dtype is None else np.dtype(p.dtype).type
        if p.name in scalars:
            infos.append(_kernel._ArgInfo(scalar, type(None), dtype, 0, True, True))
        else:
            infos.append(_kernel._ArgInfo(array, cupy.ndarray, dtype, 1, True, True))
    infos.append(_kernel._ArgInfo(indexer, type(None), None, 1, True, True))
    text = _kernel._get_elementwise_kernel_code(
        *(tuple(infos), _kernel._TypeMap(tuple(generic.items())), kernel.params),
        *(kernel.operation, kernel.name, kernel.preamble),
        **loop,
    )
    return "".join(f"#include <{header}>\n" for header in core._cupy_header_list) + str(text)
