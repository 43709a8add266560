"""Sparse rows in memory, and the rows of one block of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .row_block import BlockRows
from .typing import Array

__all__ = ["SparseBlock", "SparseRows"]


@dataclass(frozen=True, eq=False)
class SparseRows:
    """A matrix by its stored numbers, row by row (CSR). No kernel checks what is in it.

    A row has no column twice: the CUDA kernel of the gradient writes a row's columns at the same time.

    Attributes
    ----------
    values : array of shape (stored,)
        The stored numbers.
    indices : int32 array of shape (stored,)
        The column of each number.
    starts : int64 array of shape (rows + 1,)
        The place of each row's first number; the last one is the end of the last row.
    columns : int
        The number of columns.
    """

    values: Array
    indices: Array
    starts: Array
    columns: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, rows: slice) -> SparseRows:
        """Return neighbouring rows, which share this matrix's memory."""
        first, stop, _ = rows.indices(len(self))
        starts = self.starts[first : stop + 1]
        return SparseRows(self.values, self.indices, starts, self.columns)

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows and columns."""
        return len(self), self.columns

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return 2

    @property
    def dtype(self) -> Any:
        """The dtype of the values."""
        return self.values.dtype

    @property
    def arrays(self) -> tuple[Array, Array, Array]:
        """The values, indices and starts."""
        return self.values, self.indices, self.starts

    def take(self, rows: Array) -> SparseRows:
        """Copy the rows with these indices, which are an array on the matrix's device."""
        # NumPy's functions call CuPy's where they get arrays of CuPy.
        starts, lengths = self.starts[rows], np.diff(self.starts)[rows]
        ends = np.concatenate([np.zeros_like(starts[:1], shape=1), np.cumsum(lengths)])
        places, shifts = np.arange(int(ends[-1]), like=starts), starts - ends[:-1]
        if isinstance(starts, np.ndarray):
            places += np.repeat(shifts, lengths)
        else:  # CuPy repeats no number as often as an array says
            places += shifts[np.searchsorted(ends, places, side="right") - 1]
        return SparseRows(self.values[places], self.indices[places], ends, self.columns)

    def place_of(self, k: int) -> tuple[int, int]:
        """Return the row and the column of the stored number k."""
        return int((self.starts <= k).sum()) - 1, int(self.indices[k])

    def moved(self, move: Callable[[Array], Array]) -> SparseRows:
        """Return the matrix with each array moved by a function."""
        values, indices, starts = map(move, self.arrays)
        return SparseRows(values, indices, starts, self.columns)


class SparseBlock(BlockRows):
    """Sparse rows: their x is a `SparseRows` when a kernel runs."""
