"""A block's rows that are not gathered, and its targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .typing import Array

__all__ = ["RowBlock", "Targets", "order_of"]


@dataclass(frozen=True, eq=False)
class RowBlock:
    """The x of a block whose rows are not gathered: kernels read them where they are.

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


def order_of(block: RowBlock | None) -> tuple[Any, ...]:
    """Return the last arguments of a CUDA kernel that reads rows by an order; null if it reads none."""
    if block is None:
        return np.uintp(0), np.uintp(0), np.int64(0), np.int64(0)
    rows = block.rows
    order = np.uintp(0 if rows.order is None else rows.order.data.ptr)
    return block.counters, order, np.int64(rows.stride), np.int64(block.first)
