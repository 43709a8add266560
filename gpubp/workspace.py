"""The buffers of a step: everything it writes, allocated once.

A batch is cut into shards that run at the same time and, within a shard, into blocks of rows that use the
same buffers one after another (`Backend.plan` says how). A block is what the equations in backprop.py
work on.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from .backends import Array
from .layers import widths
from .problem import Problem

__all__ = ["Block", "Mode", "Workspace"]

APART_ELEMENTS = 2**18
"""The most activations of a layer whose gradients are computed beside the propagation of its error. Larger
products are slower beside each other."""

Mode = Literal["train", "cost", "predict"]


@dataclass
class Block:
    """The arrays of one block of rows.

    Attributes
    ----------
    rows : slice
        Which rows of the batch.
    a : list of arrays of shape (rows, n)
        The input x, then each layer's activations after dropout.
    activated : list of arrays of shape (rows, n_out)
        For each layer, σ(z) before dropout; the array in `a` itself where nothing is dropped.
    z : list of arrays of shape (rows, n_out)
        For each layer; the array in `activated` itself where z is not needed again.
    keeps_z : list of bool
        For each layer, whether anything reads z once a is there.
    deltas : list of arrays of shape (rows, n_out)
        For each layer; empty unless training. Every other one shares memory, unless they are `apart`.
    unrounded_deltas : list of arrays of shape (rows, n_out)
        δ before rounding; `deltas` itself without reduced precision.
    input_gradient : array of shape (rows, n_in), or None
        ∂C/∂x, where it is wanted.
    scale : array of shape (rows,)
        The weight of each row in the batch's cost.
    delta_scale : array of shape (rows,)
        Its weight in the output delta: `scale` itself, or that times the loss scale.
    y : array of shape (rows, n_out), or None
        Targets; None when predicting.
    costs : array of shape (rows,), or None
        Each row's cost; None when predicting.
    labels : array of int64, shape (rows,), or None
        Targets that come as labels.
    apart : bool
        Whether each δ has memory of its own, so that a layer's gradients may be computed beside the
        propagation of its error.
    outputs_read : bool
        Whether anything reads a[-1]: softmax with cross-entropy goes from z to δ and the cost.
    """

    rows: slice
    a: list[Array]
    activated: list[Array]
    z: list[Array]
    keeps_z: list[bool]
    deltas: list[Array]
    unrounded_deltas: list[Array]
    input_gradient: Array
    scale: Array
    delta_scale: Array
    y: Array
    costs: Array
    labels: Array
    apart: bool
    outputs_read: bool

    def first(self, rows: slice, scale: Array, delta_scale: Array) -> Block:
        """A block of fewer rows in the same memory."""
        height = rows.stop - rows.start
        cut: dict[int, Array] = {}  # what is one array here stays one array there

        def view(value: Any) -> Any:
            if isinstance(value, list):
                return [view(array) for array in value]
            if isinstance(value, bool):
                return value
            return None if value is None else cut.setdefault(id(value), value[:height])

        arrays = {item.name: view(getattr(self, item.name)) for item in fields(self)[1:]}
        return Block(rows=rows, **{**arrays, "scale": scale, "delta_scale": delta_scale})


class Workspace:
    """Every buffer of a step on `batch_size` rows.

    Parameters
    ----------
    problem : Problem
        What the step computes on. Where it draws dropout masks, activations from before dropout are kept.
    batch_size : int
        Rows of the batch.
    mode : {"train", "cost", "predict"}
        "train" keeps what the backward pass reads; "cost" the output's z and a; "predict" nothing.
    keep_all : bool
        Give every z, a and delta memory of its own and run as one block, for a caller who wants them all.
    limit : int or None
        No block has more rows than this. Where memory runs out, blocks are made smaller, with a warning,
        unless `keep_all`.
    labels : bool
        Whether targets are integer labels.
    outputs : array of shape (batch_size, n_out), or None
        Where the output layer's activations go; None for a buffer.
    input_gradient : bool
        Whether to compute ∂C/∂x too.
    loss_scale : array of float64, shape (3,), or None
        Its first number multiplies the output delta.

    Attributes
    ----------
    shards : list of lists of Block
        The blocks of each shard.
    scale : array of shape (batch_size,)
        The weight of each row in the batch's cost, 1 / batch_size to begin with.
    loss_scale : array of float64, shape (3,), or None
        As given.
    delta_scale : array of shape (batch_size,)
        Each row's weight in the output delta: `scale` itself without `loss_scale`.
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
        input_gradient: bool = False,
        loss_scale: Array | None = None,
    ) -> None:
        self._problem, self._mode = problem, mode
        self._keep_all, self._labels, self._input_gradient = keep_all, labels, input_gradient
        reads_outputs = mode == "predict" or outputs is not None or not problem.head.is_fused
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
            plan = problem.backend.plan(batch_size, self._widths, limit)
        try:
            self.shards = [self._shard(blocks, outputs) for blocks in plan]
        except MemoryError:
            if keep_all:
                raise
        # Not within the handler: the exception holds on to what there was room for.
        if not self.shards:
            self._split(batch_size, plan, outputs)

    def _split(self, batch_size: int, plan: list[list[slice]], outputs: Array | None) -> None:
        """Make blocks of half as many rows, and so on until there is room for them."""
        backend = self._problem.backend
        rows = max(block.stop - block.start for shard in plan for block in shard)
        while not self.shards:
            if rows == 1:
                raise MemoryError("a step on a single row has no room in memory")
            rows = -(-rows // 2)
            plan = backend.plan(batch_size, self._widths, rows)
            with contextlib.suppress(MemoryError):
                self.shards = [self._shard(blocks, outputs) for blocks in plan]
        warnings.warn(
            f"a batch of {batch_size} rows has no room in memory, on {backend.name}: it is done in parts of"
            f" {rows} rows at most, which give the same result more slowly",
            RuntimeWarning,
            stacklevel=2,
        )

    def _shard(self, plan: list[slice], outputs: Array | None) -> list[Block]:
        """Blocks for these rows, in one set of buffers."""
        whole = self._allocate(max(rows.stop - rows.start for rows in plan))
        blocks = [whole.first(rows, self.scale[rows], self.delta_scale[rows]) for rows in plan]
        if outputs is not None:
            for block in blocks:
                buffer, target = block.a[-1], outputs[block.rows]
                block.a[-1] = block.activated[-1] = target
                block.z[-1] = target if block.z[-1] is buffer else block.z[-1]
        return blocks

    def _allocate(self, rows: int) -> Block:
        backend, layers = self._problem.backend, self._problem.layers
        n_in, *outs = self._widths
        n_out = outs[-1]
        train, targets = self._mode == "train", self._mode != "predict"
        rounds = self._problem.rounding is not None
        sharing = not (train or self._keep_all)
        if rounds:  # the outputs are no operands
            a = [*self._matrices(rows, outs[:-1], sharing), self._empty(rows, n_out)]
        else:
            a = self._matrices(rows, outs, sharing)
        apart = self._keep_all or (backend.overlaps and rows * max(outs) <= APART_ELEMENTS)
        deltas = self._matrices(rows, outs, not apart) if train else []
        keeps_z = [self._keeps_z(k) for k in range(len(layers))]
        activated = [
            self._operand(rows, n) if self._keeps_undropped(k) else a_k
            for k, (n, a_k) in enumerate(zip(outs, a, strict=True))
        ]
        # Sums are never rounded: they have memory of their own where what is made of them is.
        passing = self._empty(rows * max(outs)) if rounds else None
        sums = [None if passing is None else passing[: rows * n].reshape(rows, n) for n in outs]
        shared = [*sums[:-1], activated[-1]] if rounds else activated
        z = [
            self._empty(rows, n) if keeps else shared_k
            for keeps, n, shared_k in zip(keeps_z, outs, shared, strict=True)
        ]
        return Block(
            rows=slice(0, rows),
            a=[self._operand(rows, n_in), *a],
            activated=activated,
            z=z,
            keeps_z=keeps_z,
            deltas=deltas,
            unrounded_deltas=sums if rounds else deltas,
            input_gradient=self._empty(rows, n_in) if self._input_gradient else None,
            scale=None,
            delta_scale=None,
            y=self._empty(rows, n_out) if targets else None,
            costs=self._empty(rows) if targets else None,
            labels=backend.empty(rows, np.int64) if targets and self._labels else None,
            apart=apart,
            outputs_read=self._reads_outputs,
        )

    def _empty(self, *shape: int) -> Array:
        return self._problem.backend.empty(shape, self._dtype)

    def _operand(self, *shape: int) -> Array:
        """What matmuls read."""
        precision = self._problem.precision
        if precision is None:
            return self._empty(*shape)
        return self._problem.backend.operands(shape, precision)

    def _matrices(self, rows: int, sizes: Sequence[int], sharing: bool) -> list[Array]:
        """A (rows, n) array for each layer; with `sharing`, every other one in the same memory."""
        if not sharing:
            return [self._operand(rows, n) for n in sizes]
        pair = [self._operand(rows * max(sizes[k::2], default=0)) for k in range(2)]
        return [pair[k % 2][: rows * n].reshape(rows, n) for k, n in enumerate(sizes)]

    def _keeps_z(self, k: int) -> bool:
        """Whether something reads z of layers[k] after the activation has been computed."""
        layers, head = self._problem.layers, self._problem.head
        from_z = k == len(layers) - 1 and self._mode != "predict" and head.is_canonical
        derivative = self._mode == "train" and layers[k].activation.reads == "z"
        return self._keep_all or from_z or derivative

    def _keeps_undropped(self, k: int) -> bool:
        """Whether the derivative reads σ(z) of layers[k] from before dropout."""
        return self._problem.drops(k) and self._problem.layers[k].activation.reads == "a"
