"""Activations that lie column by column, and the kernels that are compiled for them.

The values of one unit, for all rows of a block, are neighbours in memory. Vectors then go over rows, so
layers of any width are fast. These kernels have only a compiled form: NumPy's twins work row by row, as do
CUDA's kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .activations import Activation
from .cpu.build import kernel
from .cpu.calls import Call, bind
from .cpu.source import Source
from .cpu.texts import (
    activation_text,
    dropout_text,
    output_delta_text,
    parameters_of,
    row_costs_text,
)
from .dropout import keep_scale
from .output_head import OutputHead
from .typing import Array

__all__ = ["Columns", "has_activation", "has_dropout", "has_output"]

ROW_BYTES = 64
"""The bytes of the widest vector. The room for a unit's values is a multiple of it."""


@dataclass(frozen=True, eq=False)
class Columns:
    """A matrix of shape (rows, n) whose columns lie one after another.

    Kernels read and write whole vectors, so behind the last row there may be room for more.

    Attributes
    ----------
    values : array of shape (n, leading)
        The columns. Those of all matrices of a block are of the same length.
    rows : int
        The number of rows, at most `leading`.
    """

    values: Array
    rows: int

    @staticmethod
    def leading_for(rows: int, dtype: np.dtype[Any]) -> int:
        """Return the length of columns with room for `rows` rows."""
        width = ROW_BYTES // dtype.itemsize
        return -(-rows // width) * width

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, rows: slice) -> Columns:
        """Return the first rows, in the same memory."""
        return Columns(self.values, rows.indices(self.rows)[1])

    def part(self, columns: slice) -> Columns:
        """Return some of the columns, in the same memory."""
        return Columns(self.values[columns], self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows and columns."""
        return self.rows, len(self.values)

    @property
    def dtype(self) -> Any:
        """The dtype of the values."""
        return self.values.dtype

    @property
    def nbytes(self) -> int:
        """The bytes of the values."""
        return int(self.values.nbytes)

    @property
    def leading(self) -> int:
        """The number of elements from one column to the next."""
        return int(self.values.strides[0] // self.values.itemsize)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The number of rows and of columns, and `leading`, as kernels take them."""
        return (*self.shape, self.leading)


def has_activation(activation: Activation, dtype: Any) -> bool:
    """Whether an elementwise activation and its derivative are compiled for columns."""
    text = activation_text(activation)
    return bool(text) and kernel("columns_activate", dtype, text) is not None


def has_output(activation: Activation, head: OutputHead | None, dtype: Any) -> bool:
    """Whether an output activation is compiled for columns, and its cost if there is a `head`."""
    if head is not None and head.is_fused:
        return True
    if not (activation.rowwise or has_activation(activation, dtype)):
        return False
    if head is None:
        return True
    texts = (output_delta_text(head), "output_delta"), (row_costs_text(head), "row_costs")
    return all(text and kernel(f"columns_{name}", dtype, text) is not None for text, name in texts)


def has_dropout(dtype: Any) -> bool:
    """Whether dropout is compiled for columns."""
    return kernel("columns_dropout", dtype, dropout_text()) is not None


# The rows of a batch.


def gather(
    source: Source, counters: Array, first: int, out: Columns, scale: float, shift: float
) -> Call | None:
    """Bind `gather_cpu` with columns as its result; the rows behind the last repeat it."""
    rows, columns, leading = out.sizes
    place = source.slots, counters, first, out.values, rows, columns
    return bind("columns_gather", out.dtype, *place, float(scale), float(shift), leading)


def one_hot(labels: Array, out: Columns, low: float, high: float) -> Call | None:
    """Bind `one_hot_cpu` with columns as its result."""
    rows, columns, leading = out.sizes
    numbers = rows, columns, float(low), float(high), leading
    return bind("columns_one_hot", out.dtype, labels, out.values, *numbers)


def end_with_zeros(out: Columns) -> Call | None:
    """Bind what writes 0 behind the last row, as δ must have there."""
    return bind("columns_end_with_zeros", out.dtype, out.values, *out.sizes)


def to_rows(values: Columns, out: Array) -> Call | None:
    """Bind out = values, row by row."""
    return bind("columns_to_rows", out.dtype, values.values, out, *values.sizes)


# A layer.


def product(x: Columns, weights: Array, biases: Array | None, out: Columns) -> Call | None:
    """Bind out = x wᵀ + b; w may be some rows of a matrix."""
    return _product(x, weights, biases, out, transposed=False)


def product_with(delta: Columns, weights: Array, out: Columns) -> Call | None:
    """Bind out = δ w; w may be some columns of a matrix."""
    return _product(delta, weights, None, out, transposed=True)


def _product(
    x: Columns, weights: Array, biases: Array | None, out: Columns, *, transposed: bool
) -> Call | None:
    rows, n_out, leading_out = out.sizes
    arrays = weights, biases, x.values, out.values
    sizes = rows, n_out, x.shape[1], x.leading, leading_out
    step = weights.strides[0] // weights.itemsize
    return bind("columns_product", out.dtype, *arrays, *sizes, step, transposed)


def gradients(
    delta: Columns, a: Columns, weights: Array, biases: Array | None, beta: float
) -> Call | None:
    """Bind weights = δᵀ a + beta weights, and biases = column sums of δ + beta biases."""
    rows, n_out, leading_delta = delta.sizes
    arrays = delta.values, a.values, weights, biases, float(beta)
    sizes = rows, n_out, a.shape[1], leading_delta, a.leading
    return bind("columns_gradients", delta.dtype, *arrays, *sizes)


def activate(activation: Activation, z: Columns, a: Columns) -> Call | None:
    """Bind a = σ(z) of an elementwise σ; `a` may be `z`."""
    arguments = z.values, a.values, *z.sizes, parameters_of(activation)
    return bind("columns_activate", z.dtype, *arguments, text=activation_text(activation))


def multiply_by_derivative(activation: Activation, v: Columns, delta: Columns) -> Call | None:
    """Bind delta ← delta ⊙ σ′(v)."""
    arguments = v.values, delta.values, *v.sizes, parameters_of(activation)
    return bind("columns_derivative", v.dtype, *arguments, text=activation_text(activation))


def dropout(
    x: Columns, out: Columns, counters: Array, seed: int, layer: int, first: int, rate: float
) -> Call | None:
    """Bind `dropout_cpu` for columns; the mask is the same."""
    numbers = float(np.float32(rate)), keep_scale(rate)
    arguments = x.values, out.values, counters, seed, layer, first, *numbers, *x.sizes
    return bind("columns_dropout", x.dtype, *arguments, text=dropout_text())


# The output layer.


def softmax(z: Columns, a: Columns) -> Call | None:
    """Bind a = softmax of each row of z; `a` may be `z`."""
    return bind("columns_softmax", z.dtype, z.values, a.values, *z.sizes)


def softmax_cross_entropy(
    z: Columns, y: Columns, scale: Array, delta: Columns | None, costs: Array | None
) -> Call | None:
    """Bind δ^L and the costs of softmax with cross-entropy; one may be None."""
    results = None if delta is None else delta.values, costs
    return bind(
        "columns_softmax_cross_entropy", z.dtype, z.values, y.values, scale, *results, *z.sizes
    )


def softmax_jacobian(a: Columns, delta: Columns) -> Call | None:
    """Bind δ ← a ⊙ (δ - Σ δ a), where δ comes in as scale ∂C/∂a."""
    return bind("columns_softmax_jacobian", a.dtype, a.values, delta.values, *a.sizes)


def output_delta(
    head: OutputHead, a: Columns, y: Columns, scale: Array, v: Columns, delta: Columns
) -> Call | None:
    """Bind δ^L, or scale ∂C/∂a for softmax with a cost other than cross-entropy."""
    arrays = a.values, y.values, scale, v.values, delta.values
    arguments = *arrays, *a.sizes, parameters_of(head.activation, head.cost)
    return bind("columns_output_delta", a.dtype, *arguments, text=output_delta_text(head))


def row_costs(head: OutputHead, z: Columns, a: Columns, y: Columns, out: Array) -> Call | None:
    """Bind out = the cost of each row, (rows,)."""
    arguments = z.values, a.values, y.values, out, *a.sizes, parameters_of(None, head.cost)
    return bind("columns_row_costs", a.dtype, *arguments, text=row_costs_text(head))
