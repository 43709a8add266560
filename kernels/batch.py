"""Kernels that prepare a batch: gather its rows, make one-hot targets, normalise weights.

Each kernel has the three forms that bias_activate.py describes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .cpu.build import base
from .cpu.calls import Call, bind
from .cpu.source import Source
from .cuda import launch
from .row_block import order_of
from .typing import Array, Bound

__all__ = [
    "check_rows_cpu",
    "check_rows_numpy",
    "gather_cpu",
    "gather_cuda",
    "gather_numpy",
    "normalize_cpu",
    "normalize_cuda",
    "normalize_numpy",
    "one_hot_cpu",
    "one_hot_cuda",
    "one_hot_numpy",
]


# out = scale source[rows] + shift. The rows are those of the current step: they begin at
# counters[1] * stride + first. If there is an `order`, these are positions in it, and it holds the rows.


def gather_cuda(
    cupy: Any,
    rows: Any,
    field: str,
    counters: Array,
    first: int,
    out: Array,
    scale: float,
    shift: float,
) -> Bound:
    """Bind out, (rows, columns) or (rows,), by gather.cu; `rows` is a `gpubp.backends.Rows`.

    The call holds the address of the source, not the array, so a captured step does not keep users' data
    alive.
    """
    given = getattr(rows, field)
    source = given.astype(np.float32) if given.dtype == np.float16 else given
    shape = len(out), out.size // len(out)
    types = {"S": launch.c_type(source), "T": launch.operand_type(out)}
    kernel = launch.by_rows(cupy, "gather", shape, (source, out), **types)
    place = np.uintp(source.data.ptr) if source is given else source
    order = order_of(rows, counters, first)
    return kernel(place, *order, np.float64(scale), np.float64(shift), out)


def gather_numpy(
    rows: Any, field: str, counters: Array, first: int, out: Array, scale: float, shift: float
) -> Bound:
    """Bind the twin of `gather_cuda`; `rows` is a `gpubp.backends.Rows`."""
    count = len(out)
    staging: dict[Any, Array] = {}

    def run() -> None:
        source = getattr(rows, field)
        start = int(counters[1]) * rows.stride + first
        if rows.order is None:
            np.copyto(out, source[start : start + count], casting="unsafe")
        else:
            target = out
            if source.dtype != out.dtype:
                if source.dtype not in staging:
                    staging[source.dtype] = np.empty(out.shape, source.dtype)
                target = staging[source.dtype]
            np.take(source, rows.order[start : start + count], axis=0, out=target, mode="clip")
            if target is not out:
                np.copyto(out, target, casting="unsafe")
        if (scale, shift) != (1.0, 0.0):
            np.multiply(out, scale, out=out)
            np.add(out, shift, out=out)

    return run


def gather_cpu(
    source: Source, counters: Array, first: int, out: Array, scale: float, shift: float
) -> Call | None:
    """Bind out, (rows, columns) or (rows,), by batch.cpp; `source` holds the addresses of the rows."""
    rows, columns = len(out), out.size // len(out)
    place = source.slots, counters, first, out, rows, columns
    if out.dtype == np.int64:
        library = base()
        return None if library is None else Call(library.gather_int64, *place)
    return bind("gather", out.dtype, *place, float(scale), float(shift))


# found = 1 if a number in rows of x is NaN, infinite or too large for `dtype`. The rows are those that
# gather would read.


def check_rows_numpy(
    rows: Any, counters: Array, first: int, count: int, dtype: np.dtype[Any], found: Array
) -> Bound:
    """Bind the check; `rows` is a `gpubp.backends.Rows`."""

    def run() -> None:
        start = int(counters[1]) * rows.stride + first
        chosen = (
            slice(start, start + count) if rows.order is None else rows.order[start : start + count]
        )
        if not (np.abs(rows.x[chosen]) <= np.finfo(dtype).max).all():  # nor is NaN
            found[0] = 1

    return run


def check_rows_cpu(
    source: Source,
    counters: Array,
    first: int,
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    found: Array,
) -> Call | None:
    """Bind the check of rows of this shape by batch.cpp; `source` holds their addresses."""
    return bind("check_rows", dtype, source.slots, counters, first, *shape, found)


# weights / Σ weights, in float64: the sum or its inverse may not fit a smaller type.


def normalize_cuda(cupy: Any, total: Array, weights: Array) -> Bound:
    """Bind weights ← weights / total, where total is a float64 array of one element."""
    operation = "w = total[0] != 0 ? T(w / total[0]) : T(0);"
    kernel = launch.elementwise(cupy, "raw float64 total", "T w", operation, "normalize")
    return partial(kernel, total, weights)


def normalize_numpy(weights: Array) -> Bound:
    """Bind the twin of `normalize_cuda`, which computes the total too."""
    wide = np.empty(weights.shape, np.float64)

    def run() -> None:
        np.copyto(wide, weights)
        total = float(np.add.reduce(wide))
        np.divide(wide, total or 1.0, out=wide)
        np.copyto(weights, wide, casting="same_kind")

    return run


def normalize_cpu(weights: Array) -> Call | None:
    """Bind weights ← weights / Σ weights, by batch.cpp."""
    return bind("normalize", weights.dtype, weights, len(weights))


# A label becomes a row with `high` in the label's column and `low` elsewhere. These are 1 and 0 without
# label smoothing.


def one_hot_cuda(cupy: Any, labels: Array, y: Array, low: float, high: float) -> Bound:
    """Bind y, (rows, columns), by one_hot.cu; labels has shape (rows,) and is int64."""
    kernel = launch.by_rows(cupy, "one_hot", y.shape, (y,), T=launch.c_type(y))
    return kernel(labels, np.float64(low), np.float64(high), y)


def one_hot_numpy(labels: Array, y: Array, low: float, high: float) -> Bound:
    """Bind y[i, j] = `high` where j is labels[i], else `low`."""
    rows, columns = y.shape
    first = np.arange(rows, dtype=np.intp) * columns
    position = np.empty(rows, np.intp)
    flat = y.reshape(-1)

    def run() -> None:
        np.add(first, labels, out=position)
        flat.fill(low)
        flat[position] = high

    return run


def one_hot_cpu(labels: Array, y: Array, low: float, high: float) -> Call | None:
    """Bind y[i, j] = `high` where j is labels[i], else `low`, by batch.cpp."""
    return bind("one_hot", y.dtype, labels, y, *y.shape, float(low), float(high))
