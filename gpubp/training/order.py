"""The order of a data set's rows in training, and its batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..backends import Array, Backend

__all__ = ["DataOrder"]


class DataOrder:
    """The order of the rows in an epoch. Iteration gives the indices of each batch's rows.

    The state between two epochs is the random generator alone. Within an epoch it is the generator's state
    before the epoch's order was drawn: the same order is then drawn again. A pickle stores only the
    generator.

    Parameters
    ----------
    rng : numpy.random.Generator
        The generator that shuffled orders are drawn from.

    Attributes
    ----------
    rows : int64 array of shape (rows,), on the host
        The indices of the rows in this epoch's order.
    stride : int
        The number of rows from the start of one batch to the start of the next.
    drawn_from : dict
        The state of the generator before the order of this epoch was drawn.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.rows: Any = np.arange(0)
        self.stride = 1
        self.drawn_from = self.state
        self._buffer: Array = None

    @property
    def state(self) -> dict[str, Any]:
        """The state of the generator."""
        return dict(self.rng.bit_generator.state)

    def draw(self, rows: int, stride: int, *, shuffle: bool) -> None:
        """Draw the order of an epoch.

        The rows of each batch are sorted: memory and files are then read from front to back.
        """
        self.stride, self.drawn_from = stride, self.state
        if not shuffle:
            self.rows = np.arange(rows)
            return
        self.rows = self.rng.permutation(rows)
        whole = rows // stride * stride
        self.rows[:whole].reshape(-1, stride).sort(axis=1)
        self.rows[whole:].sort()

    def __iter__(self) -> Iterator[Any]:
        """Yield the indices of each batch's rows."""
        for start in range(0, len(self.rows), self.stride):
            yield self.rows[start : start + self.stride]

    def on_device(self, backend: Backend) -> Array:
        """Copy the order to the device.

        It is copied to the same array in every epoch, because captured steps read it there.
        """
        if self._buffer is None or len(self._buffer) != len(self.rows):
            self._buffer = backend.empty(len(self.rows), np.int64)
        self._buffer[...] = backend.asarray(self.rows)
        return self._buffer

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"rows": np.arange(0), "_buffer": None}
