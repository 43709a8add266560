"""Products of sparse rows: the first layer's z = x wᵀ, and its gradient δᵀ x.

Each kernel has the three forms that bias_activate.py describes. They read the batch's rows where they are,
in a `SparseRows`. So a step needs no memory for them, however many numbers they have. The gradient is
dense, because the update of the weights is.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from .cpu.calls import Call, bind
from .cpu.source import Source
from .cuda import launch
from .sparse_rows import SparseBlock
from .typing import Array, Bound

__all__ = [
    "sparse_gradient_cpu",
    "sparse_gradient_cuda",
    "sparse_gradient_numpy",
    "sparse_product_cpu",
    "sparse_product_cuda",
    "sparse_product_numpy",
]


# out = x wᵀ, for w (n_out, n_in).

PRODUCT_THREADS, MOST_ROWS = 128, 65535
"""The threads of a block of sparse_product.cu, each for one output, and the most blocks along the rows."""


def sparse_product_cuda(cupy: Any, x: SparseBlock, weights: Array, out: Array) -> Bound:
    """Bind out, (rows, n_out), by sparse_product.cu."""
    types = {"W": launch.operand_type(weights), "T": launch.c_type(out)}
    kernel = launch.raw(cupy, "sparse_product.cu", "sparse_product", **types)
    rows, n_out = out.shape
    grid = -(-n_out // PRODUCT_THREADS), min(rows, MOST_ROWS)
    sizes = np.int64(rows), np.int32(n_out), np.int64(weights.shape[1])
    return partial(kernel, grid, (PRODUCT_THREADS,), (*_places(x), weights, out, *sizes))


def sparse_product_numpy(x: SparseBlock, weights: Array, out: Array) -> Bound:
    """Bind the twin of `sparse_product_cuda`."""

    def run() -> None:
        out[...] = _rows_of(x) @ weights.T

    return run


def sparse_product_cpu(source: Source, x: SparseBlock, weights: Array, out: Array) -> Call | None:
    """Bind out, whose rows may be longer than n_out, by sparse.cpp; `source` holds the addresses of x."""
    return _bind_cpu("sparse_product", source, x, weights, out)


# out = δᵀ x + beta out, for δ (rows, n_out) and out (n_out, n_in).

SUMS_BYTES = 8192
"""The shared memory of a block of sparse_gradient.cu, for the sums of neighbouring columns."""


def sparse_gradient_cuda(cupy: Any, delta: Array, x: SparseBlock, out: Array, beta: float) -> Bound:
    """Bind out by sparse_gradient.cu."""
    columns = SUMS_BYTES // out.itemsize
    types = {"D": launch.operand_type(delta), "T": launch.c_type(out)}
    text = f"constexpr int COLUMNS = {columns};\n"
    kernel = launch.raw(cupy, "sparse_gradient.cu", "sparse_gradient", text, **types)
    n_out, n_in = out.shape
    sizes = np.int64(len(delta)), np.int32(n_out), np.int64(n_in)
    return partial(
        kernel,
        (-(-n_in // columns), min(n_out, MOST_ROWS)),
        (32,),
        (*_places(x), delta, out, np.float64(beta), *sizes),
    )


def sparse_gradient_numpy(delta: Array, x: SparseBlock, out: Array, beta: float) -> Bound:
    """Bind the twin of `sparse_gradient_cuda`."""

    def run() -> None:
        gradient = (_rows_of(x).T @ delta).T
        if beta == 0:
            out[...] = gradient
        else:
            np.multiply(out, beta, out=out)
            np.add(out, gradient, out=out)

    return run


def sparse_gradient_cpu(
    source: Source, delta: Array, x: SparseBlock, out: Array, beta: float
) -> Call | None:
    """Bind out by sparse.cpp; the rows of `delta` may be longer than n_out."""
    return _bind_cpu("sparse_gradient", source, x, out, delta, float(beta))


def _bind_cpu(
    name: str, source: Source, x: SparseBlock, weights: Array, outputs: Array, *factor: float
) -> Call | None:
    """Bind a kernel of sparse.cpp; `outputs` are z or δ, `weights` w or its gradient."""
    n_out, n_in = weights.shape
    leading = outputs.strides[0] // outputs.itemsize
    place = source.slots, x.counters, x.first, x.count
    return bind(name, weights.dtype, *place, weights, n_out, n_in, outputs, leading, *factor)


def _rows_of(x: SparseBlock) -> Any:
    """Return the block's rows as a SciPy matrix."""
    rows, given = x.rows, x.rows.x
    start = int(x.counters[1]) * rows.stride + x.first
    chosen = np.arange(start, start + x.count)
    block = given.take(chosen if rows.order is None else rows.order[chosen])
    return csr_array(block.arrays, shape=block.shape)


def _places(x: SparseBlock) -> tuple[Any, ...]:
    """Return a CUDA kernel's arguments for the rows: addresses, so that a step holds no user's array."""
    return (*(np.uintp(array.data.ptr) for array in x.rows.x.arrays), *x.order)
