"""The verbs of blocks whose matrices lie column by column, with kernels that are compiled for them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ...kernels import Activation, OutputHead, Precision, columns
from ...kernels.columns import Columns
from ..base import Array, RowBlock, Rows, SparseBlock
from .verbs import NumpyVerbs

__all__ = ["ColumnVerbs"]


LEAST_ROWS, FEW_ROWS, CACHED_BYTES = 16, 64, 2**20
"""The fewest rows of a batch whose matrices lie column by column: vectors go over rows. With more than
FEW_ROWS rows, a layer's weights have at most CACHED_BYTES: they are read again for every few rows, which is
slow from a distant cache. BLAS then computes the products."""


class ColumnVerbs(NumpyVerbs):
    """`NumpyVerbs` that take `Columns` too, where `has_columns` allows them."""

    def has_columns(
        self,
        rows: int,
        widths: Sequence[int],
        activations: Sequence[Activation],
        head: OutputHead,
        dtype: np.dtype[Any],
    ) -> bool:
        largest = max(n * m for n, m in pairwise(widths)) * dtype.itemsize
        return (
            rows >= LEAST_ROWS
            and (rows <= FEW_ROWS or largest <= CACHED_BYTES)
            and self.compiles
            and columns.has_head(head, dtype)
            and all(columns.has_activation(activation, dtype) for activation in activations[:-1])
        )

    def columns(self, rows: int, n: int, dtype: Any) -> Columns:
        return Columns(np.empty((n, Columns.leading_for(rows, dtype)), dtype), rows)

    # The rows of a batch.

    def gather(
        self,
        rows: Rows,
        field: str,
        counters: Array,
        first: int,
        out: Array | Columns,
        scale: float = 1.0,
        shift: float = 0.0,
    ) -> None:
        if not isinstance(out, Columns):
            super().gather(rows, field, counters, first, out, scale, shift)
            return
        source = self._source(rows, field)
        self._run(columns.gather(source, counters, first, out, scale, shift))

    def one_hot(self, labels: Array, out: Array | Columns, low: float, high: float) -> None:
        if not isinstance(out, Columns):
            super().one_hot(labels, out, low, high)
            return
        self._run(columns.one_hot(labels, out, low, high))

    def convert(self, values: Array | Columns, out: Array) -> None:
        if not isinstance(values, Columns):
            super().convert(values, out)
            return
        self._run(columns.to_rows(values, out))

    # A layer.

    def layer_forward(
        self,
        activation: Activation,
        x: Array | RowBlock | SparseBlock | Columns,
        weights: Array,
        biases: Array | None,
        z: Array | Columns,
        a: Array | Columns,
        precision: Precision | None = None,
        keep_z: bool = True,
    ) -> None:
        if not isinstance(z, Columns):
            super().layer_forward(activation, x, weights, biases, z, a, precision, keep_z)
            return
        assert isinstance(x, Columns)
        assert isinstance(a, Columns)
        self._columns_product(x, weights, biases, z, transposed=False)
        if activation.rowwise:
            self._run(columns.softmax(z, a))
        elif a is not z or not activation.is_identity:
            self._run(columns.activate(activation, z, a))

    def layer_backward(
        self,
        activation: Activation,
        delta: Array | Columns,
        weights: Array,
        v: Array | Columns,
        product: Array | Columns,
        out: Array | Columns,
        precision: Precision | None = None,
    ) -> None:
        if not isinstance(delta, Columns):
            super().layer_backward(activation, delta, weights, v, product, out, precision)
            return
        self.matmul(delta, weights, out)
        self.multiply_by_derivative(activation, v, out, out)

    def layer_gradients(
        self,
        delta: Array | Columns,
        a: Array | RowBlock | SparseBlock | Columns,
        weights: Array,
        biases: Array | None,
        beta: float,
        precision: Precision | None = None,
    ) -> None:
        if not isinstance(delta, Columns):
            super().layer_gradients(delta, a, weights, biases, beta, precision)
            return
        assert isinstance(a, Columns)
        whole, inputs = delta, a

        def gradients_part(part: slice) -> None:
            b = None if biases is None else biases[part]
            self._run(columns.gradients(whole.part(part), inputs, weights[part], b, beta))

        rows, n_out = delta.shape
        parts = self._parts(n_out, rows * weights.shape[1])
        self.run_shards([partial(gradients_part, part) for part in parts])

    def matmul(
        self,
        a: Array | Columns,
        b: Array,
        out: Array | Columns,
        **options: Any,
    ) -> None:
        if not isinstance(a, Columns):
            super().matmul(a, b, out, **options)
            return
        assert isinstance(out, Columns)
        self._columns_product(a, b, None, out, transposed=True)

    def _columns_product(
        self, x: Columns, weights: Array, biases: Array | None, out: Columns, *, transposed: bool
    ) -> None:
        """out = x wᵀ + b or, if transposed, out = x w."""

        def product_part(part: slice) -> None:
            w = weights[:, part] if transposed else weights[part]
            b = None if biases is None else biases[part]
            self._run(columns.product(x, w, b, out.part(part), transposed=transposed))

        rows, n_out = out.shape
        parts = self._parts(n_out, rows * x.shape[1])
        self.run_shards([partial(product_part, part) for part in parts])

    def multiply_by_derivative(
        self,
        activation: Activation,
        v: Array | Columns,
        product: Array | Columns,
        delta: Array | Columns,
    ) -> None:
        if not isinstance(delta, Columns):
            super().multiply_by_derivative(activation, v, product, delta)
        elif not activation.is_identity:
            self._run(columns.multiply_by_derivative(activation, v, delta))

    def dropout(
        self,
        x: Array | Columns,
        out: Array | Columns,
        counters: Array,
        seed: int,
        layer: int,
        first: int,
        rate: float,
    ) -> None:
        arguments = out, counters, seed, layer, first, rate
        if not isinstance(x, Columns):
            super().dropout(x, *arguments)
            return
        self._run(columns.dropout(x, *arguments))

    # The output layer.

    def output_delta(
        self,
        head: OutputHead,
        z: Array | Columns,
        a: Array | Columns,
        y: Array | Columns,
        scale: Array,
        delta: Array | Columns | None,
        costs: Array | None,
    ) -> None:
        if not isinstance(z, Columns):
            super().output_delta(head, z, a, y, scale, delta, costs)
            return
        if head.is_fused:
            self._run(columns.softmax_cross_entropy(z, y, scale, delta, costs))
            return
        if costs is not None:
            self._run(columns.row_costs(head, z, a, y, costs))
        if delta is not None:
            v = a if head.activation.reads == "a" else z
            self._run(columns.output_delta(head, a, y, scale, v, delta))
            if head.needs_jacobian:
                self._run(columns.softmax_jacobian(a, delta))

    def _run(self, call: Any) -> None:
        """Make a compiled call or, during a capture, append it to the tape."""
        assert call is not None, "has_columns has found every kernel"
        self._do(call)
