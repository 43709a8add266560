"""Cache-sized blocks for the NumPy twins.

A twin makes several passes over its arrays. It makes all passes over one block before it begins the next
block, because all passes but the first then find their data in the cache. To bind a twin cuts the blocks
and takes the scratch memory. The bound call allocates nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .typing import Array

__all__ = ["BLOCK", "Scratch", "flat_blocks", "row_blocks"]


BLOCK = 65536
"""Elements of a block: 256 KiB of float32. A block and its scratch fit a second-level cache. A block is
long enough for the call of a ufunc (about 0.5 µs) to cost under a tenth of its work."""


class Scratch:
    """Scratch memory for kernels that run one after another. All of them get the same bytes."""

    def __init__(self, dtype: Any) -> None:
        self._buffer = np.empty(0, dtype)

    def arrays(self, count: int, shape: tuple[int, ...]) -> tuple[Array, ...]:
        """Return `count` disjoint arrays of `shape`, not initialised."""
        size = int(np.prod(shape))
        if self._buffer.size < count * size:
            self._buffer = np.empty(count * size, self._buffer.dtype)
        return tuple(self._buffer[k * size : (k + 1) * size].reshape(shape) for k in range(count))


def flat_blocks(size: int) -> Iterator[slice]:
    """Cut `size` elements into blocks: yield their slices."""
    for start in range(0, size, BLOCK):
        yield slice(start, min(start + BLOCK, size))


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Cut `rows` into slices of whole rows, each about one block."""
    step = max(1, BLOCK // max(columns, 1))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
