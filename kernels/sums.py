"""Sums over rows and over everything: in three forms, as in bias_activate.py.

Both keep their digits over a million rows of float32: few terms are added in the array's own type, and
their sums in float64. Each is one launch: where blocks share a sum, the last of them adds what all found.
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
"""Rows whose column sums one product with a row of ones adds up, in the twin."""

THREADS = 512
"""Of a block."""

BLOCKS = 264
"""The most blocks that share sums: two for each of an H100's 132 multiprocessors. ARRIVALS are more."""

TILES = 128
"""Fewer blocks than this leave an H100 idle: a block then takes fewer columns, at least 32 bytes."""

CHUNK_ROWS, PART_ROWS = 4096, 256
"""The most rows whose column sums one block adds up alone, where other blocks are idle; and about how many
rows each block takes of more. Sharing takes a microsecond or two."""

SEGMENT, PART = 8192, 2048
"""The most terms of a weighted sum that one block adds up, and about how many each takes of more."""


def column_sums_cuda(
    cupy: Any, values: Array, out: Array, beta: float, memory: LaunchMemory
) -> Bound:
    """Bind out, (columns,) = Σ over rows of values, (rows, columns), + beta out."""
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
    """What both kernels share, and their constants."""
    lines = (f"constexpr int {name} = {int(value)};\n" for name, value in values.items())
    threads = f"constexpr int THREADS = {THREADS};\n"
    return text_of("arrive.cuh") + threads + text_of("sums.cuh") + "".join(lines)


def _left_sums(memory: LaunchMemory, size: int, shares: bool) -> tuple[Any, Any]:
    """What blocks leave their sums in, and count with, where they share one."""
    if not shares:
        return np.uintp(0), np.uintp(0)
    return memory.temporary(size, np.float64), memory.arrivals()


def column_sums_numpy(
    values: Array, out: Array, beta: float, row_of_sums: Callable[[Array, Array, float], Bound]
) -> Bound:
    """Bind the twin of `column_sums_cuda`.

    `row_of_sums(v, out, beta)` binds out = 1ᵀ v + beta out: a matmul is the fastest way.
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
    """Bind out, (columns,) = Σ over rows + beta out, by sums.cpp."""
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
    """Bind out[slot[0]] (+)= Σ weights values in float64.

    Without weights it is Σ values, or with `squares` Σ values². With weights, `squares` has no meaning.
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


def weighted_sum_cpu(
    values: Array, weights: Array | None, out: Array, slot: Array | None, add: bool
) -> Call | None:
    """Bind out[slot[0]] (+)= Σ weights values, by sums.cpp; without weights Σ values²."""
    return bind("weighted_sum", values.dtype, values, weights, out, slot, values.size, add)
