"""The rows that a captured step reads."""

from __future__ import annotations

from dataclasses import dataclass

from ..kernels.sparse_rows import SparseRows
from ..kernels.typing import Array

__all__ = ["Rows"]


@dataclass
class Rows:
    """The rows that a captured step reads: arrays on the backend, and their order.

    A step's rows start at `start = counters[1] * stride`. They are `array[order[start:]]`, or
    `array[start:]` without an order. A captured step reads the fields at every replay, so they may change
    between replays. `set` changes them. `clear` drops the arrays, so that they can be freed while no step
    runs.

    Attributes
    ----------
    x : array of shape (rows, n_in), or SparseRows
        Inputs; None after `clear`.
    y : array of shape (rows,) or (rows, n_out)
        Labels or targets; None if no verb reads them.
    weights : array of shape (rows,)
        Sample weights; None if all rows have the same weight.
    order : int64 array of shape (rows,)
        The indices of the rows in the order of the steps; None for the order of the array.
    stride : int
        The number of rows from the start of one step's batch to the start of the next; 0 if every step
        reads the same rows.
    """

    x: Array | SparseRows
    y: Array = None
    weights: Array = None
    order: Array = None
    stride: int = 0

    def set(
        self,
        x: Array | SparseRows,
        y: Array,
        weights: Array = None,
        order: Array = None,
        stride: int = 0,
    ) -> None:
        """Set the arrays, order and stride for the next steps."""
        self.x, self.y, self.weights, self.order, self.stride = x, y, weights, order, stride

    def clear(self) -> None:
        """Drop the arrays."""
        self.x = self.y = self.weights = self.order = None
