"""The verbs on the CPU: the compiled kernel if there is one, else the NumPy twin.

SciPy's BLAS computes all matmuls of arrays; columns.py has the verbs of `Columns`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ...kernels import (
    Activation,
    OutputHead,
    ParameterArrays,
    Precision,
    StepVariables,
    UpdateRule,
)
from ...kernels.arithmetic import add_cpu, advance_cpu
from ...kernels.batch import (
    check_rows_cpu,
    check_rows_numpy,
    gather_cpu,
    gather_numpy,
    normalize_cpu,
    normalize_numpy,
    one_hot_cpu,
    one_hot_numpy,
)
from ...kernels.bias_activate import add_bias_cpu, bias_activate_cpu, bias_activate_numpy
from ...kernels.cpu.source import SparseSource
from ...kernels.dropout import dropout_cpu, dropout_numpy
from ...kernels.matmul import matmul_cpu
from ...kernels.multiply_by_derivative import (
    multiply_by_derivative_cpu,
    multiply_by_derivative_numpy,
)
from ...kernels.output_delta import output_delta_cpu, output_delta_numpy
from ...kernels.precision import round_numpy
from ...kernels.row_costs import row_costs_cpu, row_costs_numpy
from ...kernels.scaling import adapt_loss_scale_numpy, multiply_numpy
from ...kernels.softmax import (
    softmax_cpu,
    softmax_cross_entropy_cpu,
    softmax_cross_entropy_numpy,
    softmax_jacobian_numpy,
    softmax_numpy,
)
from ...kernels.sparse import (
    sparse_gradient_cpu,
    sparse_gradient_numpy,
    sparse_product_cpu,
    sparse_product_numpy,
)
from ...kernels.sums import (
    PRODUCT_ROWS,
    column_sums_cpu,
    column_sums_numpy,
    weighted_sum_cpu,
    weighted_sum_numpy,
)
from ...kernels.typing import Bound
from ...kernels.update import update_cpu, update_numpy
from ..base import Array, Rows, SparseBlock, Verbs
from . import blas, steps
from .steps import NumpySteps

__all__ = ["NumpyVerbs"]

TOUCH_WORK = 4
"""The cost of reading an element of a matmul's weights, in multiply-adds."""

SPARSE_SHARE = 64
"""Of this many numbers in sparse rows, one is taken to be stored, because steps are cut before rows are
known."""

LARGE_BYTES = 2**20
"""The bytes of a product's result that does not stay in a second-level cache. Its parts may have half of
PART_WORK, because two threads write to memory faster than one."""

UPDATE_WORK, SHARED_PART = 4, 2048
"""The cost of updating a parameter, for each array that the update reads beside it, in multiply-adds. If
several shards have gradients, a part has at least SHARED_PART parameters instead: they and the gradients
are in several caches, and each thread fetches only what its part needs."""


