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

from .backends import Array, Backend
from .kernels import Cost, Precision
from .layers import Layer, widths

__all__ = ["Block", "Mode", "Workspace"]

APART_ELEMENTS = 2**18
"""The most activations of a layer whose gradients are computed beside the propagation of its error; larger
unrounded_deltas are slower beside each other."""

Mode = Literal["train", "cost", "predict"]


@dataclass
class Block:
    """The arrays of one block of rows.

    Attributes
    ----------
    rows : which rows of the batch.
    a : the input x, then each layer's activations after dropout, (rows, n).
    activated : for each layer, σ(z) before dropout; the same array as a's where nothing is dropped.
    z : for each layer, (rows, n_out); the same array as `activated` where z is not needed again.
    keeps_z : for each layer, whether anything reads z once a is there.
    deltas : for each layer, (rows, n_out), empty unless training; every other one shares memory, unless
        they are to be kept `apart`.
    unrounded_deltas : δ before rounding; `deltas` itself without reduced precision.
    input_gradient : (rows, n_in), or None where it is not wanted.
    scale : (rows,) the weight of each row in the batch's cost.
    delta_scale : (rows,) its weight in the output delta: the same array, or that times the loss scale.
    y : targets, (rows, n_out), or None when predicting; costs : (rows,) each row's cost, likewise.
    labels : (rows,), int64, where targets come as labels, else None.
    apart : whether each δ has memory of its own, so that a layer's gradients may be computed beside the
        propagation of its error.
    outputs_read : whether anything reads a[-1]: softmax with cross-entropy goes from z to δ and the cost.
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
    """Every buffer of a step of `layers` on `batch_size` rows.

    Parameters
    ----------
    mode : "train" keeps what the backward pass reads; "cost" the output's z and a; "predict" nothing.
    keep : give every z, a and delta memory of its own and run as one block, for a caller who wants
        them all.
    training : apply dropout.
    limit : no block has more rows than this. Where memory runs out, blocks are made smaller, with a
        warning, unless `keep`.
    labels : targets are integer labels.
    outputs : (batch_size, n_out), where the output layer's activations go; None for a buffer.
    input_gradient : compute ∂C/∂x too.
    precision : what matmuls round their operands to: x, the hidden layers' a, and every δ.
    loss_scale : float64, (3,), of which the first number multiplies the output delta, or None.

    Attributes
    ----------
    shards : the blocks of each shard.
    scale : (batch_size,) the weight of each row in the batch's cost, 1 / batch_size to begin with.
    loss_scale : as given.
    delta_scale : (batch_size,) each row's weight in the output delta: `scale` itself without `loss_scale`.
    """

    def __init__(
        self,
        backend: Backend,
        layers: Sequence[Layer],
        cost: Cost,
        batch_size: int,
        mode: Mode,
        *,
        keep: bool = False,
        training: bool = False,
        limit: int | None = None,
        labels: bool = False,
        outputs: Array | None = None,
        input_gradient: bool = False,
        precision: Precision | None = None,
        loss_scale: Array | None = None,
    ) -> None:
        self._backend, self._precision = backend, precision
        self._xp, self._layers, self._cost, self._mode = backend.xp, layers, cost, mode
        self._keep, self._training, self._labels = keep, training, labels
        self._input_gradient = input_gradient
        from_z = cost.canonical == layers[-1].activation.name and layers[-1].activation.rowwise
        self._reads_outputs = keep or mode == "predict" or outputs is not None or not from_z
        self._dtype = layers[0].weights.dtype
        self.scale = self._empty(batch_size)
        self.scale.fill(1 / batch_size)
        self.loss_scale = loss_scale
        self.delta_scale = self.scale if loss_scale is None else self._empty(batch_size)
        self.shards: list[list[Block]] = []
        plan = [[slice(0, batch_size)]] if keep else backend.plan(batch_size, widths(layers), limit)
        try:
            self.shards = [self._shard(blocks, outputs) for blocks in plan]
        except MemoryError:
            if keep:
                raise
        # Not within the handler: the exception holds on to what there was room for.
        if not self.shards:
            self._split(backend, batch_size, plan, outputs)

    def _split(
        self, backend: Backend, batch_size: int, plan: list[list[slice]], outputs: Array | None
    ) -> None:
        """Blocks of half as many rows, and so on until there is room for them."""
        rows = max(block.stop - block.start for shard in plan for block in shard)
        while not self.shards:
            if rows == 1:
                raise MemoryError("a step on a single row has no room in memory")
            rows = -(-rows // 2)
            plan = backend.plan(batch_size, widths(self._layers), rows)
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
        n_in, *outs = widths(self._layers)
        n_out = outs[-1]
        train, targets = self._mode == "train", self._mode != "predict"
        rounds = self._precision is not None
        sharing = not (train or self._keep)
        if rounds:  # the outputs are no operands
            a = [*self._matrices(rows, outs[:-1], sharing), self._empty(rows, n_out)]
        else:
            a = self._matrices(rows, outs, sharing)
        apart = self._keep or (self._backend.overlaps and rows * max(outs) <= APART_ELEMENTS)
        deltas = self._matrices(rows, outs, not apart) if train else []
        activated = [
            self._operand(rows, n) if self._keeps_undropped(layer) else a_k
            for layer, n, a_k in zip(self._layers, outs, a, strict=True)
        ]
        # Sums are never rounded: they have memory of their own where what is made of them is.
        passing = self._empty(rows * max(outs)) if rounds else None
        sums = [None if passing is None else passing[: rows * n].reshape(rows, n) for n in outs]
        shared = [*sums[:-1], activated[-1]] if rounds else activated
        z = [
            self._empty(rows, n) if self._keeps_z(layer) else shared_k
            for layer, n, shared_k in zip(self._layers, outs, shared, strict=True)
        ]
        return Block(
            rows=slice(0, rows),
            a=[self._operand(rows, n_in), *a],
            activated=activated,
            z=z,
            keeps_z=[self._keeps_z(layer) for layer in self._layers],
            deltas=deltas,
            unrounded_deltas=sums if rounds else deltas,
            input_gradient=self._empty(rows, n_in) if self._input_gradient else None,
            scale=None,
            delta_scale=None,
            y=self._empty(rows, n_out) if targets else None,
            costs=self._empty(rows) if targets else None,
            labels=self._xp.empty(rows, np.int64) if targets and self._labels else None,
            apart=apart,
            outputs_read=self._reads_outputs,
        )

    def _empty(self, *shape: int) -> Array:
        return self._xp.empty(shape, self._dtype)

    def _operand(self, *shape: int) -> Array:
        """What matmuls read."""
        if self._precision is None:
            return self._empty(*shape)
        return self._backend.operands(shape, self._precision)

    def _matrices(self, rows: int, sizes: Sequence[int], sharing: bool) -> list[Array]:
        """A (rows, n) array for each layer; with `sharing`, every other one in the same memory."""
        if not sharing:
            return [self._operand(rows, n) for n in sizes]
        pair = [self._operand(rows * max(sizes[k::2], default=0)) for k in range(2)]
        return [pair[k % 2][: rows * n].reshape(rows, n) for k, n in enumerate(sizes)]

    def _keeps_z(self, layer: Layer) -> bool:
        """Whether something reads z after the activation has been computed."""
        last = layer is self._layers[-1]
        from_z = last and self._mode != "predict" and self._cost.canonical == layer.activation.name
        derivative = self._mode == "train" and layer.activation.reads == "z"
        return self._keep or from_z or derivative

    def _keeps_undropped(self, layer: Layer) -> bool:
        """Whether the derivative reads σ(z) from before dropout."""
        return self._training and layer.dropout > 0 and layer.activation.reads == "a"
