"""Softmax, its Jacobian, and softmax fused with cross-entropy, in the three forms of bias_activate.py.

The twins work on transposed blocks, (columns, rows). The maximum or sum of each row then takes a few passes
along memory, instead of a short loop for every row.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .blocks import Scratch, row_blocks
from .cpu.calls import Call, bind
from .cuda import launch
from .typing import Array, Bound

__all__ = [
    "by_warps",
    "softmax_cpu",
    "softmax_cross_entropy_cpu",
    "softmax_cross_entropy_cuda",
    "softmax_cross_entropy_numpy",
    "softmax_cuda",
    "softmax_jacobian_cuda",
    "softmax_jacobian_numpy",
    "softmax_numpy",
]


WARPS = 8  # of a block; each computes a row


def by_warps(kernel: Any, shape: tuple[int, int], *arrays: Any) -> Bound:
    """Bind a kernel that uses one warp for each row; its last arguments are the rows and the columns."""
    rows, columns = shape
    arguments = *arrays, np.int32(rows), np.int32(columns)
    return partial(kernel, (-(-rows // WARPS),), (32, WARPS), arguments)


def softmax_cuda(cupy: Any, z: Array, a: Array) -> Bound:
    """Bind a = softmax of each row of z, (rows, columns); `a` may be `z`."""
    return by_warps(launch.raw(cupy, "softmax.cu", "softmax", T=launch.c_type(z)), z.shape, z, a)


def softmax_cross_entropy_cuda(
    cupy: Any, z: Array, y: Array, scale: Array, delta: Array | None, costs: Array | None
) -> Bound:
    """Bind delta = (softmax(z) - y) scale and costs = -Σ y log softmax(z); one may be None."""
    kernel = launch.raw(
        cupy, "softmax_cross_entropy.cu", "softmax_cross_entropy", T=launch.c_type(z)
    )
    null = np.uintp(0)
    return by_warps(
        kernel,
        z.shape,
        z,
        y,
        scale,
        null if delta is None else delta,
        null if costs is None else costs,
    )


def softmax_jacobian_cuda(cupy: Any, a: Array, delta: Array) -> Bound:
    """Bind delta ← a ⊙ (delta - Σ delta a), row by row."""
    kernel = launch.raw(cupy, "softmax_jacobian.cu", "softmax_jacobian", T=launch.c_type(a))
    return by_warps(kernel, a.shape, a, delta)


def _transposed_blocks(shape: tuple[int, int], scratch: Scratch, count: int) -> list[Any]:
    """Return for each block of rows its slice, `count` (columns, rows) arrays, three (rows,) vectors."""
    blocks = []
    for rows in row_blocks(*shape):
        height = rows.stop - rows.start
        everything = scratch.arrays(1, (height * (count * shape[1] + 3),))[0]
        matrices = everything[: count * shape[1] * height].reshape(count, shape[1], height)
        vectors = everything[count * shape[1] * height :].reshape(3, height)
        blocks.append((rows, tuple(matrices), tuple(vectors)))
    return blocks


def _exponentials(z: Array, e: Array, largest: Array, total: Array) -> None:
    """Compute z ← z - m, e = exp(z) and total = Σ e for transposed z, m the largest z; `e` may be `z`."""
    np.maximum.reduce(z, axis=0, out=largest)
    np.subtract(z, largest, out=z)
    np.exp(z, out=e)
    np.add.reduce(e, axis=0, out=total)


def softmax_numpy(z: Array, a: Array, scratch: Scratch) -> Bound:
    """Bind the twin of `softmax_cuda`."""
    blocks = [
        (z[rows].T, a[rows].T, m, v) for rows, m, v in _transposed_blocks(z.shape, scratch, 1)
    ]

    def run() -> None:
        for z_block, a_block, (e,), (largest, total, _) in blocks:
            np.copyto(e, z_block)
            _exponentials(e, e, largest, total)
            np.divide(e, total, out=e)
            np.copyto(a_block, e)

    return run


def softmax_cross_entropy_numpy(
    z: Array, y: Array, scale: Array, delta: Array | None, costs: Array | None, scratch: Scratch
) -> Bound:
    """Bind the twin of `softmax_cross_entropy_cuda`."""
    blocks = [
        (
            z[rows].T,
            y[rows].T,
            scale[rows],
            None if delta is None else delta[rows].T,
            None if costs is None else costs[rows],
            matrices,
            vectors,
        )
        for rows, matrices, vectors in _transposed_blocks(z.shape, scratch, 3)
    ]

    def run() -> None:
        for z_block, y_block, scale_block, delta_block, costs_block, m, v in blocks:
            (shifted, e, target), (largest, total, log_total) = m, v
            np.copyto(shifted, z_block)
            np.copyto(target, y_block)
            _exponentials(shifted, e, largest, total)
            if costs_block is not None:
                np.log(total, out=log_total)
                np.subtract(log_total, shifted, out=shifted)
                np.multiply(shifted, target, out=shifted)
                np.add.reduce(shifted, axis=0, out=costs_block)
            if delta_block is not None:
                np.divide(e, total, out=e)
                np.subtract(e, target, out=e)
                np.multiply(e, scale_block, out=e)
                np.copyto(delta_block, e)

    return run


def softmax_jacobian_numpy(a: Array, delta: Array, scratch: Scratch) -> Bound:
    """Bind the twin of `softmax_jacobian_cuda`."""
    blocks = [
        (a[rows].T, delta[rows].T, matrices, vectors)
        for rows, matrices, vectors in _transposed_blocks(a.shape, scratch, 2)
    ]

    def run() -> None:
        for a_block, delta_block, (a_copy, product), (dot, _, _) in blocks:
            np.copyto(a_copy, a_block)
            np.multiply(a_copy, delta_block, out=product)
            np.add.reduce(product, axis=0, out=dot)
            np.subtract(delta_block, dot, out=product)
            np.multiply(product, a_copy, out=delta_block)

    return run


def softmax_cpu(z: Array, a: Array) -> Call | None:
    """Bind a = softmax of each row of z, by softmax.cpp; `a` may be `z`."""
    return bind("softmax", z.dtype, z, a, *z.shape)


def softmax_cross_entropy_cpu(
    z: Array, y: Array, scale: Array, delta: Array | None, costs: Array | None
) -> Call | None:
    """Bind δ^L and the costs of softmax with cross-entropy, by softmax.cpp; one may be None."""
    return bind("softmax_cross_entropy", z.dtype, z, y, scale, delta, costs, *z.shape)
