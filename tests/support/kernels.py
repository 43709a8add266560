"""The text of CUDA kernels, compiled and run by the host.

The text is what CuPy gives to NVRTC, CuPy's own headers with it; `machine.h` supplies what CUDA C++ adds to
C++. Not supported: spinning on another block, dynamic parallelism, cooperative groups, textures,
half and bfloat16 intrinsics, inline PTX, `#include` of CUDA's headers, `__shared__` variables in function
templates.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .compiling import library, load, precompiled

__all__ = ["Kernel", "Ran", "compile_text", "names_in"]

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


def compile_text(code: str, options: Sequence[str], *, exact: bool) -> ctypes.CDLL:
    """The library of a CUDA text, which NVRTC would take with these options.

    Raises
    ------
    HostCompileError
        The compiler rejects it, with the compiler's log.
    ValueError
        An option that is not known.
    """
    flags = (*FLAGS, *(STRICT if exact else AS_A_GPU), *_include_options(options))
    headers = tuple(_INCLUDE.findall(code))
    first = MACHINE.read_text() + "".join(map(_inclusion, headers, itertools.repeat(flags)))
    return load(library(_host_text(code, options), precompiled(first, flags), flags))


@functools.cache
def _inclusion(header: str, flags: tuple[str, ...]) -> str:
    """The line that includes a header, and which one it is: another has another precompiled form."""
    paths = [Path(flag[2:], header) for flag in flags if flag.startswith("-I")]
    found = next((path for path in paths if path.exists()), None)
    state = found.stat() if found else None
    version = f"{state.st_size} bytes of {state.st_mtime_ns}" if state else "not found"
    return f"#include <{header}>  // {version}\n"


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
extern "C" const char *cuda_on_host_launch(Launch *what, const Kernel *kernel, void **arguments) {{
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
        ("order_matters", ctypes.c_int32),
        ("stacks", ctypes.c_void_p),
    )


class Ran(NamedTuple):
    """How a launch went: what went wrong, or nothing; and whether its results may depend on the order of
    its threads, because they add floating-point numbers or exchange values."""

    error: str
    order_matters: bool


class Kernel:
    """One function of a CUDA text, which is compiled when it is needed.

    Attributes
    ----------
    code, options : str, tuple of str
        What NVRTC is given.
    """

    def __init__(self, name: str, code: str, options: Sequence[str]) -> None:
        self.name, self.code, self.options = name, code, tuple(options)
        self._waits = bool(
            _WAITS.search(code)
        )  # a block's threads for each other, or they share memory
        self._has_doubles = bool(_DOUBLES.search(code))
        self._built: dict[bool, tuple[ctypes.CDLL, _KernelRow]] = {}

    def _build(self, exact: bool) -> tuple[ctypes.CDLL, _KernelRow]:
        if exact not in self._built:
            loaded = compile_text(self.code, self.options, exact=exact)
            loaded.cuda_on_host_launch.restype = ctypes.c_char_p
            names = names_in(self.code)
            table = (_KernelRow * len(names)).in_dll(loaded, "cuda_on_host_kernels")
            self._built[exact] = loaded, table[names.index(self.name)]
        return self._built[exact]

    @functools.cached_property
    def sizes(self) -> tuple[int, ...]:
        """Of its parameters, in bytes."""
        _, row = self._build(next(iter(self._built), False))
        return tuple(row.sizes[: row.n_parameters])

    def run(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        shared_bytes: int,
        parameters: bytes,
        *,
        exact: bool,
        backwards: bool = False,
    ) -> Ran:
        """Run it on parameters that stand one behind the other.

        Kernels run one at a time: they share the stacks of their threads, and the caller sees to it.

        Parameters
        ----------
        exact : bool
            One operation of the text is one IEEE operation. Otherwise multiplications and additions are
            fused, and without doubles subnormal numbers are zero.
        backwards : bool
            Blocks and threads come in falling order.
        """
        loaded, row = self._build(exact)
        buffer = ctypes.create_string_buffer(parameters, max(1, len(parameters)))
        pointers, offset = (ctypes.c_void_p * max(1, len(self.sizes)))(), 0
        for k, size in enumerate(self.sizes):
            pointers[k] = ctypes.addressof(buffer) + offset
            offset += _padded(size)
        flushes = not exact and not self._has_doubles
        launch = _Launch(
            *((ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(*block), shared_bytes),
            *(backwards, self._waits, flushes, False, _stacks(loaded)),
        )
        error = loaded.cuda_on_host_launch(ctypes.byref(launch), ctypes.byref(row), pointers)
        return Ran(error.decode(), bool(launch.order_matters))

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


_made_stacks: list[int] = []


def _stacks(loaded: ctypes.CDLL) -> int:
    """The stacks that all kernels' threads run on, one kernel at a time."""
    if not _made_stacks:
        loaded.cuda_on_host_stacks.restype = ctypes.c_void_p
        address = loaded.cuda_on_host_stacks()
        if address is None:
            raise MemoryError("no memory for the stacks of a block's threads")
        _made_stacks.append(address)
    return _made_stacks[0]
