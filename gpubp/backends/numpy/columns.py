"""The verbs of blocks whose matrices lie column by column, with kernels that are compiled for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ...kernels import Activation, OutputHead, Precision, columns
from ...kernels.columns import Columns
from ..base import Array, RowBlock, Rows, SparseBlock
from . import steps
from .verbs import NumpyVerbs

__all__ = ["ColumnVerbs"]


LEAST_ROWS, FEW_ROWS, WEIGHT_BYTES = 16, 128, 2**20
"""The fewest rows of a batch whose matrices lie column by column: vectors go over rows. With more than
FEW_ROWS rows, a layer's weights have at most WEIGHT_BYTES: they are read again for every few rows, which is
slow from a distant cache. BLAS then computes the products."""


class ColumnVerbs(NumpyVerbs):
    """`NumpyVerbs` that take `Columns` too, where `has_columns` allows them."""

    def has_columns(
        self,
        rows: int,
        widths: Sequence[int],
        activations: Sequence[Activation],
        head: OutputHead | None,
        dtype: np.dtype[Any],
        drops: bool,
    ) -> bool:
        largest = max(n * m for n, m in pairwise(widths)) * dtype.itemsize
        return (
            rows >= LEAST_ROWS
            and (rows <= FEW_ROWS or largest <= WEIGHT_BYTES)
            and self.compiles
            and columns.has_output(activations[-1], head, dtype)
            and (not drops or columns.has_dropout(dtype))
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

    def gather_output_gradient(
        self, rows: Rows, counters: Array, first: int, out: Array | Columns
    ) -> None:
        super().gather_output_gradient(rows, counters, first, out)
        if isinstance(out, Columns):
            self._run(columns.end_with_zeros(out))

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
        inputs, sums, outputs = x, z, a
        activates = not activation.rowwise and (a is not z or not activation.is_identity)

        def forward_part(part: slice) -> None:
            b = None if biases is None else biases[part]
            self._run(columns.product(inputs, weights[part], b, sums.part(part)))
            if activates:
                self._run(columns.activate(activation, sums.part(part), outputs.part(part)))

        self._in_parts(forward_part, z, x.shape[1])
        if activation.rowwise:
            self._run(columns.softmax(z, a))

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
        given, result, reads = delta, out, v

        def backward_part(part: slice) -> None:
            self._run(columns.product_with(given, weights[:, part], result.part(part)))
            if not activation.is_identity:
                of_part = reads.part(part), result.part(part)
                self._run(columns.multiply_by_derivative(activation, *of_part))

        assert isinstance(out, Columns)
        self._in_parts(backward_part, out, delta.shape[1])

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

        self._in_parts(gradients_part, delta, a.shape[1])

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
        assert not any(options.values()), "of Columns, only δ w is computed here"
        given, result = a, out

        def product_part(part: slice) -> None:
            self._run(columns.product_with(given, b[:, part], result.part(part)))

        assert isinstance(out, Columns)
        self._in_parts(product_part, out, a.shape[1])

    def _in_parts(self, of_part: Callable[[slice], None], out: Columns, inner: int) -> None:
        """Let the threads share a product by the columns of `out`, if it is large enough."""
        rows, n_out = out.shape
        parts = self._parts(n_out, rows * inner, steps.COLUMN_PART_WORK)
        self.run_shards([partial(of_part, part) for part in parts])

    def multiply_by_derivative(
        self,
        activation: Activation,
        v: Array | Columns,
        product: Array | Columns,
        delta: Array | Columns,
    ) -> None:
        if not isinstance(delta, Columns):
            super().multiply_by_derivative(activation, v, product, delta)
        elif activation.rowwise:
            self._run(columns.softmax_jacobian(v, delta))
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
