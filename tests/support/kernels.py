"""The text of CUDA kernels, compiled and run by the host.

The text is what CuPy gives to NVRTC, with CuPy's own headers. `machine.h` supplies what CUDA C++ adds to
C++. These are not supported: waiting for another block in a loop, dynamic parallelism, cooperative groups,
textures, half and bfloat16 intrinsics, inline PTX, `#include` of CUDA's headers, and `__shared__` variables
in function templates.
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
    # Some distributions set this macro. It rejects a longjmp from one fiber's stack to another's.
    "-U_FORTIFY_SOURCE",
    # A misaligned access is a fault, as on a GPU.
    *("-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"),
)
STRICT = ("-ffp-contract=off",)
"""Each operation of the text is one IEEE operation."""

AS_A_GPU = (
    *("-ffp-contract=fast", "-fexpensive-optimizations"),  # one of these fuses
    *(("-mfma",) if platform.machine() == "x86_64" else ()),
)
"""A multiplication and an addition are fused, as by NVRTC."""

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
    """Build the library of a CUDA text, as NVRTC would with these options.

    Raises
    ------
    HostCompileError
        The compiler rejects the text; the message is the compiler's log.
    ValueError
        An option is not known.
    """
    flags = (*FLAGS, *(STRICT if exact else AS_A_GPU), *_include_options(options))
    headers = tuple(_INCLUDE.findall(code))
    first = MACHINE.read_text() + "".join(map(_inclusion, headers, itertools.repeat(flags)))
    return load(library(_host_text(code, options), precompiled(first, flags), flags))


@functools.cache
def _inclusion(header: str, flags: tuple[str, ...]) -> str:
    """Write the line that includes a header; its comment makes a changed header precompile again."""
    paths = [Path(flag[2:], header) for flag in flags if flag.startswith("-I")]
    found = next((path for path in paths if path.exists()), None)
    state = found.stat() if found else None
    version = f"{state.st_size} bytes of {state.st_mtime_ns}" if state else "not found"
    return f"#include <{header}>  // {version}\n"


def _host_text(code: str, options: Sequence[str]) -> str:
    """Write the C++ text: the kernels' own text, and a table of the kernels."""
    body = _EXTERN_SHARED.sub(
        lambda m: f"{m[2]} *const {m[3]} = ({m[2]} *)cuda_on_host::dynamic_shared", code
    )
    # The first header has these includes. An empty line stays, so that messages give the right lines.
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


# Options of NVRTC that change nothing on the host. -D, -U and -I are handled; others are errors.
_IGNORED = re.compile(
    r"--?(std=c\+\+(11|14|17)|use_fast_math|lineinfo|generate-line-info|fmad=.*|ftz=.*"
    r"|prec-div=.*|prec-sqrt=.*|maxrregcount=.*|arch=.*|gpu-architecture=.*"
    r"|device-as-default-execution-space)"
)


def _include_options(options: Sequence[str]) -> list[str]:
    """Keep only CuPy's folders: CUDA's own headers do not compile for a host."""
    return [o for o in options if o.startswith("-I") and "cupy" in Path(o[2:]).parts]


def _definitions(options: Sequence[str]) -> str:
    """Write `-DNAME=VALUE` options as text: on the command line they would also change the first header."""
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
    """The struct `cuda_on_host::Kernel`."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("n_parameters", ctypes.c_int32),
        ("sizes", ctypes.POINTER(ctypes.c_int32)),
        ("call", ctypes.c_void_p),
    )


class _Launch(ctypes.Structure):
    """The struct `cuda_on_host::Launch`."""

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
    """How a launch went.

    Attributes
    ----------
    error : str
        What went wrong, or "".
    order_matters : bool
        Whether results may depend on the order of threads, because these add floating-point numbers or
        exchange values atomically.
    """

    error: str
    order_matters: bool


class Kernel:
    """One kernel of a CUDA text; it is compiled when it is first needed.

    Attributes
    ----------
    code, options : str, tuple of str
        What NVRTC would be given.
    """

    def __init__(self, name: str, code: str, options: Sequence[str]) -> None:
        self.name, self.code, self.options = name, code, tuple(options)
        self._waits = bool(
            _WAITS.search(code)
        )  # whether a block's threads wait for each other or share memory
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
        """The sizes of the kernel's parameters, in bytes."""
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
        """Run the kernel on packed parameters.

        All kernels share the stacks of their threads, so the caller must run one kernel at a time.

        Parameters
        ----------
        grid, block : sequence of three int
            Blocks of the grid, and threads of a block.
        shared_bytes : int
            Bytes of dynamic shared memory.
        parameters : bytes
            The parameters' values, as `pack` makes them.
        exact : bool
            If true, each operation of the text is one IEEE operation. Otherwise multiplications and
            additions are fused, and in a kernel without doubles subnormal numbers are zero.
        backwards : bool
            Whether blocks and threads run in falling order.

        Returns
        -------
        Ran
            How the launch went.
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
        """Join the parameters' values at these addresses, each padded to 16 bytes, for `run`."""
        return b"".join(
            ctypes.string_at(address, size).ljust(_padded(size), b"\0")
            for address, size in zip(addresses, self.sizes, strict=True)
        )

    def words(self, parameters: bytes) -> list[tuple[int, bool]]:
        """Read each 8 bytes of the parameters, and whether they are the first of a parameter.

        A pointer is an array's address, and so are some words of CuPy's CArray and of a struct of pointers.
        Others may be anything: nothing writes to the gaps between the members of a struct.
        """
        words, offset = [], 0
        for size in self.sizes:
            for start in range(offset, offset + size - 7, 8):
                word = int.from_bytes(parameters[start : start + 8], sys.byteorder)
                words.append((word, start == offset))
            offset += _padded(size)
        return words


def _padded(size: int) -> int:
    return -(-size // 16) * 16


def names_in(code: str) -> list[str]:
    """Find the names of the kernels that a text defines."""
    return _KERNEL.findall(code)


_made_stacks: list[int] = []


def _stacks(loaded: ctypes.CDLL) -> int:
    """Return the address of the stacks on which the threads of all kernels run, one kernel at a time."""
    if not _made_stacks:
        loaded.cuda_on_host_stacks.restype = ctypes.c_void_p
        address = loaded.cuda_on_host_stacks()
        if address is None:
            raise MemoryError("no memory for the stacks of a block's threads")
        _made_stacks.append(address)
    return _made_stacks[0]
