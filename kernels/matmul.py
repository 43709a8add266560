"""A matmul of one's own for small matrices, which CuPy's cuBLAS does not let a CUDA graph capture.

Its NumPy twin is `numpy.matmul`, which the tests compare it with; the NumPy backend has BLAS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import launch

__all__ = ["is_small", "matmul_cuda", "parts_of"]

Array = Any

SMALL_WORK = 2**28
"""The most multiply-adds of a small product. None of the numbers here has been tuned on a GPU yet."""

BLOCKS, LEAST_STEP = 128, 128
"""Fewer blocks than this leave a GPU idle: tiles are then smaller, and the inner dimension is cut into
parts of at least so many."""


def is_small(rows: int, work: int) -> bool:
    """Whether a product of so many rows and multiply-adds is for `matmul_cuda` rather than cuBLAS."""
    return work <= SMALL_WORK and rows <= 32 * 65535  # as a grid can have in its second dimension


def _tile(rows: int, columns: int) -> int:
    return 64 if -(-rows // 64) * -(-columns // 64) >= BLOCKS else 32


def parts_of(rows: int, columns: int, inner: int) -> int:
    """Into how many parts the inner dimension is cut."""
    tile = _tile(rows, columns)
    blocks = -(-rows // tile) * -(-columns // tile)
    return max(1, min(BLOCKS // blocks, inner // LEAST_STEP))


def matmul_cuda(
    cupy: Any,
    a: Array,
    b: Array,
    out: Array,
    transpose_a: bool,
    transpose_b: bool,
    alpha: float,
    beta: float,
    empty: Callable[..., Array],
) -> None:
    """out = alpha op(a) op(b) + beta out, by matmul.cu and add_parts.cu; `empty` makes scratch memory."""
    rows, columns = out.shape
    inner = a.shape[0] if transpose_a else a.shape[1]
    tile, parts = _tile(rows, columns), parts_of(rows, columns, inner)
    constants = (
        f"constexpr int TILE = {tile};\n"
        f"constexpr bool TRANSPOSE_A = {int(transpose_a)}, TRANSPOSE_B = {int(transpose_b)};\n"
    )
    types = {"A": launch.operand_type(a), "B": launch.operand_type(b), "C": launch.c_type(out)}
    kernel = launch.raw(cupy, "matmul.cu", "matmul", constants, **types)
    step = -(-inner // parts)
    sizes = np.int32(rows), np.int32(columns), np.int32(inner), np.int32(step)
    grid = -(-columns // tile), -(-rows // tile), parts
    factors = np.float64(alpha), np.float64(beta)
    if parts == 1:
        kernel(grid, (256,), (a, b, out, *sizes, *factors))
        return
    partial = empty((parts, rows, columns), out.dtype)
    kernel(grid, (256,), (a, b, partial, *sizes, np.float64(1), np.float64(0)))
    add = launch.raw(cupy, "add_parts.cu", "add_parts", T=launch.c_type(out))
    add(
        (-(-out.size // 256),),
        (256,),
        (partial, out, np.int32(parts), np.int64(out.size), *factors),
    )
