"""How CUDA text becomes a kernel; the same for every entry of every table.

`cupy` is passed in, never imported: a machine without it can import every kernel file. Kernels are built
once per text and type. A launcher binds one to its arrays: a launch is then one call of CuPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from ..typing import Array, Bound
from .text import text_of

__all__ = [
    "by_rows",
    "by_vectors",
    "c_type",
    "elementwise",
    "operand_type",
    "raw",
    "vector_size",
]


VECTOR_BYTES = 16
THREADS, MOST_BLOCKS_DOWN = 256, 4096
"""Threads of a block, and the most blocks over a batch's rows; an H100 does as well with half."""


@cache
def elementwise(
    cupy: Any, inputs: str, outputs: str, operation: str, name: str, preamble: str = ""
) -> Any:
    """A cupy.ElementwiseKernel; outputs are always given by the caller, and may be read."""
    return cupy.ElementwiseKernel(
        inputs, outputs, operation, name, preamble=text_of("compute.cuh") + preamble, no_return=True
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


@cache
def raw(cupy: Any, file: str, name: str, preamble: str = "", **types: str) -> Any:
    """A cupy.RawKernel from `preamble` and a .cu file, with types named as it names them: T="float".

    Types are typedefs, not -D options: a macro called T would rewrite the compiler's own headers.
    """
    typedefs = "".join(f"typedef {c_type} {alias};\n" for alias, c_type in types.items())
    code = text_of("compute.cuh") + text_of("narrow.cuh") + preamble + typedefs + text_of(file)
    return cupy.RawKernel(code, name, options=("-std=c++17",))


def by_rows(
    cupy: Any,
    name: str,
    shape: tuple[int, int],
    moved: Sequence[Array],
    text: str = "",
    **types: str,
) -> Callable[..., Bound]:
    """Give what binds the kernel of `name`.cu to its arguments; its threads go down the rows of a batch.

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
    """How many neighbouring elements a thread moves at once.

    They are as many as fit 16 bytes of each of the arrays, and no more than `most`. Where the rows, of
    `width` elements, or the addresses do not allow it, it is one.
    """
    size: int = min(most, VECTOR_BYTES // max(array.itemsize for array in moved))
    if width % size or any(array.data.ptr % (size * array.itemsize) for array in moved):
        return 1
    return size


@cache
def by_vectors(cupy: Any, name: str, size: int, text: str, **types: str) -> Any:
    """The kernel of `name`.cu whose VECTOR is `size`.

    It is found without putting its text together, which takes longer than to launch it.
    """
    vector = f"constexpr int VECTOR = {size};\n" + text_of("vector.cuh")
    return raw(cupy, f"{name}.cu", name, vector + text, **types)
