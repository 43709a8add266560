"""Backpropagation: the forward pass and the four equations, each a function.

Rows are examples, so the equation z = w a + b for columns becomes z = a wᵀ + b. The functions of the
equations work on one block of rows. The 1 / batch and the sample weights enter once: `block.delta_scale`
brings them into the output delta. A network of L layers needs L matmuls forward and 2L - 1 backward, or 2L
with the input gradient. With reduced precision, x, a, δ and the weights are rounded as soon as they are
computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from .backends import Array, RowBlock, Rows, SparseBlock, Targets
from .kernels.typing import Bound
from .layers import Parameters
from .problem import Problem
from .workspace import Block, Workspace

__all__ = [
    "backpropagate",
    "evaluate",
    "forward",
    "gradients",
    "output_delta",
    "output_delta_from",
    "predict",
    "propagate",
    "vjp",
]

NOTHING: Mapping[int, Bound] = {}


def forward(problem: Problem, block: Block) -> None:
    """a^l = σ(z^l), z^l = a^{l-1} w^lᵀ + b^l, for each layer in turn."""
    hidden_layers(problem, block)
    _layer_forward(problem, block, len(problem.layers) - 1)


def hidden_layers(problem: Problem, block: Block) -> None:
    """The forward pass of each layer but the last."""
    for k in range(len(problem.layers) - 1):
        _layer_forward(problem, block, k)
        problem.round(block.activated[k])
        if problem.drops(k):
            problem.drop(k, block.rows.start, block.activated[k], block.a[k + 1])
            problem.round(block.a[k + 1])


def _layer_forward(problem: Problem, block: Block, k: int) -> None:
    layer = problem.layers[k]
    operands = block.a[k], problem.weights(k), layer.biases
    kept = problem.precision, block.keeps_z[k]
    problem.backend.layer_forward(
        layer.activation, *operands, block.z[k], block.activated[k], *kept
    )


def write_outputs(problem: Problem, block: Block) -> None:
    """Write the outputs row by row, if they are asked for and lie column by column."""
    if block.outputs is not None:
        problem.backend.convert(block.a[-1], block.outputs)


def output_delta(problem: Problem, block: Block) -> None:
    """The last layer's z^L and a^L; δ^L = ∂C/∂a^L ⊙ σ′(z^L), if the block has deltas; each row's cost."""
    backend, k = problem.backend, len(problem.layers) - 1
    unrounded = block.unrounded_deltas[k] if block.deltas else None
    operands = block.a[k], problem.weights(k), problem.layers[k].biases, block.z[k]
    outputs = block.a[k + 1] if block.outputs_read else None
    results = block.targets, block.delta_scale, unrounded, block.costs
    how = problem.precision, block.keep_all
    backend.output_layer(problem.head, *operands, outputs, *results, *how)
    if unrounded is not None and unrounded is not block.deltas[k]:
        backend.convert(unrounded, block.deltas[k])
        problem.round(block.deltas[k])


def output_delta_from(problem: Problem, block: Block, rows: Rows) -> None:
    """δ^L = g ⊙ σ′(z^L), where the rows' y is g = ∂C/∂a^L; softmax has its Jacobian instead of σ′."""
    backend, k = problem.backend, len(problem.layers) - 1
    activation, first = problem.layers[k].activation, block.rows.start
    product, delta = block.unrounded_deltas[k], block.deltas[k]
    backend.gather_output_gradient(rows, problem.counters, first, product)
    reads = block.activated[k] if activation.reads == "a" else block.z[k]
    backend.multiply_by_derivative(activation, reads, product, delta)
    problem.round(delta)


def propagate(problem: Problem, block: Block, k: int) -> None:
    """δ^l = (δ^{l+1} w^{l+1}) ⊙ σ′(z^l); layers[k] is layer l."""
    backend, activation = problem.backend, problem.layers[k].activation
    after, weights, precision = block.deltas[k + 1], problem.weights(k + 1), problem.precision
    product, delta = block.unrounded_deltas[k], block.deltas[k]
    reads = block.activated[k] if activation.reads == "a" else block.z[k]
    if problem.drops(k):
        backend.matmul(after, weights, product, precision=precision)
        problem.drop(k, block.rows.start, product, product)
        backend.multiply_by_derivative(activation, reads, product, delta)
    else:
        backend.layer_backward(activation, after, weights, reads, product, delta, precision)
    problem.round(delta)


