"""The kernels of a backend: what the engine asks for, with default forms of what a backend may fuse.

`base.py` says what a verb's arguments are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..kernels import (
    ACTIVATIONS,
    Activation,
    OutputHead,
    ParameterArrays,
    Precision,
    StepVariables,
    UpdateRule,
)
from ..kernels.row_block import RowBlock, Targets
from ..kernels.sparse_rows import SparseBlock
from ..kernels.typing import Array
from .rows import Rows

__all__ = ["Verbs"]


class Verbs(ABC):
    """The kernels, which the engine calls. They are no part of the public interface."""

    @abstractmethod
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
        """out = scale · (the step's rows of `rows.<field>`, starting at its row `first`) + shift."""

    def gather_output_gradient(self, rows: Rows, counters: Array, first: int, out: Array) -> None:
        """out = the step's rows of `rows.y`, as `gather` finds them; `out` is memory of the last δ."""
        self.gather(rows, "y", counters, first, out)

    def check_rows(
        self,
        rows: Rows,
        counters: Array,
        first: int,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        found: Array,
    ) -> None:
        """found[0] = 1 if a number in rows of x is NaN, infinite or too large for `dtype`.

        The rows are those that `gather` would find for an `out` of this shape. Only backends with
        `checks_rows` have this verb.
        """
        raise NotImplementedError

    @abstractmethod
    def one_hot(self, labels: Array, out: Array, low: float, high: float) -> None:
        """out[i, j] = `high` where j is labels[i], else `low`."""

    @abstractmethod
    def normalize(self, weights: Array) -> None:
        """weights ← weights / Σ weights; all zero stays all zero."""

    @abstractmethod
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
        """out = alpha op(a) op(b) + beta out; with `precision`, a and b hold numbers rounded to it."""

    @abstractmethod
    def round(self, values: Array, precision: Precision) -> None:
        """Round `values`, which a verb has written to `operands`, if storing has not rounded them."""

    @abstractmethod
    def convert(self, values: Array, out: Array) -> None:
        """out = values; one or both may be arrays made by `operands`."""

    @abstractmethod
    def bias_activate(
        self,
        activation: Activation,
        z: Array,
        biases: Array | None,
        a: Array,
        keep_z: bool = True,
    ) -> None:
        """z ← z + b and a = σ(z). Softmax is applied to each row.

        If `a` is `z`, a overwrites z. Without `keep_z`, the contents of `z` are undefined afterwards.
        """

    @abstractmethod
    def sparse_product(self, x: SparseBlock, weights: Array, out: Array) -> None:
        """out = x wᵀ."""

    @abstractmethod
    def sparse_gradient(self, delta: Array, x: SparseBlock, out: Array, beta: float) -> None:
        """out = δᵀ x + beta out."""

    # The rows of a step. A backend may leave them where they are, for the verbs below.

    def layer_input(
        self,
        rows: Rows,
        counters: Array,
        first: int,
        out: Array,
        weights: Array,
        precision: Precision | None = None,
    ) -> Array | RowBlock:
        """Return the step's rows of x, from its row `first` on, for the verbs of the first layer.

        They are gathered to `out`, or stay where they are: a `RowBlock`. `weights` are the layer's.
        """
        self.gather(rows, "x", counters, first, out)
        return out

    def gather_targets(
        self,
        targets: Targets,
        head: OutputHead,
        weights: Array,
        precision: Precision | None = None,
        keep: bool = False,
    ) -> None:
        """Write the targets to `targets.y`, if `output_layer` with these arguments reads them there."""
        rows, counters, first = targets.block.rows, targets.block.counters, targets.block.first
        if targets.labels is None:
            factor, shift = targets.factor, targets.shift
            self.gather(rows, "y", counters, first, targets.y, scale=factor, shift=shift)
        else:
            self.gather(rows, "y", counters, first, targets.labels)
            self.one_hot(targets.labels, targets.y, targets.shift, targets.factor + targets.shift)

    # A layer's three products, each with the operation after it. A backend may fuse the two.

    def layer_forward(
        self,
        activation: Activation,
        x: Array | RowBlock | SparseBlock,
        weights: Array,
        biases: Array | None,
        z: Array,
        a: Array,
        precision: Precision | None = None,
        keep_z: bool = True,
    ) -> None:
        """z = x wᵀ + b and a = σ(z), with the rules of `bias_activate`."""
        if isinstance(x, SparseBlock):
            self.sparse_product(x, weights, z)
        else:
            self.matmul(x, weights, z, transpose_b=True, precision=precision)
        if biases is not None or a is not z or not activation.is_identity:
            self.bias_activate(activation, z, biases, a, keep_z)

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
        """out = (δ w) ⊙ σ′(v), with δ and w of the next layer; `v` is the a or z that σ′ reads.

        `product` is memory for δ w. It may be `out`.
        """
        self.matmul(delta, weights, product, precision=precision)
        self.multiply_by_derivative(activation, v, product, out)

    def layer_gradients(
        self,
        delta: Array,
        a: Array | RowBlock | SparseBlock,
        weights: Array,
        biases: Array | None,
        beta: float,
        precision: Precision | None = None,
    ) -> None:
        """weights = δᵀ a + beta weights and biases = column sums of δ + beta biases."""
        if isinstance(a, SparseBlock):
            self.sparse_gradient(delta, a, weights, beta)
        else:
            self.matmul(delta, a, weights, transpose_a=True, beta=beta, precision=precision)
        if biases is not None:
            self.column_sums(delta, biases, beta)

    @abstractmethod
    def dropout(
        self, x: Array, out: Array, counters: Array, seed: int, layer: int, first: int, rate: float
    ) -> None:
        """out = 0 with probability `rate`, else x / (1 - rate).

        (seed, counters[0], layer, position) determine the mask. `first` is the position of x's first
        element. `out` may be `x`.
        """

    @abstractmethod
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
        """delta = scale ∂C/∂z and costs = C of each row; if one is None, it is not computed."""

    def output_layer(
        self,
        head: OutputHead,
        x: Array | RowBlock | SparseBlock,
        weights: Array,
        biases: Array | None,
        z: Array,
        a: Array | None,
        targets: Targets,
        scale: Array,
        delta: Array | None,
        costs: Array | None,
        precision: Precision | None = None,
        keep: bool = False,
    ) -> None:
        """z = x wᵀ + b, a = σ(z), delta = scale ∂C/∂z and costs = C of each row.

        What is None is not computed. Without `keep`, the contents of `z` are undefined afterwards.
        """
        if a is None:
            self.layer_forward(ACTIVATIONS["identity"], x, weights, biases, z, z, precision)
        else:
            self.layer_forward(head.activation, x, weights, biases, z, a, precision, a is not z)
        self.output_delta(head, z, z if a is None else a, targets.y, scale, delta, costs)

    @abstractmethod
    def multiply_by_derivative(
        self, activation: Activation, v: Array, product: Array, delta: Array
    ) -> None:
        """delta = product ⊙ σ′(v); `v` is the a or z that σ′ reads, and `product` may be `delta`.

        For softmax it is each row of the product times softmax's Jacobian. `product` is then undefined.
        """

    @abstractmethod
    def column_sums(self, values: Array, out: Array, beta: float = 0.0) -> None:
        """out = column sums of values + beta out, without loss of digits over any number of rows."""

    @abstractmethod
    def weighted_sum(
        self, values: Array, weights: Array | None, out: Array, counters: Array | None = None
    ) -> None:
        """out[counters[1]] += Σ weights values in float64; without counters, out[0] = Σ values²."""

    @abstractmethod
    def multiply(self, values: Array, factor: Array, out: Array) -> None:
        """out = factor[0] values; `factor` is float64."""

    @abstractmethod
    def adapt_loss_scale(self, loss_scale: Array, squared_norm: Array) -> None:
        """Halve the scale if the squared norm is not finite; double it after many finite ones."""

    @abstractmethod
    def add(self, values: Array, out: Array) -> None:
        """out ← out + values."""

    @abstractmethod
    def update(
        self,
        rule: UpdateRule,
        parameters: ParameterArrays,
        step: StepVariables,
        shard_gradients: Sequence[Array] = (),
    ) -> None:
        """gradient ← gradient + Σ shard_gradients; then update the parameters and the optimizer's state."""

    @abstractmethod
    def advance(self, counters: Array) -> None:
        """counters ← counters + 1, for both elements."""

    def update_with(
        self,
        rule: UpdateRule,
        parameters: ParameterArrays,
        step: StepVariables,
        shard_gradients: Sequence[Array] = (),
        *,
        rounded: Array | None = None,
        precision: Precision | None = None,
        advances: bool = False,
    ) -> None:
        """Update, and with it end a step: `rounded` = the weights, rounded; advance the counters.

        `rounded` is None, or memory of `precision` for the weights among the parameters. A backend may fuse
        the parts.
        """
        self.update(rule, parameters, step, shard_gradients)
        if rounded is not None and precision is not None:
            self.convert(parameters.theta[: rounded.size], rounded)
            self.round(rounded, precision)
        if advances:
            self.advance(step.counters)
