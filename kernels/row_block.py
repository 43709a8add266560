"""A block's rows that are not gathered, and its targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .typing import Array

__all__ = ["NO_ORDER", "BlockRows", "RowBlock", "Targets", "order_of"]


@dataclass(frozen=True, eq=False)
class BlockRows:
    """The rows of a block that are not gathered: kernels read them where they are.

    Attributes
    ----------
    rows : gpubp.backends.Rows
        The rows of the step.
    counters : array of int64, shape (2,)
        The step counters, which say where the step's rows start.
    first : int
        The step's row that is the block's first row.
    count : int
        The number of rows.
    """

    rows: Any
    counters: Array
    first: int
    count: int

    @property
    def order(self) -> tuple[Any, ...]:
        """The arguments of a CUDA kernel that reads the rows by their order."""
        return order_of(self.rows, self.counters, self.first)


class RowBlock(BlockRows):
    """Dense rows."""


@dataclass(frozen=True, eq=False)
class Targets:
    """The targets of a block: which rows they are, and where `Verbs.gather_targets` writes them.

    A target is `factor` times the row's value plus `shift`. A label's row is factor + shift in the label's
    column, and `shift` elsewhere.

    Attributes
    ----------
    block : RowBlock
        The rows.
    y : array of shape (rows, n_out)
        The targets, once they are gathered.
    labels : int64 array of shape (rows,), or None
        Memory for the labels; None if the targets are not labels.
    factor, shift : float
        The numbers above: 1 and 0 without label smoothing.
    """

    block: RowBlock
    y: Array
    labels: Array | None
    factor: float
    shift: float


NO_ORDER = np.uintp(0), np.uintp(0), np.int64(0), np.int64(0)
"""The arguments of `order_of` for a kernel that reads no rows by an order."""


def order_of(rows: Any, counters: Array, first: int) -> tuple[Any, ...]:
    """Return the arguments of a CUDA kernel that reads rows by their order, from the step's row `first`.

    They are addresses and numbers, so that a captured step holds no user's array.
    """
    order = np.uintp(0 if rows.order is None else rows.order.data.ptr)
    return counters, order, np.int64(rows.stride), np.int64(first)
