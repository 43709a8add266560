"""Backpropagation: the forward pass and the four equations, each a function.

Rows are examples, so a note's column equation z = w a + b appears as z = a wᵀ + b. Each function works on
one block of rows; the 1 / batch and the sample weights enter once, in the output delta, as
`block.delta_scale`. A network of L weight layers costs L matmuls forward and 2L - 1 backward, 2L with the
input gradient. Where matmuls round their operands, x, a, δ and the weights are rounded as they are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from .backends import Array, Backend, Rows
from .kernels import ACTIVATIONS, Cost, Precision
from .layers import Layer, Parameters
from .workspace import Block, Workspace

__all__ = [
    "Problem",
    "Rounding",
    "backpropagate",
    "evaluate",
    "forward",
    "gradients",
    "output_delta",
    "predict",
    "propagate",
]


IDENTITY = ACTIVATIONS["identity"]


@dataclass(frozen=True)
class Rounding:
    """What matmuls round their operands to, and where the weights are kept so.

    Attributes
    ----------
    values : every weight, flat, as the network has them.
    rounded : the same, rounded, which a step begins with.
    weights : each layer's view of `rounded`.
    """

    precision: Precision
    values: Array
    rounded: Array
    weights: Sequence[Array]


@dataclass(frozen=True)
class Problem:
    """What a step computes on: the layers and the cost they are to minimise, on one backend."""

    backend: Backend
    layers: Sequence[Layer]
    cost: Cost
    rounding: Rounding | None = None

    @property
    def precision(self) -> Precision | None:
        """What matmuls round their operands to."""
        return None if self.rounding is None else self.rounding.precision

    def weights(self, k: int) -> Array:
        """Of layers[k], as its matmuls read them."""
        return self.layers[k].weights if self.rounding is None else self.rounding.weights[k]

    def round(self, operands: Array) -> None:
        """What a verb has written for matmuls to read, rounded if they round."""
        if self.rounding is not None:
            self.backend.round(operands, self.rounding.precision)

    def round_weights(self) -> None:
        """The weights, as matmuls read them, brought up to date."""
        if self.rounding is not None:
            self.backend.convert(self.rounding.values, self.rounding.rounded)
            self.round(self.rounding.rounded)


@dataclass(frozen=True)
class Dropping:
    """Which dropout masks a training step draws: those of `seed`."""

    seed: int


def forward(problem: Problem, block: Block, counters: Array, dropping: Dropping | None) -> None:
    """a^l = σ(z^l), z^l = a^{l-1} w^lᵀ + b^l, layer after layer."""
    backend = problem.backend
    for k, layer in enumerate(problem.layers):
        z, activated, a = block.z[k], block.activated[k], block.a[k + 1]
        x, weights, biases = block.a[k], problem.weights(k), layer.biases
        precision, keeps_z = problem.precision, block.keeps_z[k]
        last = layer is problem.layers[-1]
        if last and not block.outputs_read:
            backend.layer_forward(IDENTITY, x, weights, biases, z, z, precision)
            return
        activation = layer.activation
        backend.layer_forward(activation, x, weights, biases, z, activated, precision, keeps_z)
        if last:
            return  # the outputs are no operands
        problem.round(activated)
        if dropping is not None and layer.dropout:
            first = block.rows.start * layer.n_out
            backend.dropout(activated, a, counters, dropping.seed, k, first, layer.dropout)
            problem.round(a)


def output_delta(problem: Problem, block: Block) -> None:
    """δ^L = ∂C/∂a^L ⊙ σ′(z^L), where the block has room for it, and the cost of each row."""
    product = block.unrounded_deltas[-1] if block.deltas else None
    problem.backend.output_delta(
        problem.cost,
        problem.layers[-1].activation,
        block.z[-1],
        block.a[-1],
        block.y,
        block.delta_scale,
        product,
        block.costs,
    )
    if product is not None and product is not block.deltas[-1]:
        problem.backend.convert(product, block.deltas[-1])
        problem.round(block.deltas[-1])


def propagate(
    problem: Problem, block: Block, k: int, counters: Array, dropping: Dropping | None
) -> None:
    """δ^l = (δ^{l+1} w^{l+1}) ⊙ σ′(z^l); layers[k] is layer l."""
    backend, layer = problem.backend, problem.layers[k]
    product, delta = block.unrounded_deltas[k], block.deltas[k]
    after, weights, precision = block.deltas[k + 1], problem.weights(k + 1), problem.precision
    reads = block.activated[k] if layer.activation.reads == "a" else block.z[k]
    if dropping is not None and layer.dropout:
        first = block.rows.start * layer.n_out
        backend.matmul(after, weights, product, precision=precision)
        backend.dropout(product, product, counters, dropping.seed, k, first, layer.dropout)
        backend.multiply_by_derivative(layer.activation, reads, product, delta)
    else:
        backend.layer_backward(layer.activation, after, weights, reads, product, delta, precision)
    problem.round(delta)


def gradients(problem: Problem, block: Block, k: int, gradient: Parameters, beta: float) -> None:
    """∂C/∂w^l = δ^lᵀ a^{l-1} and ∂C/∂b^l = column sums of δ^l, each + beta times what is there."""
    problem.backend.layer_gradients(
        block.deltas[k], block.a[k], gradient.weights, gradient.biases, beta, problem.precision
    )


def backward(
    problem: Problem,
    block: Block,
    gradient: Sequence[Parameters],
    beta: float,
    counters: Array,
    dropping: Dropping | None,
) -> None:
    """From the last layer's gradients to the first's; `beta` weighs what `gradient` holds."""
    for k in reversed(range(len(problem.layers))):
        with beside(problem, block, k > 0):
            gradients(problem, block, k, gradient[k], beta)
        if k:
            propagate(problem, block, k - 1, counters, dropping)
    if block.input_gradient is not None:
        weights, precision = problem.weights(0), problem.precision
        problem.backend.matmul(block.deltas[0], weights, block.input_gradient, precision=precision)


def beside(problem: Problem, block: Block, something_follows: bool = True) -> Any:
    """Where the block's buffers allow it, what is done within may run beside what follows."""
    return problem.backend.beside() if block.apart and something_follows else nullcontext()


