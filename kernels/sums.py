"""Sums: launchers and NumPy twins of column_sums.cu and weighted_sum.cu.

Both keep their digits over a million rows of float32: chunks of rows are summed first, and the chunks'
sums in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import launch
from .blocks import flat_blocks

__all__ = ["column_sums_cuda", "column_sums_numpy", "weighted_sum_cuda", "weighted_sum_numpy"]

Array = Any
Bound = Callable[[], None]

CHUNK_ROWS = 1024
"""Rows whose column sums one block of threads, or one product with a row of ones, adds up."""

SEGMENT = 16 * 1024
"""Terms of a weighted sum that one block of threads adds up: sixteen for each thread."""


def chunk_rows(rows: int) -> int:
    """Rows of a chunk: CHUNK_ROWS, or more where there would be more chunks than a grid has rows."""
    return max(CHUNK_ROWS, -(-rows // 65535))


def column_sums_cuda(
    cupy: Any, values: Array, out: Array, beta: float, partial: Array | None
) -> None:
    """out, (columns,) = Σ over rows of values, (rows, columns), + beta out.

    `partial` is a float64 array (⌈rows / chunk_rows(rows)⌉, columns), or None where one chunk is enough.
    """
    if partial is not None:
        _column_sums_once(cupy, values, partial, 0.0, chunk_rows(len(values)))
        values = partial
    _column_sums_once(cupy, values, out, beta, len(values))


def _column_sums_once(cupy: Any, values: Array, out: Array, beta: float, chunk_rows: int) -> None:
    rows, columns = values.shape
    kernel = launch.raw(
        cupy,
        "column_sums.cu",
        "column_sums",
        INPUT=launch.operand_type(values),
        OUTPUT=launch.c_type(out),
    )
    grid = (-(-columns // 32), -(-rows // chunk_rows))
    sizes = (np.int32(rows), np.int32(columns), np.int32(chunk_rows))
    kernel(grid, (32, 32), (values, out, np.float64(beta), *sizes))


def column_sums_numpy(
    values: Array, out: Array, beta: float, row_of_sums: Callable[[Array, Array, float], Bound]
) -> Bound:
    """Bind the twin of `column_sums_cuda`; `row_of_sums(v, out, beta)` binds out = 1ᵀ v + beta out,
    which is a matmul, and fastest as one."""
    rows, columns = values.shape
    if rows <= CHUNK_ROWS:
        return row_of_sums(values, out, beta)
    starts = range(0, rows, CHUNK_ROWS)
    partial = np.empty((len(starts), columns), values.dtype)
    chunks = [
        row_of_sums(values[start : start + CHUNK_ROWS], partial[k], 0.0)
        for k, start in enumerate(starts)
    ]
    total = np.empty(columns, np.float64)

    def run() -> None:
        for chunk in chunks:
            chunk()
        np.add.reduce(partial, axis=0, dtype=np.float64, out=total)
        if beta == 0:
            np.copyto(out, total, casting="same_kind")
        else:
            np.multiply(out, beta, out=out)
            np.add(out, total, out=out, casting="same_kind")

    return run


def weighted_sum_cuda(
    cupy: Any,
    values: Array,
    weights: Array | None,
    out: Array,
    slot: Array | None,
    add: bool,
    empty: Callable[..., Array],
    squares: bool = False,
) -> None:
    """out[slot[0]] (+)= Σ weights values in float64; without weights Σ values, or with `squares` Σ values².

    `empty` makes scratch memory.
    """
    blocks = -(-values.size // SEGMENT)
    if blocks > 1:
        partial = empty(blocks, np.float64)
        _weighted_sum_once(cupy, values, weights, squares, partial, None, False, SEGMENT)
        values, weights, squares = partial, None, False
    _weighted_sum_once(cupy, values, weights, squares, out, slot, add, values.size)


def _weighted_sum_once(
    cupy: Any,
    values: Array,
    weights: Array | None,
    squares: bool,
    out: Array,
    slot: Array | None,
    add: bool,
    segment: int,
) -> None:
    kernel = launch.raw(cupy, "weighted_sum.cu", "weighted_sum", T=launch.c_type(values))
    null = np.uintp(0)
    kernel(
        (-(-values.size // segment),),
        (1024,),
        (
            *(values, null if weights is None else weights, np.int32(squares)),
            *(out, null if slot is None else slot),
            *(np.int64(values.size), np.int64(segment), np.int32(add)),
        ),
    )


def weighted_sum_numpy(
    values: Array, weights: Array | None, out: Array, slot: Array | None = None, add: bool = False
) -> Bound:
    """Bind the twin of `weighted_sum_cuda`."""
    values = values.reshape(-1)
    weights = values if weights is None else weights.reshape(-1)
    pairs = [(values[part], weights[part]) for part in flat_blocks(values.size)]
    wide = np.empty((2, min(values.size, pairs[0][0].size)), np.float64)

    def run() -> None:
        total = 0.0
        for value, weight in pairs:
            v, w = wide[0, : value.size], wide[1, : value.size]
            np.copyto(v, value)
            np.multiply(v, weight, out=w)
            total += float(np.add.reduce(w))
        k = 0 if slot is None else int(slot[0])
        out[k] = out[k] + total if add else total

    return run