def gradients(problem: Problem, block: Block, k: int, gradient: Parameters, beta: float) -> None:
    """∂C/∂w^l = δ^lᵀ a^{l-1} and ∂C/∂b^l = column sums of δ^l, each + beta times the old `gradient`."""
    problem.backend.layer_gradients(
        block.deltas[k], block.a[k], gradient.weights, gradient.biases, beta, problem.precision
    )


def backward(
    problem: Problem,
    block: Block,
    gradient: Sequence[Parameters | None],
    beta: float,
    after_layer: Mapping[int, Bound] = NOTHING,
) -> None:
    """Compute δ and gradients from the last layer to the first; beta is the factor of old gradients.

    A layer whose `gradient` is None gets none. Below the lowest layer that has one, nothing is computed.

    `after_layer` has functions for some layers. Each is called, and may run beside later verbs, when the
    layer's gradient has been computed and its weights are not read any more.
    """
    lowest = next(k for k, of_layer in enumerate(gradient) if of_layer is not None)
    for k in reversed(range(lowest, len(problem.layers))):
        of_layer = gradient[k]
        if of_layer is not None:
            with beside(problem, block, k > lowest):
                gradients(problem, block, k, of_layer, beta)
        if k > lowest:
            propagate(problem, block, k - 1)
        if k in after_layer:
            with problem.backend.beside():
                after_layer[k]()
    if block.input_gradient is not None:
        weights, precision = problem.weights(0), problem.precision
        problem.backend.matmul(block.deltas[0], weights, block.input_gradient, precision=precision)
        if block.input_rows is not None:
            problem.backend.convert(block.input_gradient, block.input_rows)


def beside(
    problem: Problem, block: Block, something_follows: bool = True
) -> AbstractContextManager[None]:
    """Return a context whose verbs may run beside later verbs, if the block's buffers allow it."""
    return problem.backend.beside() if block.apart and something_follows else nullcontext()


def gather_batch(problem: Problem, block: Block, rows: Rows) -> None:
    """Find a block's rows of x and, unless predicting, its targets; labels become one-hot rows.

    Sparse rows stay where they are: they were rounded before, and the first layer's verbs read them there.
    """
    backend, precision = problem.backend, problem.precision
    first, count = block.rows.start, block.rows.stop - block.rows.start
    if block.y is not None:
        smoothing, which = problem.head.cost.label_smoothing, (rows, problem.counters, first, count)
        numbers = 1 - smoothing, smoothing / block.y.shape[1]
        block.targets = Targets(RowBlock(*which), block.y, block.labels, *numbers)
        with beside(problem, block):
            weights = problem.weights(len(problem.layers) - 1)
            backend.gather_targets(block.targets, problem.head, weights, precision, block.keep_all)
    if block.sparse:
        block.a[0] = SparseBlock(rows, problem.counters, first, count)
    elif block.keep_all:
        backend.gather(rows, "x", problem.counters, first, block.x)
    else:
        where = rows, problem.counters, first, block.x
        block.a[0] = backend.layer_input(*where, problem.weights(0), precision)
    if not block.sparse:
        problem.round(block.x)


def set_row_weights(problem: Problem, workspace: Workspace, rows: Rows) -> None:
    """Set the weight of each row in the mean cost and, if the loss is scaled, in the output delta.

    With sample weights w it is w / Σ w. Without them it stays 1 / batch_size.
    """
    backend = problem.backend
    if rows.weights is not None:
        backend.gather(rows, "weights", problem.counters, 0, workspace.scale)
        backend.normalize(workspace.scale)
    if workspace.loss_scale is not None:
        backend.multiply(workspace.scale, workspace.loss_scale, workspace.delta_scale)


