"""The buffers of a step: all arrays that it writes, allocated once.

`Backend.plan` cuts a batch into shards, which run at the same time, and each shard into blocks of rows. The
blocks of a shard use the same buffers, one after another. The equations of backprop.py work on one block.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from .backends import Array
from .kernels.columns import Columns
from .layers import widths
from .memory import Tally, no_room
from .problem import Problem

__all__ = ["Block", "Mode", "Workspace"]

APART_ELEMENTS = 2**18
"""The most activations of a layer whose gradients are computed beside the propagation of δ. Larger products
are slower if they run at the same time."""

Mode = Literal["train", "cost", "predict", "vjp"]


@dataclass
class Block:
    """The arrays of one block of rows.

    Attributes
    ----------
    rows : slice
        The rows of the batch.
    x : array of shape (rows, n_in), or None
        Memory for the input; None if x is sparse.
    a : list of arrays of shape (rows, n)
        The input, then each layer's activations after dropout. `gather_batch` sets the input: it is `x`, or
        a `RowBlock` or `SparseBlock` if the rows stay where they are.
    activated : list of arrays of shape (rows, n_out)
        σ(z) of each layer before dropout; the array in `a`, unless the layer has dropout and σ′ reads a.
    z : list of arrays of shape (rows, n_out)
        z of each layer; the array in `activated` if nothing reads z after a is computed.
    keeps_z : list of bool
        For each layer, whether something reads z after a is computed.
    deltas : list of arrays of shape (rows, n_out)
        δ of each layer; empty unless training. Every second one shares memory, unless they are `apart`.
    unrounded_deltas : list of arrays of shape (rows, n_out)
        δ before rounding; `deltas` itself without reduced precision.
    input_gradient : array of shape (rows, n_in), or None
        ∂C/∂x; None if it is not computed.
    input_rows : array of shape (rows, n_in), or None
        Where ∂C/∂x is written row by row, if `input_gradient` lies column by column; else None.
    scale : array of shape (rows,)
        The weight of each row in the batch's mean cost.
    delta_scale : array of shape (rows,)
        The weight of each row in the output delta: `scale`, times the loss scale if there is one.
    y : array of shape (rows, n_out), or None
        Targets; None when predicting.
    targets : Targets or None
        Which rows the targets are; None until `gather_batch` sets it.
    costs : array of shape (rows,), or None
        The cost of each row; None when predicting.
    labels : array of int64, shape (rows,), or None
        Integer labels; None if the targets are not labels.
    apart : bool
        Whether each δ has separate memory. A layer's gradients may then be computed beside the propagation
        of its δ.
    outputs_read : bool
        Whether something reads a[-1]. Softmax with cross-entropy computes δ and the cost from z.
    outputs : array of shape (rows, n_out), or None
        Where a[-1] is written row by row, if it lies column by column; else None.
    sparse : bool
        Whether x is sparse.
    keep_all : bool
        Whether every z, a and δ is read after the step.
    """

    rows: slice
    x: Array
    a: list[Array]
    activated: list[Array]
    z: list[Array]
    keeps_z: list[bool]
    deltas: list[Array]
    unrounded_deltas: list[Array]
    input_gradient: Array
    input_rows: Array
    scale: Array
    delta_scale: Array
    y: Array
    targets: Any
    costs: Array
    labels: Array
    apart: bool
    outputs_read: bool
    outputs: Array
    sparse: bool
    keep_all: bool

    def first(self, rows: slice, scale: Array, delta_scale: Array) -> Block:
        """Make a block of fewer rows in the same memory."""
        height = rows.stop - rows.start
        cut: dict[int, Array] = {}  # attributes that share an array share its view too

        def view(value: Any) -> Any:
            if isinstance(value, list):
                return [view(array) for array in value]
            if isinstance(value, bool):
                return value
            return None if value is None else cut.setdefault(id(value), value[:height])

        arrays = {item.name: view(getattr(self, item.name)) for item in fields(self)[1:]}
        return Block(rows=rows, **{**arrays, "scale": scale, "delta_scale": delta_scale})


class Workspace:
    """All buffers of a step on `batch_size` rows.

    If memory is too small, the blocks are made smaller, with a warning.

    Parameters
    ----------
    problem : Problem
        The problem that the step computes.
    batch_size : int
        The number of rows of the batch.
    mode : {"train", "cost", "predict", "vjp"}
        The arrays to keep until the step ends: with "train" those that the backward pass reads, with "cost"
        the output's z and a, with "predict" none. "vjp" is a backward pass from a given ∂C/∂a^L,
        without targets and costs.
    keep_all : bool, default False
        Whether every z, a and δ has separate memory, and the batch is one block. The caller can then read
        all.
    limit : int or None, default None
        The most rows of a block.
    labels : bool, default False
        Whether targets are integer labels.
    outputs : array of shape (batch_size, n_out), or None, default None
        The array for the output layer's activations; with None, a buffer is used.
    sparse : bool, default False
        Whether x is sparse.
    input_gradient : bool or array of shape (batch_size, n_in), default False
        Whether to compute ∂C/∂x, or the array for it; with True, a buffer is used.
    loss_scale : array of float64, shape (3,), or None, default None
        The loss scale; its first number multiplies the output delta.

    Attributes
    ----------
    shards : list of lists of Block
        The blocks of each shard.
    scale : array of shape (batch_size,)
        The weight of each row in the batch's mean cost; 1 / batch_size at the start.
    loss_scale : array of float64, shape (3,), or None
        The loss scale.
    delta_scale : array of shape (batch_size,)
        The weight of each row in the output delta: `scale`, times the loss scale if there is one.

    Raises
    ------
    MemoryError
        If memory is too small for one row or, with `keep_all`, for the batch.
    """

    def __init__(
        self,
        problem: Problem,
        batch_size: int,
        mode: Mode,
        *,
        keep_all: bool = False,
        limit: int | None = None,
        labels: bool = False,
        outputs: Array | None = None,
        sparse: bool = False,
        input_gradient: Array | bool = False,
        loss_scale: Array | None = None,
    ) -> None:
        self._problem, self._mode = problem, mode
        self._trains, self._has_targets = mode in ("train", "vjp"), mode in ("train", "cost")
        self._arrays: Any = problem.backend
        self._keep_all, self._labels, self._input_gradient = keep_all, labels, input_gradient
        self._layout = problem.layout(
            *(batch_size, limit), sparse=sparse, keep_all=keep_all, predicts=not self._has_targets
        )
        reads_outputs = not self._has_targets or outputs is not None or not problem.head.is_fused
        self._reads_outputs = keep_all or reads_outputs
        self._dtype = problem.layers[0].weights.dtype
        self._widths = widths(problem.layers)
        self.scale = self._empty(batch_size)
        self.scale.fill(1 / batch_size)
        self.loss_scale = loss_scale
        self.delta_scale = self.scale if loss_scale is None else self._empty(batch_size)
        self.shards: list[list[Block]] = []
        plan = [[slice(0, batch_size)]]
        if not keep_all:
            how = self._widths, limit, self._layout, self._trains
            plan = problem.backend.plan(batch_size, *how)
        with contextlib.suppress(MemoryError):
            self.shards = [self._shard(blocks, outputs) for blocks in plan]
        # This is outside the handler, because the exception keeps the arrays of the first attempt alive.
        if not self.shards and keep_all:
            raise self._no_room(f"a pass over {batch_size} rows that keeps every result", plan)
        if not self.shards:
            self._split(batch_size, plan, outputs)

    def _split(self, batch_size: int, plan: list[list[slice]], outputs: Array | None) -> None:
        """Halve the rows of the blocks until the buffers fit the memory."""
        backend = self._problem.backend
        rows = max(block.stop - block.start for shard in plan for block in shard)
        while not self.shards:
            if rows == 1:
                raise self._no_room("a pass over a single row", plan)
            rows = -(-rows // 2)
            plan = backend.plan(batch_size, self._widths, rows, self._layout, self._trains)
            with contextlib.suppress(MemoryError):
                self.shards = [self._shard(blocks, outputs) for blocks in plan]
        warnings.warn(
            f"a batch of {batch_size} rows has no room in memory, on {backend.name}: it is done in parts of"
            f" {rows} rows at most, which give the same result more slowly",
            RuntimeWarning,
            stacklevel=2,
        )

    def _no_room(self, what: str, plan: list[list[slice]]) -> MemoryError:
        """Make the error that says what the buffers of this plan need."""
        backend = self._problem.backend
        self._arrays = tally = Tally(backend)
        for blocks in plan:
            self._allocate(max(rows.stop - rows.start for rows in blocks))
        return no_room(f"{what}, of a network of sizes {self._widths},", tally.size, backend)

    def _shard(self, plan: list[slice], outputs: Array | None) -> list[Block]:
        """Make a shard's blocks, which share one set of buffers."""
        whole = self._allocate(max(rows.stop - rows.start for rows in plan))
        blocks = [whole.first(rows, self.scale[rows], self.delta_scale[rows]) for rows in plan]
        if outputs is not None and self._layout == "columns":
            for block in blocks:
                block.outputs = outputs[block.rows]
        elif outputs is not None:
            for block in blocks:
                buffer, target = block.a[-1], outputs[block.rows]
                block.a[-1] = block.activated[-1] = target
                block.z[-1] = target if block.z[-1] is buffer else block.z[-1]
        if not isinstance(self._input_gradient, bool):
            for block in blocks:
                where = "input_rows" if self._has_input_buffer else "input_gradient"
                setattr(block, where, self._input_gradient[block.rows])
        return blocks

    @property
    def _has_input_buffer(self) -> bool:
        """Whether ∂C/∂x needs memory: it is not written to an array that was given."""
        given = self._input_gradient
        return given if isinstance(given, bool) else self._layout == "columns"

    def _allocate(self, rows: int) -> Block:
        backend, layers = self._problem.backend, self._problem.layers
        n_in, *outs = self._widths
        n_out = outs[-1]
        train, targets = self._trains, self._has_targets
        rounds = self._problem.rounding is not None
        sharing = not (train or self._keep_all)
        if rounds:  # the outputs are not operands of a matmul
            a = [*self._matrices(rows, outs[:-1], sharing), self._matrix(rows, n_out)]
        else:
            a = self._matrices(rows, outs, sharing)
        apart = self._keep_all or (backend.overlaps and rows * max(outs) <= APART_ELEMENTS)
        deltas = self._matrices(rows, outs, not apart) if train else []
        keeps_z = [self._keeps_z(k) for k in range(len(layers))]
        activated = [
            self._operand(rows, n) if self._keeps_undropped(k) else a_k
            for k, (n, a_k) in enumerate(zip(outs, a, strict=True))
        ]
        # z and unrounded δ are never rounded. With reduced precision they have separate memory.
        passing = self._empty(rows * max(outs)) if rounds else None
        sums = [None if passing is None else passing[: rows * n].reshape(rows, n) for n in outs]
        shared = [*sums[:-1], activated[-1]] if rounds else activated
        z = [
            self._matrix(rows, n) if keeps else shared_k
            for keeps, n, shared_k in zip(keeps_z, outs, shared, strict=True)
        ]
        x = None if self._layout == "sparse" else self._operand(rows, n_in)
        return Block(
            rows=slice(0, rows),
            x=x,
            a=[x, *a],
            activated=activated,
            z=z,
            keeps_z=keeps_z,
            deltas=deltas,
            unrounded_deltas=sums if rounds else deltas,
            input_gradient=self._matrix(rows, n_in) if self._has_input_buffer else None,
            input_rows=None,
            scale=None,
            delta_scale=None,
            y=self._matrix(rows, n_out) if targets else None,
            targets=None,
            costs=self._empty(rows) if targets else None,
            labels=self._arrays.empty(rows, np.int64) if targets and self._labels else None,
            apart=apart,
            outputs_read=self._reads_outputs,
            outputs=None,
            sparse=self._layout == "sparse",
            keep_all=self._keep_all,
        )

    def _empty(self, *shape: int) -> Array:
        return self._arrays.empty(shape, self._dtype)

    def _matrix(self, rows: int, n: int) -> Array | Columns:
        if self._layout == "columns":
            return self._arrays.columns(rows, n, self._dtype)
        return self._empty(rows, n)

    def _operand(self, rows: int, n: int) -> Array | Columns:
        """Allocate an operand of matmuls."""
        precision = self._problem.precision
        if precision is None:
            return self._matrix(rows, n)
        return self._arrays.operands((rows, n), precision)

    def _matrices(self, rows: int, sizes: Sequence[int], sharing: bool) -> list[Any]:
        """Allocate a (rows, n) array for each layer; with `sharing`, every second one shares memory."""
        if not sharing:
            return [self._operand(rows, n) for n in sizes]
        pair: list[Any] = [self._operand(rows, max(sizes[k::2], default=0)) for k in range(2)]
        if self._layout == "columns":
            return [pair[k % 2].part(slice(0, n)) for k, n in enumerate(sizes)]
        flat: list[Any] = [whole.reshape(-1) for whole in pair]
        return [flat[k % 2][: rows * n].reshape(rows, n) for k, n in enumerate(sizes)]

    def _keeps_z(self, k: int) -> bool:
        """Whether something reads z of layers[k] after a is computed."""
        layers, head = self._problem.layers, self._problem.head
        from_z = k == len(layers) - 1 and self._has_targets and head.is_canonical
        derivative = self._trains and layers[k].activation.reads == "z"
        return self._keep_all or from_z or derivative

    def _keeps_undropped(self, k: int) -> bool:
        """Whether the derivative reads σ(z) of layers[k] before dropout."""
        return self._problem.drops(k) and self._problem.layers[k].activation.reads == "a"
