"""The text of CUDA kernels, compiled and run by the host.

The text is what CuPy gives to NVRTC, CuPy's own headers with it; `machine.h` supplies what CUDA C++ has and
C++ has not. Not supported: spinning on another block, dynamic parallelism, cooperative groups, textures,
half and bfloat16 intrinsics, inline PTX, `#include` of CUDA's headers, `__shared__` variables in function
templates.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from .compiling import library, load, precompiled

__all__ = ["Kernel", "compile_text", "names_in"]

MACHINE = Path(__file__).with_name("machine.h")

FLAGS = (
    *("-O1", "-std=c++17", "-fno-fast-math", "-fPIC", "-w"),
    # Some distributions switch this on; it rejects a longjmp from one fiber's stack to another's.
    "-U_FORTIFY_SOURCE",
    # An access to an address that its type does not allow is a fault, as on a GPU.
    *("-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"),
)
STRICT = ("-ffp-contract=off",)
"""One operation of the text is one IEEE operation."""

AS_A_GPU = (
    *("-ffp-contract=fast", "-fexpensive-optimizations"),  # fusing is one of these
    *(("-mfma",) if platform.machine() == "x86_64" else ()),
)
"""Multiply and add are fused, as NVRTC fuses them."""

_KERNEL = re.compile(
    r'extern\s*"C"(?=[\s\w(),?:*<>]*__global__)(?:\s|void\b|__global__|__launch_bounds__\s*\([^;{]*?\)(?=\s))+'
    r"(\w+)\s*\("
)
_EXTERN_SHARED = re.compile(
    r"extern\s+__shared__\s+((?:__align__|alignas)\s*\(\s*\d+\s*\)\s*)?([\w:\s]+?)\s*(\w+)\s*\[\s*\]"
)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"](cupy/[^>"]+)[>"].*$', re.MULTILINE)
_DOUBLES = re.compile(r"typedef\s+double\b|<double\b")
_WAITS = re.compile(r"__sync|_sync\s*\(|__shared__")


def compile_text(code: str, options: Sequence[str], *, as_a_gpu: bool) -> ctypes.CDLL:
    """The library of a CUDA text, which NVRTC would take with these options.

    Raises
    ------
    HostCompileError : the compiler rejects it, with the compiler's log.
    ValueError : an option that is not known.
    """
    flags = (*FLAGS, *(AS_A_GPU if as_a_gpu else STRICT), *_include_options(options))
    headers = tuple(_INCLUDE.findall(code))
    first = MACHINE.read_text() + "".join(f"#include <{header}>\n" for header in headers)
    return load(library(_host_text(code, options), precompiled(first, flags), flags))


def _host_text(code: str, options: Sequence[str]) -> str:
    """The C++ text: the kernels' own, and a table of them."""
    body = _EXTERN_SHARED.sub(
        lambda m: f"{m[2]} *const {m[3]} = ({m[2]} *)cuda_on_host::dynamic_shared", code
    )
    # They stand in the first header. A line is left, so that line numbers in messages are the text's.
    body = _INCLUDE.sub("", body)
    rows = "".join(f"    CUDA_ON_HOST_KERNEL({name}),\n" for name in names_in(code))
    return f"""#include "first.h"
{_definitions(options)}
#line 1 "kernel.cu"
{body}
namespace cuda_on_host {{
extern "C" const Kernel cuda_on_host_kernels[] = {{
{rows}    {{}}}};
extern "C" const char *cuda_on_host_launch(const Launch *what, const Kernel *kernel, void **arguments) {{
    return launch(*what, kernel->call, arguments);
}}
extern "C" void *cuda_on_host_stacks() {{ return make_stacks(); }}
}}
"""


# NVRTC's options that change nothing on the host; -D, -U and -I are handled, others are errors.
_IGNORED = re.compile(
    r"--?(std=c\+\+(11|14|17)|use_fast_math|lineinfo|generate-line-info|fmad=.*|ftz=.*"
    r"|prec-div=.*|prec-sqrt=.*|maxrregcount=.*|arch=.*|gpu-architecture=.*"
    r"|device-as-default-execution-space)"
)


def _include_options(options: Sequence[str]) -> list[str]:
    """CuPy's folders alone: CUDA's own headers are not for a host."""
    return [o for o in options if o.startswith("-I") and "cupy" in Path(o[2:]).parts]