class NumpyVerbs(NumpySteps, Verbs):
    """The verbs on the CPU."""

    def gather(
        self,
        rows: Rows,
        field: str,
        counters: Array,
        first: int,
        out: Array,
        scale: float = 1.0,
        shift: float = 0.0,
    ) -> None:
        source = self._source(rows, field)
        self._do(
            self._compiled(gather_cpu, source, counters, first, out, scale, shift)
            or gather_numpy(rows, field, counters, first, out, scale, shift)
        )

    def check_rows(
        self,
        rows: Rows,
        counters: Array,
        first: int,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        found: Array,
    ) -> None:
        source = self._source(rows, "x")
        self._do(
            self._compiled(check_rows_cpu, source, counters, first, shape, dtype, found)
            or check_rows_numpy(rows, counters, first, shape[0], dtype, found)
        )

    def one_hot(self, labels: Array, out: Array, low: float, high: float) -> None:
        self._do(
            self._compiled(one_hot_cpu, labels, out, low, high)
            or one_hot_numpy(labels, out, low, high)
        )

    def normalize(self, weights: Array) -> None:
        self._do(self._compiled(normalize_cpu, weights) or normalize_numpy(weights))

    def matmul(
        self,
        a: Array,
        b: Array,
        out: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        alpha: float = 1.0,
        beta: float = 0.0,
        precision: Precision | None = None,
    ) -> None:
        # Threads share the product along the larger side of `out`, its rows or its columns.
        by_rows = out.shape[0] > out.shape[1]
        inner = a.shape[0] if transpose_a else a.shape[1]

        def matmul_part(part: slice) -> None:
            rows, columns = (part, slice(None)) if by_rows else (slice(None), part)
            matmul = blas.Matmul(
                a[:, rows] if transpose_a else a[rows],
                b[columns] if transpose_b else b[:, columns],
                out[rows, columns],
                transpose_a=transpose_a,
                transpose_b=transpose_b,
                alpha=alpha,
                beta=beta,
            )
            self._do(self._compiled(matmul_cpu, matmul) or matmul)

        least = steps.PART_WORK // 2 if out.nbytes > LARGE_BYTES else steps.PART_WORK
        parts = self._parts(max(out.shape), inner * (min(out.shape) + TOUCH_WORK), least)
        self.run_shards([partial(matmul_part, part) for part in parts])

    def sparse_product(self, x: SparseBlock, weights: Array, out: Array) -> None:
        source = self._source(x.rows, "x", SparseSource)

        def product_part(part: slice) -> None:
            w, z = weights[part], out[:, part]
            self._do(
                self._compiled(sparse_product_cpu, source, x, w, z) or sparse_product_numpy(x, w, z)
            )

        parts = self._parts(len(weights), _sparse_work(x, weights))
        self.run_shards([partial(product_part, part) for part in parts])

    def sparse_gradient(self, delta: Array, x: SparseBlock, out: Array, beta: float) -> None:
        source = self._source(x.rows, "x", SparseSource)

        def gradient_part(part: slice) -> None:
            d, gradient = delta[:, part], out[part]
            self._do(
                self._compiled(sparse_gradient_cpu, source, d, x, gradient, beta)
                or sparse_gradient_numpy(d, x, gradient, beta)
            )

        parts = self._parts(len(out), _sparse_work(x, out))
        self.run_shards([partial(gradient_part, part) for part in parts])

    def round(self, values: Array, precision: Precision) -> None:
        self._do(round_numpy(precision, values, self._scratch(values.dtype)))

    def convert(self, values: Array, out: Array) -> None:
        self._do(lambda: np.copyto(out, values))

    def bias_activate(
        self,
        activation: Activation,
        z: Array,
        biases: Array | None,
        a: Array,
        keep_z: bool = True,
    ) -> None:
        scratch = self._scratch(z.dtype)
        if not activation.rowwise:
            self._do(
                self._compiled(bias_activate_cpu, activation, z, biases, a)
                or bias_activate_numpy(activation, z, biases, a, scratch)
            )
            return
        if biases is not None:
            add = self._compiled(add_bias_cpu, z, biases)
            self._do(add or (lambda: np.add(z, biases, out=z)))
        self._do(self._compiled(softmax_cpu, z, a) or softmax_numpy(z, a, scratch))

    def dropout(
        self, x: Array, out: Array, counters: Array, seed: int, layer: int, first: int, rate: float
    ) -> None:
        arguments = x, out, counters, seed, layer, first, rate
        self._do(
            self._compiled(dropout_cpu, *arguments)
            or dropout_numpy(*arguments, self._scratch(x.dtype))
        )

    def output_delta(
        self,
        head: OutputHead,
        z: Array,
        a: Array,
        y: Array,
        scale: Array,
        delta: Array | None,
        costs: Array | None,
    ) -> None:
        scratch = self._scratch(a.dtype)
        if head.is_fused:
            arrays = z, y, scale, delta, costs
            self._do(
                self._compiled(softmax_cross_entropy_cpu, *arrays)
                or softmax_cross_entropy_numpy(*arrays, scratch)
            )
            return
        if costs is not None:
            self._do(
                self._compiled(row_costs_cpu, head, z, a, y, costs)
                or row_costs_numpy(head, z, a, y, costs, scratch)
            )
        if delta is not None:
            v = a if head.activation.reads == "a" else z
            self._do(
                self._compiled(output_delta_cpu, head, a, y, scale, v, delta)
                or output_delta_numpy(head, a, y, scale, v, delta, scratch)
            )
            if head.needs_jacobian:
                self._do(softmax_jacobian_numpy(a, delta, scratch))

    def multiply_by_derivative(
        self, activation: Activation, v: Array, product: Array, delta: Array
    ) -> None:
        if product is not delta:
            self.convert(product, delta)
        if activation.rowwise:
            self._do(softmax_jacobian_numpy(v, delta, self._scratch(delta.dtype)))
        elif not activation.is_identity:
            self._do(
                self._compiled(multiply_by_derivative_cpu, activation, v, delta)
                or multiply_by_derivative_numpy(activation, v, delta, self._scratch(delta.dtype))
            )

    def column_sums(self, values: Array, out: Array, beta: float = 0.0) -> None:
        ones = np.ones((1, min(len(values), PRODUCT_ROWS)), values.dtype)

        def row_of_sums(chunk: Array, target: Array, beta: float) -> Bound:
            return blas.Matmul(ones[:, : len(chunk)], chunk, target[None, :], beta=beta)

        self._do(
            self._compiled(column_sums_cpu, values, out, beta)
            or column_sums_numpy(values, out, beta, row_of_sums)
        )

    def weighted_sum(
        self, values: Array, weights: Array | None, out: Array, counters: Array | None = None
    ) -> None:
        slot, add = (None, False) if counters is None else (counters[1:], True)
        self._do(
            self._compiled(weighted_sum_cpu, values, weights, out, slot, add)
            or weighted_sum_numpy(values, weights, out, slot, add)
        )

    def multiply(self, values: Array, factor: Array, out: Array) -> None:
        self._do(multiply_numpy(values, factor, out))

    def adapt_loss_scale(self, loss_scale: Array, squared_norm: Array) -> None:
        self._do(adapt_loss_scale_numpy(loss_scale, squared_norm))

    def add(self, values: Array, out: Array) -> None:
        self._do(self._compiled(add_cpu, values, out) or (lambda: np.add(out, values, out=out)))

    def update(
        self,
        rule: UpdateRule,
        parameters: ParameterArrays,
        step: StepVariables,
        shard_gradients: Sequence[Array] = (),
    ) -> None:
        def update_part(part: slice) -> None:
            for gradient in shard_gradients:
                self.add(gradient[part], parameters.gradient[part])
            arrays = parameters.part(part)
            self._do(
                self._compiled(update_cpu, rule, arrays, step)
                or update_numpy(rule, arrays, step, self._scratch(arrays.theta.dtype))
            )

        size, work = parameters.theta.size, UPDATE_WORK * (1 + len(parameters.state))
        parts = self._parts(size, 1, SHARED_PART) if shard_gradients else self._parts(size, work)
        self.run_shards([partial(update_part, part) for part in parts])

    def advance(self, counters: Array) -> None:
        self._do(
            self._compiled(advance_cpu, counters) or (lambda: np.add(counters, 1, out=counters))
        )


def _sparse_work(x: SparseBlock, weights: Array) -> int:
    """Estimate the multiply-adds of a sparse product for each of its outputs."""
    n_in = int(weights.shape[1])
    return n_in * TOUCH_WORK + x.count * n_in // SPARSE_SHARE
