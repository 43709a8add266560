"""The order in which training takes the rows of a data set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..backends import Array, Backend

__all__ = ["DataOrder"]


class DataOrder:
    """The order in which an epoch takes the rows, and the batches which that makes.

    Only the random generator lasts from one epoch to the next, and in a pickle.

    Parameters
    ----------
    rng : numpy.random.Generator
        What shuffled orders are drawn from.

    Attributes
    ----------
    rows : int64 array of shape (rows,), on the host
        The numbers of the rows in this epoch's order.
    stride : int
        Rows from the start of one batch to the start of the next.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.rows: Any = np.arange(0)
        self.stride = 1
        self._buffer: Array = None

    def draw(self, rows: int, stride: int, *, shuffle: bool) -> None:
        """Draw the order of an epoch.

        The rows of a batch are in rising order, so that memory and files are read from front to back.
        """
        self.stride = stride
        if not shuffle:
            self.rows = np.arange(rows)
            return
        self.rows = self.rng.permutation(rows)
        whole = rows // stride * stride
        self.rows[:whole].reshape(-1, stride).sort(axis=1)
        self.rows[whole:].sort()

    def __iter__(self) -> Iterator[Any]:
        """Give the numbers of the rows of each batch."""
        for start in range(0, len(self.rows), self.stride):
            yield self.rows[start : start + self.stride]

    def on_device(self, backend: Backend) -> Array:
        """Bring the order to the device.

        It goes to the same place in every epoch: a captured step reads it from there.
        """
        if self._buffer is None or len(self._buffer) != len(self.rows):
            self._buffer = backend.empty(len(self.rows), np.int64)
        self._buffer[...] = backend.asarray(self.rows)
        return self._buffer

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"rows": np.arange(0), "_buffer": None}