def _definitions(options: Sequence[str]) -> str:
    """`-DNAME=VALUE` options as text: on the command line they would reach the first header too."""
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
        elif not option.startswith("-I") and not _IGNORED.fullmatch(option):
            raise ValueError(f"option {option!r} is not known to kernels on the host")
    return "\n".join(lines)


class _KernelRow(ctypes.Structure):
    """`cuda_on_host::Kernel`."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("n_parameters", ctypes.c_int32),
        ("sizes", ctypes.POINTER(ctypes.c_int32)),
        ("call", ctypes.c_void_p),
    )


class _Launch(ctypes.Structure):
    """`cuda_on_host::Launch`."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint64),
        ("reversed", ctypes.c_int32),
        ("waits", ctypes.c_int32),
        ("flushes", ctypes.c_int32),
        ("stacks", ctypes.c_void_p),
    )


class Kernel:
    """One function of a CUDA text, which is compiled when it is needed.

    Attributes
    ----------
    code, options : what NVRTC is given.
    waits : whether a block's threads wait for each other, or share memory.
    is_atomic : whether the order of threads may change its results.
    """

    def __init__(self, name: str, code: str, options: Sequence[str], as_a_gpu: bool) -> None:
        self.name, self.code, self.options = name, code, tuple(options)
        self._as_a_gpu = as_a_gpu
        self.waits, self.is_atomic = bool(_WAITS.search(code)), "atomic" in _INCLUDE.sub("", code)
        self._flushes = as_a_gpu and not _DOUBLES.search(code)

    @functools.cached_property
    def _library(self) -> ctypes.CDLL:
        loaded = compile_text(self.code, self.options, as_a_gpu=self._as_a_gpu)
        loaded.cuda_on_host_launch.restype = ctypes.c_char_p
        return loaded

    @functools.cached_property
    def _row(self) -> _KernelRow:
        names = names_in(self.code)
        table = (_KernelRow * len(names)).in_dll(self._library, "cuda_on_host_kernels")
        return table[names.index(self.name)]

    @functools.cached_property
    def sizes(self) -> tuple[int, ...]:
        """Of its parameters, in bytes."""
        return tuple(self._row.sizes[: self._row.n_parameters])

    def run(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        shared_bytes: int,
        parameters: bytes,
        *,
        backwards: bool = False,
    ) -> str:
        """Run it on parameters that stand one behind the other; what went wrong, or nothing.

        `backwards` runs blocks and threads in falling order. Kernels run one at a time: they share the
        stacks of their threads, and the caller sees to it.
        """
        buffer = ctypes.create_string_buffer(parameters, max(1, len(parameters)))
        pointers, offset = (ctypes.c_void_p * max(1, len(self.sizes)))(), 0
        for k, size in enumerate(self.sizes):
            pointers[k] = ctypes.addressof(buffer) + offset
            offset += _padded(size)
        launch = _Launch(
            *((ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(*block), shared_bytes),
            *(backwards, self.waits, bool(self._flushes), _stacks(self._library)),
        )
        error = self._library.cuda_on_host_launch(
            ctypes.byref(launch), ctypes.byref(self._row), pointers
        )
        return str(error.decode())

    def pack(self, addresses: Sequence[int]) -> bytes:
        """The parameters' values, read where the addresses say, as `run` takes them."""
        return b"".join(
            ctypes.string_at(address, size).ljust(_padded(size), b"\0")
            for address, size in zip(addresses, self.sizes, strict=True)
        )

    def first_words(self, parameters: bytes) -> list[int]:
        """Of each parameter that is large enough, the first 8 bytes: of pointers and CuPy's CArray, where
        the array lies. What stands behind may be anything."""
        words, offset = [], 0
        for size in self.sizes:
            if size >= 8:
                words.append(int.from_bytes(parameters[offset : offset + 8], sys.byteorder))
            offset += _padded(size)
        return words


def _padded(size: int) -> int:
    return -(-size // 16) * 16


def names_in(code: str) -> list[str]:
    """The kernels that a text defines."""
    return _KERNEL.findall(code)


@functools.cache
def _made_stacks() -> list[int]:
    return []


def _stacks(loaded: ctypes.CDLL) -> int:
    """The stacks that all kernels' threads run on, one kernel at a time."""
    if not _made_stacks():
        loaded.cuda_on_host_stacks.restype = ctypes.c_void_p
        address = loaded.cuda_on_host_stacks()
        if address is None:
            raise MemoryError("no memory for the stacks of a block's threads")
        _made_stacks().append(address)
    return _made_stacks()[0]