def gather_batch(problem: Problem, block: Block, rows: Rows, counters: Array) -> None:
    """Bring a block's rows of x and, unless predicting, its targets into its buffers."""
    backend, first = problem.backend, block.rows.start
    if block.y is not None:
        smoothing = problem.cost.label_smoothing
        low = smoothing / block.y.shape[1]
        with beside(problem, block):
            if block.labels is None:
                backend.gather(rows, "y", counters, first, block.y, scale=1 - smoothing, shift=low)
            else:
                backend.gather(rows, "y", counters, first, block.labels)
                backend.one_hot(block.labels, block.y, low, 1 - smoothing + low)
    backend.gather(rows, "x", counters, first, block.a[0])
    problem.round(block.a[0])


def set_row_weights(problem: Problem, workspace: Workspace, rows: Rows, counters: Array) -> None:
    """Each row's share of the batch's cost: its sample weight over their sum, if it has one; and of the
    output delta, where that is scaled."""
    if rows.weights is not None:
        problem.backend.gather(rows, "weights", counters, 0, workspace.scale)
        problem.backend.normalize(workspace.scale)
    if workspace.loss_scale is not None:
        problem.backend.multiply(workspace.scale, workspace.loss_scale, workspace.delta_scale)


def backpropagate(
    problem: Problem,
    workspace: Workspace,
    rows: Rows,
    counters: Array,
    gradient: Sequence[Sequence[Parameters]],
    beta: float,
    costs: Array,
    dropping: Dropping | None = None,
) -> None:
    """Forward and backward over every shard of the workspace.

    Parameters
    ----------
    gradient : one gradient for each shard; the first is added to with `beta`, the others overwritten.
    costs : float64, (shards, steps); the batch's mean cost is added at [:, counters[1]], each shard's part
        in its row.
    """
    problem.round_weights()
    set_row_weights(problem, workspace, rows, counters)

    def run(shard: int) -> None:
        for k, block in enumerate(workspace.shards[shard]):
            gather_batch(problem, block, rows, counters)
            forward(problem, block, counters, dropping)
            problem.backend.meet()  # the targets are there
            output_delta(problem, block)
            with beside(problem, block):
                problem.backend.weighted_sum(block.costs, block.scale, costs[shard], counters)
            weight = 1.0 if k else beta if shard == 0 else 0.0
            backward(problem, block, gradient[shard], weight, counters, dropping)
            problem.backend.meet()

    problem.backend.run_shards([partial(run, shard) for shard in range(len(workspace.shards))])


def evaluate(
    problem: Problem, workspace: Workspace, rows: Rows, counters: Array, costs: Array
) -> None:
    """The mean cost alone, as `backpropagate` adds it, by forward passes."""
    problem.round_weights()
    set_row_weights(problem, workspace, rows, counters)

    def run(shard: int) -> None:
        for block in workspace.shards[shard]:
            gather_batch(problem, block, rows, counters)
            forward(problem, block, counters, None)
            problem.backend.meet()
            output_delta(problem, block)
            problem.backend.weighted_sum(block.costs, block.scale, costs[shard], counters)

    problem.backend.run_shards([partial(run, shard) for shard in range(len(workspace.shards))])


def predict(problem: Problem, workspace: Workspace, rows: Rows, counters: Array) -> None:
    """The outputs, into the array that the workspace was made with."""
    problem.round_weights()

    def run(shard: int) -> None:
        for block in workspace.shards[shard]:
            gather_batch(problem, block, rows, counters)
            forward(problem, block, counters, None)

    problem.backend.run_shards([partial(run, shard) for shard in range(len(workspace.shards))])
