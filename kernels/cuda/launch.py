"""How CUDA text becomes a kernel; the same for every entry of every table.

`cupy` is passed in, never imported: a machine without it can import every kernel file. Kernels are built
once per text and type. A launcher binds one to its arrays: a launch is then one call of CuPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib import resources
from typing import Any

import numpy as np

from ..typing import Array, Bound

__all__ = [
    "by_rows",
    "by_vectors",
    "c_type",
    "device_function",
    "elementwise",
    "operand_type",
    "raw",
    "source",
    "vector_size",
]


# Arithmetic is done in `compute`'s result type: a type narrower than float widens here and nowhere else.
COMPUTE = """
__device__ __forceinline__ float compute(float x) { return x; }
__device__ __forceinline__ double compute(double x) { return x; }
"""

# Types narrower than float, without CUDA's headers, which NVRTC does not always find. Both are rounded to
# the nearest, ties to even.
NARROW = """
struct Half {
    unsigned short bits;
    Half() = default;
    __device__ __forceinline__ Half(float x) {
#ifdef __CUDACC__
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#else  // the tests' emulation
        const _Float16 rounded = x;
        memcpy(&bits, &rounded, 2);
#endif
    }
};
__device__ __forceinline__ float compute(Half x) {
#ifdef __CUDACC__
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
    return wide;
#else
    _Float16 narrow;
    memcpy(&narrow, &x.bits, 2);
    return narrow;
#endif
}

struct BFloat {
    unsigned short bits;
    BFloat() = default;
    __device__ __forceinline__ BFloat(float x) {
        const unsigned int wide = __float_as_uint(x);
        bits = x == x ? (wide + 0x7fff + (wide >> 16 & 1)) >> 16 : wide >> 16 | 0x40;
    }
};
__device__ __forceinline__ float compute(BFloat x) { return __uint_as_float((unsigned int)x.bits << 16); }
"""


# What a thread moves at once, and the rows it goes over; `by_rows`, the launcher, says how much that is.
VECTOR = """
constexpr int VECTOR = {size};
template <typename T> struct alignas(sizeof(T) * VECTOR) Vector {{ T value[VECTOR]; }};
template <typename T> __device__ __forceinline__ Vector<T> load(const T* from) {{
    return *reinterpret_cast<const Vector<T>*>(from);
}}
template <typename T> __device__ __forceinline__ void store(T* to, Vector<T> values) {{
    *reinterpret_cast<Vector<T>*>(to) = values;
}}

// body(row, column) for each of the thread's rows and the first of its VECTOR columns.
template <typename Body> __device__ __forceinline__ void by_rows(long long rows, int columns, Body body) {{
    const int column = (blockIdx.x * blockDim.x + threadIdx.x) * VECTOR;
    if (column >= columns) return;
    const long long step = (long long)gridDim.y * blockDim.y;
#pragma unroll 1  // unrolled, it would begin with a division, and few threads have many rows
    for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += step) body(row, column);
}}
"""
VECTOR_BYTES = 16
THREADS, MOST_BLOCKS_DOWN = 256, 4096
"""Threads of a block, and the most blocks over a batch's rows; an H100 does as well with half."""


# What blocks of one launch share: the last of them to arrive goes on with what all have left.
ARRIVE = """
// Counts a block that has left its sums in memory; returns how many have before. What this thread wrote, or
// waited for in a barrier, is seen by whoever counts later, and by the threads that then wait for that one.
__device__ __forceinline__ unsigned int arrive(unsigned int* arrivals) {
#ifdef __CUDACC__  // release and acquire cost less than the fences of atomicAdd
    unsigned int before;
    asm volatile("atom.add.acq_rel.gpu.u32 %0, [%1], 1;" : "=r"(before) : "l"(arrivals) : "memory");
    return before;
#else  // the tests' emulation
    return atomicAdd(arrivals, 1u);
#endif
}
"""


