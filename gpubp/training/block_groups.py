"""Orders of rows in which the rows of a block stay near each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from .seeds import RandomSource

__all__ = ["BlockGroups"]

GROUP_BYTES = 2**26
"""The bytes of the blocks whose rows are shuffled together."""


class BlockGroups:
    """Blocks of neighbouring rows, whose order is drawn, and then that of the rows of a few blocks.

    The blocks of a group have 64 MiB together, and are at least two. So an epoch reads each block once, and
    mixes it with others that lie elsewhere.

    Parameters
    ----------
    starts : int64 array of shape (blocks + 1,)
        Where blocks begin, and the number of rows.
    row_bytes : int
        The bytes of a row.
    """

    def __init__(self, starts: Any, row_bytes: int) -> None:
        self._starts = starts
        largest = int(np.diff(starts).max()) * row_bytes
        self._together = max(2, GROUP_BYTES // largest)

    def permuted(self, rng: RandomSource) -> Any:
        """Draw an order: int64 array of shape (rows,)."""
        blocks = rng.permutation(len(self._starts) - 1)
        order = []
        for k in range(0, len(blocks), self._together):
            spans = [
                np.arange(self._starts[b], self._starts[b + 1], dtype=np.int64)
                for b in blocks[k : k + self._together]
            ]
            order.append(rng.permutation(np.concatenate(spans)))
        return np.concatenate(order)
