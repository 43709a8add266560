"""Cache-sized blocks for the NumPy twins.

A twin makes several passes over its arrays; done a block at a time, all but the first find their
data in the cache. A twin is bound to its arrays once, which cuts the blocks and takes the scratch, and
returns a function of no arguments that runs it and allocates nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .typing import Array

__all__ = ["BLOCK", "Scratch", "flat_blocks", "row_blocks"]


BLOCK = 65536
"""Elements in a block: 64 KiB of float32; with its scratch it fits a second-level cache with room left
over, and is long enough for the call of a ufunc (about 0.5 µs) to cost under a tenth of its work."""


class Scratch:
    """Memory that kernels running one after another share; each may ask for the same bytes anew."""

    def __init__(self, dtype: Any) -> None:
        self._buffer = np.empty(0, dtype)

    def arrays(self, count: int, shape: tuple[int, ...]) -> tuple[Array, ...]:
        """`count` disjoint arrays of `shape`, with whatever values they happen to hold."""
        size = int(np.prod(shape))
        if self._buffer.size < count * size:
            self._buffer = np.empty(count * size, self._buffer.dtype)
        return tuple(self._buffer[k * size : (k + 1) * size].reshape(shape) for k in range(count))


def flat_blocks(size: int) -> Iterator[slice]:
    """Slices that cut `size` elements into blocks."""
    for start in range(0, size, BLOCK):
        yield slice(start, min(start + BLOCK, size))


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices of whole rows, each about one block."""
    step = max(1, BLOCK // max(columns, 1))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
