"""Products of small matrices, each fused with the operation after it, by matmul.cu.

cuBLAS computes large products. The time of a small product is mostly that of its launch. One kernel that
multiplies, adds the bias and applies the activation is therefore faster than cuBLAS and a second kernel.
The NumPy twins are `numpy.matmul` and the twins of the fused operations; the tests compare with them. On
the CPU BLAS computes a product of arrays, in steps; columns.py has products of `Columns`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from .activations import Activation
from .cpu.calls import Call, bind
from .cuda import launch
from .cuda.text import device_function, text_of
from .row_block import RowBlock
from .typing import Array, Bound

__all__ = [
    "ARRIVALS",
    "LaunchMemory",
    "Product",
    "is_small",
    "layer_backward_product",
    "layer_forward_product",
    "layer_gradients_product",
    "matmul_cpu",
    "matmul_cuda",
    "parts_of",
    "product",
    "product_text",
]


SMALL_WORK, LEAST_WIDTH, MOST_INNER = 2**27, 4, 8192
"""Limits of a small product: the most multiply-adds, the fewest rows or columns, and the longest sums.
cuBLAS is faster at thin products, and at large ones, whose time is that of the arithmetic. Products with
longer sums go to cuBLAS too: column_sums.cu then computes the biases' gradient and loses fewer digits."""