def device_function(
    name: str, arguments: str, body: str, constants: Mapping[str, float] | None = None
) -> str:
    """CUDA text of `template <typename T> T name(T argument, ...)` around `body`."""
    head = ", ".join(f"T {argument}" for argument in arguments.split())
    declared = " ".join(
        f"const T {key} = T({value!r});" for key, value in (constants or {}).items()
    )
    return f"template <typename T> __device__ __forceinline__ T {name}({head}) {{ {declared} {body} }}\n"


@cache
def elementwise(
    cupy: Any, inputs: str, outputs: str, operation: str, name: str, preamble: str = ""
) -> Any:
    """A cupy.ElementwiseKernel; outputs are always given by the caller, and may be read."""
    return cupy.ElementwiseKernel(
        inputs, outputs, operation, name, preamble=COMPUTE + preamble, no_return=True
    )


# By the character of a dtype, which unlike its name costs nothing to look up.
C_TYPES = {
    np.dtype(name).char: c_type
    for name, c_type in {
        "float32": "float", "float64": "double", "bool": "bool",
        "int8": "signed char", "int16": "short", "int32": "int", "int64": "long long",
        "uint8": "unsigned char", "uint16": "unsigned short", "uint32": "unsigned int",
        "uint64": "unsigned long long",
    }.items()
} | {"q": "long long", "Q": "unsigned long long"}  # fmt: skip


def c_type(array: Array) -> str:
    """What CUDA calls the type of the array's elements."""
    return C_TYPES[array.dtype.char]


def operand_type(array: Array) -> str:
    """What CUDA calls the type of an array that matmuls may read; uint16 holds the bits of a bfloat16."""
    return {"e": "Half", "H": "BFloat"}.get(array.dtype.char) or c_type(array)


def source(file: str) -> str:
    """The text of a .cu file of this package."""
    return (resources.files(__package__) / file).read_text(encoding="utf-8")


@cache
def raw(cupy: Any, file: str, name: str, preamble: str = "", **types: str) -> Any:
    """A cupy.RawKernel from `preamble` and a .cu file, with types named as it names them: T="float".

    Types are typedefs, not -D options: a macro called T would rewrite the compiler's own headers.
    """
    typedefs = "".join(f"typedef {c_type} {alias};\n" for alias, c_type in types.items())
    code = COMPUTE + NARROW + preamble + typedefs + source(file)
    return cupy.RawKernel(code, name, options=("-std=c++17",))


def by_rows(
    cupy: Any,
    name: str,
    shape: tuple[int, int],
    moved: Sequence[Array],
    text: str = "",
    **types: str,
) -> Callable[..., Bound]:
    """Binds the kernel of `name`.cu, whose threads go down the rows of a batch of this shape, to its
    arguments.

    A thread has `vector_size` neighbouring columns of the arrays that are `moved`. The kernel's last
    arguments are the rows, a long long, and the columns, an int; they are added here.
    """
    rows, columns = shape
    size = vector_size(moved, columns)
    kernel = by_vectors(cupy, name, size, text, **types)
    across = columns // size
    width = min(32, 1 << (across - 1).bit_length())
    height = THREADS // width
    grid = -(-across // width), min(-(-rows // height), MOST_BLOCKS_DOWN)

    def bind(*arguments: Any) -> Bound:
        numbers = np.int64(rows), np.int32(columns)
        return partial(kernel, grid, (width, height), (*arguments, *numbers))

    return bind


def vector_size(moved: Sequence[Array], width: int = 0, most: int = VECTOR_BYTES) -> int:
    """Neighbouring elements that a thread moves at once: as many as fit 16 bytes of each of the arrays, and
    no more than `most`, where their rows, of `width` elements, and their addresses allow it; else one."""
    size: int = min(most, VECTOR_BYTES // max(array.itemsize for array in moved))
    if width % size or any(array.data.ptr % (size * array.itemsize) for array in moved):
        return 1
    return size


@cache
def by_vectors(cupy: Any, name: str, size: int, text: str, **types: str) -> Any:
    """The kernel of `name`.cu whose VECTOR is `size`; found without putting its text together, which takes
    longer than to launch it."""
    return raw(cupy, f"{name}.cu", name, VECTOR.format(size=size) + text, **types)
