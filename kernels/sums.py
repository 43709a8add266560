"""Column sums, and weighted sums of all elements, in the three forms of bias_activate.py.

Both keep their digits over a million rows of float32: they add a few terms in the array's type, and add
these sums in float64. Each sum takes one launch. If several blocks share a sum, the last block to arrive
adds the parts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from .blocks import flat_blocks
from .cpu.calls import Call, bind
from .cuda import launch
from .cuda.text import text_of
from .matmul import LaunchMemory
from .typing import Array, Bound

__all__ = [
    "column_sums_cpu",
    "column_sums_cuda",
    "column_sums_numpy",
    "weighted_sum_cpu",
    "weighted_sum_cuda",
    "weighted_sum_numpy",
]


PRODUCT_ROWS = 1024
"""The twin computes column sums as a product with a row of ones, this many rows at a time."""

THREADS = 512
"""The threads of a block."""

BLOCKS = 264
"""The most blocks that share sums: two for each of an H100's 132 multiprocessors. ARRIVALS is larger."""

TILES = 128
"""With fewer blocks than this, parts of an H100 are idle. A block then takes fewer columns, at least 32
bytes of them."""

CHUNK_ROWS, PART_ROWS = 4096, 256
"""Blocks share the rows of a column sum if there are more than CHUNK_ROWS rows and fewer than BLOCKS
blocks. Each then takes about PART_ROWS rows. Sharing costs one or two microseconds."""

SEGMENT, PART = 8192, 2048
"""Blocks share a weighted sum of more than SEGMENT terms. Each then takes about PART terms."""


def column_sums_cuda(
    cupy: Any, values: Array, out: Array, beta: float, memory: LaunchMemory
) -> Bound:
    """Bind out = the column sums of values + beta out, for out (columns,) and values (rows, columns)."""
    rows, columns = values.shape
    tile = 32
    while tile * values.itemsize > 32 and -(-columns // tile) < TILES:
        tile //= 2
    tiles, part_rows = -(-columns // tile), rows
    if rows > CHUNK_ROWS and tiles < BLOCKS:
        part_rows = -(-rows // min(BLOCKS // tiles, -(-rows // PART_ROWS)))
    parts = -(-rows // part_rows)
    types = {"INPUT": launch.operand_type(values), "OUTPUT": launch.c_type(out)}
    size, text = launch.vector_size((values,), columns), _constants(COLUMNS=tile)
    kernel = launch.by_vectors(cupy, "column_sums", size, text, **types)
    return partial(
        kernel,
        (tiles, parts),
        (THREADS,),
        (
            *(values, out, np.float64(beta), np.uint32(rows), np.int32(columns)),
            *(np.uint32(part_rows), *_left_sums(memory, tiles * parts * tile, parts > 1)),
        ),
    )


@cache
def _constants(**values: int) -> str:
    """Join the text that both kernels use and the constants of one."""
    lines = (f"constexpr int {name} = {int(value)};\n" for name, value in values.items())
    threads = f"constexpr int THREADS = {THREADS};\n"
    return text_of("arrive.cuh") + threads + text_of("sums.cuh") + "".join(lines)


def _left_sums(memory: LaunchMemory, size: int, shares: bool) -> tuple[Any, Any]:
    """Return memory for the parts of a shared sum and for the arrivals of its blocks, else null."""
    if not shares:
        return np.uintp(0), np.uintp(0)
    return memory.temporary(size, np.float64), memory.arrivals()


def column_sums_numpy(
    values: Array, out: Array, beta: float, row_of_sums: Callable[[Array, Array, float], Bound]
) -> Bound:
    """Bind the twin of `column_sums_cuda`.

    `row_of_sums(v, out, beta)` binds out = 1ᵀ v + beta out, as a matmul, which is the fastest way.
    """
    rows, columns = values.shape
    if rows <= PRODUCT_ROWS:
        return row_of_sums(values, out, beta)
    starts = range(0, rows, PRODUCT_ROWS)
    partial = np.empty((len(starts), columns), values.dtype)
    chunks = [
        row_of_sums(values[start : start + PRODUCT_ROWS], partial[k], 0.0)
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


def column_sums_cpu(values: Array, out: Array, beta: float) -> Call | None:
    """Bind out = the column sums of values + beta out, by sums.cpp."""
    total = np.empty(values.shape[1], np.float64)
    return bind("column_sums", values.dtype, values, out, float(beta), *values.shape, total)


def weighted_sum_cuda(
    cupy: Any,
    values: Array,
    weights: Array | None,
    out: Array,
    slot: Array | None,
    add: bool,
    memory: LaunchMemory,
    squares: bool = False,
) -> Bound:
    """Bind out[slot[0]] = Σ weights values, in float64; with `add`, the sum is added to out[slot[0]].

    Without weights it is Σ values, or Σ values² if `squares`. With weights, `squares` has no effect.
    Without a slot the element is out[0].
    """
    size = launch.vector_size((values,) if weights is None else (values, weights))
    text = _constants(WEIGHTED=weights is not None, SQUARES=squares)
    kernel = launch.by_vectors(cupy, "weighted_sum", size, text, T=launch.c_type(values))
    blocks = 1 if values.size <= SEGMENT else min(BLOCKS, -(-values.size // PART))
    null = np.uintp(0)
    return partial(
        kernel,
        (blocks,),
        (THREADS,),
        (
            *(values, null if weights is None else weights, out, null if slot is None else slot),
            *(np.int64(values.size), np.int32(add), *_left_sums(memory, blocks, blocks > 1)),
        ),
    )


def weighted_sum_numpy(
    values: Array, weights: Array | None, out: Array, slot: Array | None = None, add: bool = False
) -> Bound:
    """Bind the twin of `weighted_sum_cuda`; without weights it is Σ values²."""
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


def weighted_sum_cpu(
    values: Array, weights: Array | None, out: Array, slot: Array | None, add: bool
) -> Call | None:
    """Bind the same as `weighted_sum_numpy`, by sums.cpp."""
    return bind("weighted_sum", values.dtype, values, weights, out, slot, values.size, add)