class Tiling(NamedTuple):
    """How a product is cut into pieces: a block computes one piece.

    Attributes
    ----------
    rows, columns : int
        The size of a piece.
    each_row, each_column : int
        The rows and columns of the piece that one thread computes.
    step : int
        The length of the inner dimension that a block loads at once; half of it in float64.
    """

    rows: int
    columns: int
    each_row: int
    each_column: int
    step: int

    def blocks(self, rows: int, columns: int) -> int:
        """Count the pieces of a product of this size."""
        return -(-rows // self.rows) * -(-columns // self.columns)


NARROW, NARROW_FORWARD, WIDE_FORWARD = (
    Tiling(32, 32, 4, 4, 32),
    Tiling(32, 32, 4, 4, 64),
    Tiling(64, 64, 8, 4, 32),
)
"""The best of several tilings measured on an H100, for a layer's products. In the forward product, the
inner dimension of both operands is contiguous in memory; longer steps are faster there."""

WIDE_BLOCKS = 128
"""A forward product gets wide pieces if it then has at least this many."""

THREADS = 256
"""The threads of a block."""

BLOCKS, LEAST_STEP, MOST_PARTS = 128, 64, 16
"""With fewer than BLOCKS blocks, parts of a GPU are idle. The inner dimension is then cut into parts, each
at least LEAST_STEP long. There are MOST_PARTS parts at most, because one block adds them up."""

ARRIVALS = 1024
"""The size of the arrays that count arrivals, one element for each piece of a product whose inner dimension
is cut. Such a product always has fewer pieces."""

KINDS = "constexpr int PRODUCT = 0, FORWARD = 1, BACKWARD = 2, GRADIENT = 3, OUTPUT = 4;\n"


class LaunchMemory(Protocol):
    """Memory that a launch may use; a CUDA backend provides it."""

    def temporary(self, size: int, dtype: Any) -> Array:
        """Return memory for one launch and for its replays."""

    def arrivals(self) -> Array:
        """Return zeros, uint32, (ARRIVALS,); launches that may run at the same time get two arrays."""


def is_small(rows: int, columns: int, inner: int) -> bool:
    """Whether `matmul_cuda`, not cuBLAS, computes a product of this size."""
    thin = min(rows, columns) < LEAST_WIDTH < inner
    fits = rows <= 32 * 65535  # a grid's second dimension has at most 65535 blocks
    short = inner <= MOST_INNER and rows * columns * inner <= SMALL_WORK
    return fits and short and not thin


def tiling_of(rows: int, columns: int, forward: bool, double: bool) -> Tiling:
    """Choose how a product of this size is cut into pieces."""
    if not forward or double:  # wide pieces of float64 do not fit a block's memory
        return NARROW
    return WIDE_FORWARD if WIDE_FORWARD.blocks(rows, columns) >= WIDE_BLOCKS else NARROW_FORWARD


def parts_of(tiling: Tiling, rows: int, columns: int, inner: int) -> int:
    """Choose the number of parts that the inner dimension is cut into."""
    blocks = tiling.blocks(rows, columns)
    return max(1, min(BLOCKS // blocks, inner // LEAST_STEP, MOST_PARTS))


class ProductArguments(NamedTuple):
    """The arguments of `Product::run` in product.cuh, from `a` to `beta`; an absent array is null."""

    a: Any
    b: Any
    out: Any
    z: Any
    v: Any
    biases: Any
    partial: Any
    arrivals: Any
    rows: Any
    columns: Any
    inner: Any
    step: Any
    alpha: Any
    beta: Any


@dataclass(frozen=True, eq=False)
class Product:
    """A product with the operation after it, bound to its arrays; `call` makes the launch.

    Attributes
    ----------
    constants : str
        CUDA text of the constants and types that product.cuh reads, as members of a struct.
    text : str
        CUDA text of `activation` or `derivative`; "" if the operation needs neither.
    grid : tuple of int
        The number of pieces across and down, and the number of parts of the inner dimension.
    arguments : ProductArguments
        The arguments.
    x : RowBlock or None
        The rows that it reads by an order. joined.cu makes its launch then.
    """

    constants: str
    text: str
    grid: tuple[int, int, int]
    arguments: ProductArguments
    x: RowBlock | None = None

    def call(self, cupy: Any) -> Bound:
        """Return a function that computes the product in a launch of its own, by matmul.cu."""
        kernel = _kernel(cupy, f"struct Only {{\n{self.constants}}};\n", self.text)
        return partial(kernel, self.grid, (THREADS,), self.arguments)


def matmul_cuda(
    cupy: Any,
    a: Array,
    b: Array,
    out: Array,
    transpose_a: bool,
    transpose_b: bool,
    alpha: float,
    beta: float,
    memory: LaunchMemory,
) -> Bound:
    """Bind out = alpha op(a) op(b) + beta out."""
    return product("PRODUCT", "", a, b, out, transpose_a, transpose_b, memory, alpha, beta).call(
        cupy
    )


def layer_forward_product(
    activation: Activation,
    x: Array | RowBlock,
    weights: Array,
    biases: Array | None,
    z: Array | None,
    a: Array,
    memory: LaunchMemory,
) -> Product:
    """Bind a = σ(x wᵀ + b); x wᵀ + b is written to `z` unless `z` is None."""
    text = activation.activation_text
    return product("FORWARD", text, x, weights, a, False, True, memory, z=z, biases=biases)


def layer_backward_product(
    activation: Activation,
    delta: Array,
    weights: Array,
    v: Array,
    out: Array,
    memory: LaunchMemory,
) -> Product:
    """Bind out = (δ w) ⊙ σ′(v), where `v` is the a or z that the derivative reads."""
    text = activation.derivative_text
    return product("BACKWARD", text, delta, weights, out, False, False, memory, v=v)


def layer_gradients_product(
    delta: Array,
    a: Array | RowBlock,
    weights: Array,
    biases: Array | None,
    beta: float,
    memory: LaunchMemory,
) -> Product:
    """Bind weights = δᵀ a + beta weights and biases = column sums of δ + beta biases."""
    options = True, False, memory, 1.0, beta
    return product("GRADIENT", "", delta, a, weights, *options, biases=biases)


def product(
    kind: str,
    text: str,
    a: Array | RowBlock,
    b: Array | RowBlock,
    out: Array,
    transpose_a: bool,
    transpose_b: bool,
    memory: LaunchMemory,
    alpha: float = 1.0,
    beta: float = 0.0,
    *,
    z: Array | None = None,
    v: Array | None = None,
    biases: Array | None = None,
    tiling: Tiling | None = None,
) -> Product:
    """Bind a product of one of the kinds of product.cuh. One operand may be a `RowBlock`."""
    block = a if isinstance(a, RowBlock) else b if isinstance(b, RowBlock) else None
    a = a.rows.x if isinstance(a, RowBlock) else a
    b = b.rows.x if isinstance(b, RowBlock) else b
    rows, columns = out.shape
    inner = a.shape[0] if transpose_a else a.shape[1]
    double = a.dtype == np.float64
    if tiling is None:
        tiling = tiling_of(rows, columns, transpose_b and not transpose_a, double)
    parts = parts_of(tiling, rows, columns, inner)
    length = tiling.step // 2 if double else tiling.step
    # A part is a whole number of steps long: no load of several numbers then crosses its end.
    step = -(-inner // (parts * length)) * length
    parts = -(-inner // step)
    moved = [array for array in (out, z, v) if array is not None]
    store = 4
    if columns % store or any(m.data.ptr % (store * m.itemsize) for m in moved):
        store = 1
    loads = (launch.vector_size((m,), m.shape[1], most=4) for m in (a, b))
    types = (launch.operand_type(array) for array in (a, b, out, out if v is None else v))
    options = transpose_a, transpose_b, block is not None, *loads, store, *types
    constants = _constants(kind, tiling, length, *options)
    null = np.uintp(0)
    of_parts = arrivals = null
    down, across = -(-rows // tiling.rows), -(-columns // tiling.columns)
    if parts > 1:
        size = parts * down * tiling.rows * (across * tiling.columns + 1)
        of_parts = memory.temporary(size, np.float64 if double else np.float32)
        arrivals = memory.arrivals()
    # A step holds no user's array, only its address.
    operands = [a, b]
    if block is not None:
        operands = [np.uintp(m.data.ptr) if m is block.rows.x else m for m in operands]
    arguments = ProductArguments._make(
        (
            *(*operands, out, *(null if array is None else array for array in (z, v, biases))),
            *(of_parts, arrivals, np.int32(rows), np.int32(columns), np.int32(inner)),
            *(np.int32(step), np.float64(alpha), np.float64(beta)),
        )
    )
    return Product(constants, text, (across, down, parts), arguments, block)


@cache
def _constants(
    kind: str,
    tiling: Tiling,
    length: int,
    transpose_a: bool,
    transpose_b: bool,
    by_order: bool,
    load_a: int,
    load_b: int,
    store: int,
    *types: str,
) -> str:
    """Join the members of a struct; a cache finds them, because to join them takes longer than a launch."""
    numbers = {
        **{"KIND": kind, "STEP": length, "TILE_M": tiling.rows, "TILE_N": tiling.columns},
        **{"EACH_M": tiling.each_row, "EACH_N": tiling.each_column},
        **{"LOAD_A": load_a, "LOAD_B": load_b, "STORE": store},
    }
    flags = {"TRANSPOSE_A": transpose_a, "TRANSPOSE_B": transpose_b, "BY_ORDER": by_order}
    members = [f"static constexpr int {name} = {value};" for name, value in numbers.items()]
    members += [f"static constexpr bool {name} = {int(flag)};" for name, flag in flags.items()]
    members += [f"typedef {c_type} {name};" for name, c_type in zip("ABCV", types, strict=True)]
    return "".join(f"    {member}\n" for member in members)


@cache
def _kernel(cupy: Any, struct: str, text: str) -> Any:
    return launch.raw(cupy, "matmul.cu", "matmul", product_text(text) + struct)


def product_text(text: str) -> str:
    """Join the text that a kernel of products needs, with the activation's and the derivative's `text`."""
    for name in ("activation", "derivative"):  # a kind uses one of them, or neither
        if f" {name}(" not in text:
            text += device_function(name, "x", "return x;")
    return KINDS + text_of("arrive.cuh") + text + text_of("product.cuh")


def matmul_cpu(matmul: Any) -> Call | None:
    """Bind a `gpubp.backends.numpy.blas.Matmul`, by matmul.cpp, in its steps."""
    a, b, out = matmul.arrays
    transposed = int(matmul.transposed[0]) + 2 * int(matmul.transposed[1])
    sizes = np.array([*matmul.shape, *matmul.steps, *matmul.leading], np.int64)
    factors = (float(factor) for factor in matmul.factors)
    return bind("matmul", out.dtype, matmul.gemm, transposed, a, b, out, sizes, *factors)
