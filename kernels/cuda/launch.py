"""Make CuPy kernels from CUDA text, in the same way for every table entry.

`cupy` is an argument and never imported: every kernel file can be imported on a machine without CuPy. A
kernel is built once for each text and type. A launcher binds a kernel to its arrays; a launch is then one
call of CuPy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from ..typing import Array, Bound
from .text import text_of

__all__ = [
    "FORMS",
    "by_elements",
    "by_rows",
    "by_vectors",
    "c_type",
    "elementwise",
    "operand_type",
    "raw",
    "vector_size",
]

FORMS = ("rows", "elementwise")
"""The forms of bias and activation, of the product with σ′, and of the output delta.

"rows" is the kernel of a .cu file, which `by_rows` binds. "elementwise" is the same formula as a
cupy.ElementwiseKernel, which is easier to read, and a check of the other.
"""

VECTOR_BYTES = 16
THREADS, MOST_BLOCKS_DOWN = 256, 4096
"""The threads of a block, and the most blocks along a batch's rows; half of them are as fast on an H100."""


@cache
def elementwise(
    cupy: Any, inputs: str, outputs: str, operation: str, name: str, preamble: str = ""
) -> Any:
    """Make a cupy.ElementwiseKernel. Callers always pass the outputs; the kernel may read them."""
    return cupy.ElementwiseKernel(
        inputs, outputs, operation, name, preamble=text_of("compute.cuh") + preamble, no_return=True
    )


def by_elements(
    cupy: Any, name: str, inputs: str, outputs: str, operation: str, text: str
) -> Callable[..., Bound]:
    """Return a function that binds an ElementwiseKernel of this operation to its arguments.

    Arguments are broadcast. They may be operands of matmuls: the operation reads them by `compute` and
    writes them by `store`, as elementwise.cuh explains.
    """
    preamble = text_of("narrow.cuh") + text_of("elementwise.cuh") + text
    kernel = elementwise(cupy, inputs, outputs, operation, f"{name}_elementwise", preamble)

    def bind(*arguments: Any) -> Bound:
        bits = (a.view(np.int16) if a.dtype == np.float16 else a for a in arguments)
        return partial(kernel, *bits)

    return bind


# The keys are dtype characters: to look up a dtype's character costs nothing, unlike its name.
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
    """Return the CUDA name of the array's element type."""
    return C_TYPES[array.dtype.char]


def operand_type(array: Array) -> str:
    """Return the CUDA name of an operand's element type; uint16 stands for bfloat16."""
    return {"e": "Half", "H": "BFloat"}.get(array.dtype.char) or c_type(array)


@cache
def raw(cupy: Any, file: str, name: str, preamble: str = "", **types: str) -> Any:
    """Make a cupy.RawKernel from `preamble` and a .cu file; `types` sets the file's types: T="float".

    Types are typedefs, not -D options, because a macro named T would change the compiler's headers.
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
    """Return a function that binds the kernel of `name`.cu; its threads go down the rows of a batch.

    A thread reads or writes `vector_size` neighbouring columns of the arrays in `moved`. The kernel's last
    two arguments are added here: the rows, a long long, and the columns, an int.
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
    """Return the number of neighbouring elements that a thread moves at once.

    It is as many elements of each array as fit 16 bytes, and at most `most`. It is one if the addresses or
    the length of the rows, `width` elements, are not multiples of it.
    """
    size: int = min(most, VECTOR_BYTES // max(array.itemsize for array in moved))
    if width % size or any(array.data.ptr % (size * array.itemsize) for array in moved):
        return 1
    return size


@cache
def by_vectors(cupy: Any, name: str, size: int, text: str, **types: str) -> Any:
    """Find the kernel of `name`.cu whose VECTOR is `size`.

    A cache finds it by these arguments, because to join its text takes longer than the launch.
    """
    vector = f"constexpr int VECTOR = {size};\n" + text_of("vector.cuh")
    return raw(cupy, f"{name}.cu", name, vector + text, **types)