def backpropagate(
    problem: Problem,
    workspace: Workspace,
    rows: Rows,
    gradient: Sequence[Sequence[Parameters | None]],
    beta: float,
    costs: Array,
    after_layer: Mapping[int, Bound] = NOTHING,
) -> None:
    """Run the forward and backward pass of every shard of the workspace.

    Parameters
    ----------
    problem : Problem
        The layers, the output head and the backend.
    workspace : Workspace
        The buffers, made for training.
    rows : Rows
        The rows of the batch.
    gradient : sequence of sequences of Parameters or None
        For each shard, a gradient for each layer, or None for a layer whose gradient is not computed. The
        first shard's gradient becomes beta times its old value plus the new gradient. The others are
        overwritten.
    beta : float
        The factor of the first shard's old gradient.
    costs : array of float64, shape (shards, steps)
        Each shard adds its part of the batch's mean cost to its row, at [:, counters[1]].
    after_layer : mapping of int to callable, optional
        Functions for `backward` on the last block. There must be one shard, and the block not be `apart`.
    """
    backend, counters = problem.backend, problem.counters
    problem.round_weights()
    set_row_weights(problem, workspace, rows)

    def run(shard: int) -> None:
        blocks = workspace.shards[shard]
        for k, block in enumerate(blocks):
            gather_batch(problem, block, rows)
            hidden_layers(problem, block)
            backend.meet()  # wait for the targets
            output_delta(problem, block)
            with beside(problem, block):
                backend.weighted_sum(block.costs, block.scale, costs[shard], counters)
            weight = 1.0 if k else beta if shard == 0 else 0.0
            then = after_layer if block is blocks[-1] else NOTHING
            backward(problem, block, gradient[shard], weight, then)
            backend.meet()

    backend.run_shards([partial(run, shard) for shard in range(len(workspace.shards))])


def evaluate(problem: Problem, workspace: Workspace, rows: Rows, costs: Array) -> None:
    """Add only the mean cost, as `backpropagate` does, by forward passes."""
    backend, counters = problem.backend, problem.counters
    problem.round_weights()
    set_row_weights(problem, workspace, rows)

    def run(shard: int) -> None:
        for block in workspace.shards[shard]:
            gather_batch(problem, block, rows)
            hidden_layers(problem, block)
            backend.meet()  # wait for the targets
            output_delta(problem, block)
            write_outputs(problem, block)
            backend.weighted_sum(block.costs, block.scale, costs[shard], counters)

    backend.run_shards([partial(run, shard) for shard in range(len(workspace.shards))])


def predict(problem: Problem, workspace: Workspace, rows: Rows, found: Array | None = None) -> None:
    """Write the outputs to the array that the workspace was made with.

    With `found`, int64 of shape (shards, 1), x has not been checked: a shard's number becomes 1 if one of
    its rows holds NaN, infinity or a number too large for the network's dtype.
    """
    problem.round_weights()
    n_in, dtype = problem.layers[0].weights.shape[1], problem.layers[0].weights.dtype

    def run(shard: int) -> None:
        for block in workspace.shards[shard]:
            if found is not None:
                first, shape = block.rows.start, (block.rows.stop - block.rows.start, n_in)
                problem.backend.check_rows(
                    rows, problem.counters, first, shape, dtype, found[shard]
                )
            gather_batch(problem, block, rows)
            forward(problem, block)
            write_outputs(problem, block)

    problem.backend.run_shards([partial(run, shard) for shard in range(len(workspace.shards))])


def vjp(
    problem: Problem,
    workspace: Workspace,
    rows: Rows,
    gradients: Sequence[Array],
    views: Sequence[Sequence[Parameters]],
) -> None:
    """Run the forward and backward pass from a given ∂C/∂a^L, which is the rows' y.

    Parameters
    ----------
    problem : Problem
        The layers and the backend.
    workspace : Workspace
        The buffers, made with the mode "vjp".
    rows : Rows
        The rows of the batch.
    gradients : sequence of arrays of shape (size,)
        For each shard, a flat gradient. The first becomes that of the batch; the others are overwritten.
    views : sequence of sequences of Parameters
        For each shard, the views of its gradient for each layer.
    """
    problem.round_weights()

    def run(shard: int) -> None:
        for k, block in enumerate(workspace.shards[shard]):
            gather_batch(problem, block, rows)
            forward(problem, block)
            output_delta_from(problem, block, rows)
            backward(problem, block, views[shard], 1.0 if k else 0.0)
            problem.backend.meet()

    problem.backend.run_shards([partial(run, shard) for shard in range(len(workspace.shards))])
    for more in gradients[1:]:
        problem.backend.add(more, gradients[0])
