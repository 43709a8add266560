"""The verbs on CUDA: kernels from CUDA text through CuPy, and matmuls by gpubp's kernel or cuBLAS."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ...kernels import (
    Activation,
    OutputHead,
    ParameterArrays,
    Precision,
    StepVariables,
    UpdateRule,
)
from ...kernels.batch import gather_cuda, normalize_cuda, one_hot_cuda
from ...kernels.bias_activate import bias_activate_cuda
from ...kernels.dropout import dropout_cuda
from ...kernels.matmul import (
    is_small,
    layer_backward_product,
    layer_forward_product,
    layer_gradients_product,
    matmul_cuda,
)
from ...kernels.multiply_by_derivative import multiply_by_derivative_cuda
from ...kernels.output_delta import output_delta_cuda
from ...kernels.precision import convert_cuda
from ...kernels.row_costs import row_costs_cuda
from ...kernels.scaling import adapt_loss_scale_cuda, multiply_cuda
from ...kernels.softmax import softmax_cross_entropy_cuda, softmax_cuda, softmax_jacobian_cuda
from ...kernels.sparse import sparse_gradient_cuda, sparse_product_cuda
from ...kernels.sums import column_sums_cuda, weighted_sum_cuda
from ...kernels.update import update_cuda
from ..base import Array, Rows, SparseBlock, Verbs
from .steps import CupySteps

__all__ = ["CupyVerbs", "is_small_product", "is_tf32"]


class CupyVerbs(CupySteps, Verbs):
    """The verbs on CUDA."""

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
        self._recording.reads(rows, field)
        if getattr(rows, field).dtype == np.float16:
            self._recording.refuse("float16 rows are widened whole first")
        self._do(gather_cuda(self.xp, rows, field, counters, first, out, scale, shift))

    def one_hot(self, labels: Array, out: Array, low: float, high: float) -> None:
        self._do(one_hot_cuda(self.xp, labels, out, low, high))

    def normalize(self, weights: Array) -> None:
        total = self.temporary(1, np.float64)
        self._do(weighted_sum_cuda(self.xp, weights, None, total, None, False, self))
        self._do(normalize_cuda(self.xp, total, weights))

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
        options = transpose_a, transpose_b, alpha, beta
        if is_small_product(a, out, precision):
            self._do(matmul_cuda(self.xp, a, b, out, *options, self))
        else:
            workspace = self._recording.workspace_for_cublas()
            tf32 = is_tf32(precision)
            self._do(self._cublas.bind(a, b, out, *options, tf32=tf32, workspace=workspace))

    def sparse_product(self, x: SparseBlock, weights: Array, out: Array) -> None:
        self._recording.reads(x.rows, "x")
        self._do(sparse_product_cuda(self.xp, x, weights, out))

    def sparse_gradient(self, delta: Array, x: SparseBlock, out: Array, beta: float) -> None:
        self._recording.reads(x.rows, "x")
        self._do(sparse_gradient_cuda(self.xp, delta, x, out, beta))

    def round(self, values: Array, precision: Precision) -> None:
        """Do nothing: bfloat16 and float16 are rounded when stored, tf32 when multiplied."""

    def convert(self, values: Array, out: Array) -> None:
        self._do(convert_cuda(self.xp, values, out))

    def bias_activate(
        self,
        activation: Activation,
        z: Array,
        biases: Array | None,
        a: Array,
        keep_z: bool = True,
    ) -> None:
        if activation.has_cuda:
            self._do(bias_activate_cuda(self.xp, activation, z, biases, a, keep_z, self._form))
            return
        if biases is not None:
            self._do(partial(self.xp.add, z, biases, out=z))
        if activation.rowwise:
            self._do(softmax_cuda(self.xp, z, a))
        else:
            assert activation.function is not None
            self._recording.refuse(_CUSTOM)
            self._store(activation.function(self.xp, z), a)

    def layer_forward(
        self,
        activation: Activation,
        x: Array | SparseBlock,
        weights: Array,
        biases: Array | None,
        z: Array,
        a: Array,
        precision: Precision | None = None,
        keep_z: bool = True,
    ) -> None:
        fuses = activation.has_cuda and not isinstance(x, SparseBlock)
        if not (fuses and is_small_product(x, z, precision)):
            super().layer_forward(activation, x, weights, biases, z, a, precision, keep_z)
        else:
            kept = z if keep_z and a is not z else None
            layer = x, weights, biases, kept, a
            self._do(layer_forward_product(activation, *layer, self).call(self.xp))

    def layer_backward(
        self,
        activation: Activation,
        delta: Array,
        weights: Array,
        v: Array,
        product: Array,
        out: Array,
        precision: Precision | None = None,
    ) -> None:
        if not (activation.has_cuda_derivative and is_small_product(delta, out, precision)):
            super().layer_backward(activation, delta, weights, v, product, out, precision)
        else:
            arrays = delta, weights, v, out
            self._do(layer_backward_product(activation, *arrays, self).call(self.xp))

    def layer_gradients(
        self,
        delta: Array,
        a: Array | SparseBlock,
        weights: Array,
        biases: Array | None,
        beta: float,
        precision: Precision | None = None,
    ) -> None:
        if not isinstance(a, SparseBlock) and is_small_product(delta, weights, precision):
            arrays = delta, a, weights, biases
            self._do(layer_gradients_product(*arrays, beta, self).call(self.xp))
        else:
            super().layer_gradients(delta, a, weights, biases, beta, precision)

    def dropout(
        self, x: Array, out: Array, counters: Array, seed: int, layer: int, first: int, rate: float
    ) -> None:
        self._do(dropout_cuda(self.xp, x, out, counters, seed, layer, first, rate))

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
        if head.is_fused:
            self._do(softmax_cross_entropy_cuda(self.xp, z, y, scale, delta, costs))
            return
        if costs is not None:
            self._row_costs(head, z, a, y, costs)
        if delta is not None:
            self._output_delta(head, z, a, y, scale, delta)
            if head.needs_jacobian:
                self._do(softmax_jacobian_cuda(self.xp, a, delta))

    def _row_costs(self, head: OutputHead, z: Array, a: Array, y: Array, costs: Array) -> None:
        if head.cost_text:
            self._do(row_costs_cuda(self.xp, head, z, a, y, costs))
            return
        assert head.cost.function is not None
        self._recording.refuse(_CUSTOM)
        self.xp.sum(head.cost.function(self.xp, a, y), axis=1, out=costs)

    def _output_delta(
        self, head: OutputHead, z: Array, a: Array, y: Array, scale: Array, delta: Array
    ) -> None:
        cost, activation = head.cost, head.activation
        v = a if activation.reads == "a" else z
        # One kernel if cost and activation both have text. Otherwise scale ∂C/∂a comes first.
        text = head.delta_text or head.cost_derivative_text()
        if text:
            self._do(output_delta_cuda(self.xp, text, a, y, scale, v, delta, self._form))
        else:
            assert cost.function_derivative is not None
            self._recording.refuse(_CUSTOM)
            self.xp.multiply(cost.function_derivative(self.xp, a, y), scale[:, None], out=delta)
        if not (head.delta_text or head.goes_by_rows):
            self.multiply_by_derivative(activation, v, delta, delta)

    def multiply_by_derivative(
        self, activation: Activation, v: Array, product: Array, delta: Array
    ) -> None:
        if activation.rowwise:
            self._do(softmax_jacobian_cuda(self.xp, v, product))
            if product is not delta:
                self.convert(product, delta)
        elif not activation.has_cuda_derivative:
            assert activation.function_derivative is not None
            self._recording.refuse(_CUSTOM)
            derivative = activation.function_derivative(self.xp, self._wide(v))
            self._store(self.xp.multiply(product, derivative), delta)
        elif not activation.is_identity:
            arrays = v, product, delta
            self._do(multiply_by_derivative_cuda(self.xp, activation, *arrays, self._form))
        elif product is not delta:
            self.convert(product, delta)

    def _wide(self, values: Array) -> Array:
        """Return `values` in a dtype that CuPy computes with; they may be operands of matmuls."""
        if values.dtype.kind == "f" and values.dtype != np.float16:
            return values
        wide = self.xp.empty(values.shape, np.float32)
        self.convert(values, wide)
        return wide

    def _store(self, values: Array, out: Array) -> None:
        """Write a custom function's result to `out`, which may be an operand of matmuls."""
        if out.dtype.kind == "f":
            out[...] = values
        else:
            self.convert(self.xp.ascontiguousarray(values, np.float32), out)

    def column_sums(self, values: Array, out: Array, beta: float = 0.0) -> None:
        self._do(column_sums_cuda(self.xp, values, out, beta, self))

    def weighted_sum(
        self, values: Array, weights: Array | None, out: Array, counters: Array | None = None
    ) -> None:
        slot = None if counters is None else counters[1:]
        options = slot, counters is not None, self, weights is None
        self._do(weighted_sum_cuda(self.xp, values, weights, out, *options))

    def multiply(self, values: Array, factor: Array, out: Array) -> None:
        self._do(multiply_cuda(self.xp, values, factor, out))

    def adapt_loss_scale(self, loss_scale: Array, squared_norm: Array) -> None:
        self._do(adapt_loss_scale_cuda(self.xp, loss_scale, squared_norm))

    def add(self, values: Array, out: Array) -> None:
        self._do(partial(self.xp.add, out, values, out=out))

    def update(
        self,
        rule: UpdateRule,
        parameters: ParameterArrays,
        step: StepVariables,
        shard_gradients: Sequence[Array] = (),
    ) -> None:
        for gradient in shard_gradients:
            self.add(gradient, parameters.gradient)
        self._do(update_cuda(self.xp, rule, parameters, step))

    def advance(self, counters: Array) -> None:
        self._do(partial(self.xp.add, counters, 1, out=counters))


def is_tf32(precision: Precision | None) -> bool:
    """Whether operands are rounded to tf32, which cuBLAS does."""
    return precision is not None and precision.storage == "float32"


def is_small_product(a: Array, out: Array, precision: Precision | None) -> bool:
    """Whether gpubp's matmul kernel, not cuBLAS, computes this product of `a` into `out`."""
    rows, columns = out.shape
    inner = a.size // rows
    return not is_tf32(precision) and is_small(rows, columns, inner)


_CUSTOM = "custom functions may do anything"
