"""Forward and backward passes that return everything they compute.

x, y and weights have been checked and are on the problem's backend. Results are moved to `home`, the
backend of the user's x.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import numpy as np

from .. import backprop
from ..arrays import move
from ..backends import Array, Backend, Rows, SparseRows
from ..kernels.scaling import LEAST, fresh_loss_scale
from ..layers import Layout
from ..problem import Problem
from ..sparse import as_csr
from ..workspace import Block, Mode, Workspace
from .results import Backprop, Forward

__all__ = ["backpropagate", "forward", "mean_cost"]


def forward(problem: Problem, rows: Rows, home: Backend) -> Forward:
    """Compute every z and a of these rows."""
    workspace = _workspace(problem, rows, "predict", keep_all=True)
    backprop.predict(problem, workspace, rows)
    block = workspace.shards[0][0]
    return Forward(_moved(block.z, home), _activations(problem, block, rows, home))


def backpropagate(problem: Problem, layout: Layout, rows: Rows, home: Backend) -> Backprop:
    """Compute the cost, every z, a and δ, and the gradients of parameters and inputs."""
    backend, dtype = problem.backend, _dtype(problem)
    scaled = problem.precision is not None and problem.precision.scaled
    # A row's δ contains the factor 1 / rows of the mean. A scale of about `rows` brings it into float16's
    # range.
    scale = fresh_loss_scale(2.0 ** math.ceil(math.log2(len(rows.x))))
    loss_scale: Array = backend.asarray(scale.copy()) if scaled else None
    dense = not isinstance(rows.x, SparseRows)
    workspace = _workspace(
        problem, rows, "train", keep_all=True, input_gradient=dense, loss_scale=loss_scale
    )
    gradient = backend.empty(layout.size, dtype)
    views = layout.views(gradient)
    costs = backend.zeros((1, 1), np.float64)
    parts = problem, workspace, rows, [views], 0.0, costs
    with np.errstate(all="ignore") if scaled else nullcontext():
        backprop.backpropagate(*parts)
        while scaled and scale[0] > LEAST and not bool(backend.xp.isfinite(gradient).all()):
            scale = fresh_loss_scale(scale[0] / 64)  # the deltas were too large for float16
            loss_scale[...] = backend.asarray(scale.copy())
            costs.fill(0)
            backprop.backpropagate(*parts)
    block = workspace.shards[0][0]
    deltas, input_gradient = _plain(problem, block.deltas), block.input_gradient
    if scaled:
        for array in (gradient, *([input_gradient] if dense else []), *deltas):
            backend.xp.multiply(array, dtype.type(scale[1]), out=array)
    return Backprop(
        cost=float(costs[0, 0]),
        deltas=_moved(deltas, home),
        gradient=gradient,
        weight_gradients=[weights for weights, _ in views],
        bias_gradients=[biases for _, biases in views],
        input_gradient=move(input_gradient, home) if dense else None,
        z=_moved(block.z, home),
        a=_activations(problem, block, rows, home),
    )


def mean_cost(problem: Problem, rows: Rows) -> float:
    """Compute only the mean cost."""
    backend, workspace = problem.backend, _workspace(problem, rows, "cost")
    costs = backend.zeros((len(workspace.shards), 1), np.float64)
    backprop.evaluate(problem, workspace, rows, costs)
    return float(backend.to_numpy(costs).sum())


def _workspace(problem: Problem, rows: Rows, mode: Mode, **options: Any) -> Workspace:
    labels = rows.y is not None and rows.y.ndim == 1
    sparse = isinstance(rows.x, SparseRows)
    return Workspace(problem, len(rows.x), mode, labels=labels, sparse=sparse, **options)


def _activations(problem: Problem, block: Block, rows: Rows, home: Backend) -> list[Any]:
    """Return x, then each layer's activations, in the network's dtype; a sparse x as a CSR matrix."""
    if not block.sparse:
        return _moved(_plain(problem, block.a), home)
    x = as_csr(rows.x.moved(lambda array: move(array, home)))
    return [x, *_moved(_plain(problem, block.a[1:]), home)]


def _dtype(problem: Problem) -> np.dtype[Any]:
    dtype: np.dtype[Any] = problem.layers[0].weights.dtype
    return dtype


def _plain(problem: Problem, arrays: list[Array]) -> list[Array]:
    """Return the arrays in the network's dtype; operands of matmuls may be stored in another one."""
    dtype, plain = _dtype(problem), []
    for array in arrays:
        if array.dtype == dtype:
            plain.append(array)
        else:
            plain.append(problem.backend.empty(array.shape, dtype))
            problem.backend.convert(array, plain[-1])
    return plain


def _moved(arrays: list[Array], home: Backend) -> list[Array]:
    return [move(array, home) for array in arrays]
