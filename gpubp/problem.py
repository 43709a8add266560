"""The problem that a step computes: layers, output head, precision, counters, dropout and backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .backends import Array, Backend, RowLayout
from .kernels import OutputHead, Precision
from .layers import Layer, Layout, widths

__all__ = ["Problem", "Rounding"]


@dataclass(frozen=True)
class Rounding:
    """The precision of matmul operands, and the rounded weights.

    Attributes
    ----------
    precision : Precision
        The number format.
    values : array of shape (n_weights,)
        All weights of the network, not rounded.
    rounded : array of shape (n_weights,)
        All weights, rounded. A step begins by rounding them.
    weights : sequence of arrays of shape (n_out, n_in)
        The view of `rounded` for each layer.
    is_current : bool
        Whether updates round the weights too, so that a step does not begin by it.
    """

    precision: Precision
    values: Array
    rounded: Array
    weights: Sequence[Array]
    is_current: bool = False

    @classmethod
    def of(
        cls, backend: Backend, layout: Layout, parameters: Array, precision: Precision
    ) -> Rounding:
        """Make memory for the rounded weights of a network with these parameters."""
        rounded, n_weights = backend.operands((layout.size,), precision), layout.n_weights
        weights = [weights for weights, _ in layout.views(rounded)]
        return cls(precision, parameters[:n_weights], rounded[:n_weights], weights)


@dataclass(frozen=True)
class Problem:
    """The problem that the functions of backprop.py compute.

    Attributes
    ----------
    backend : Backend
        The backend that runs the verbs.
    layers : sequence of Layer
        All layers except the input.
    head : OutputHead
        The output activation and the cost.
    counters : array of int64, shape (2,)
        The steps since training began, and the step within the epoch.
    rounding : Rounding or None
        The precision and the rounded weights; None if matmuls do not round.
    dropout_seed : int or None
        Seed of the dropout masks; None drops nothing.
    """

    backend: Backend
    layers: Sequence[Layer]
    head: OutputHead
    counters: Array
    rounding: Rounding | None = None
    dropout_seed: int | None = None

    @property
    def precision(self) -> Precision | None:
        """The precision of matmul operands, or None."""
        return None if self.rounding is None else self.rounding.precision

    def weights(self, k: int) -> Array:
        """Return the weights of layers[k] for matmuls, rounded if matmuls round."""
        return self.layers[k].weights if self.rounding is None else self.rounding.weights[k]

    def layout(
        self,
        rows: int,
        limit: int | None,
        *,
        sparse: bool = False,
        keep_all: bool = False,
        predicts: bool = False,
    ) -> RowLayout:
        """Decide how the rows of a batch lie in memory, whose blocks have at most `limit` rows.

        Results that a user gets, with `keep_all`, lie row by row. `predicts` says that no cost is computed.
        """
        if sparse:
            return "sparse"
        if keep_all or self.rounding is not None:
            return "rows"
        activations = [layer.activation for layer in self.layers]
        head, dtype = None if predicts else self.head, self.layers[0].weights.dtype
        kind = widths(self.layers), activations, head, dtype
        drops = any(map(self.drops, range(len(self.layers))))
        most = min(rows, limit or rows)
        return "columns" if self.backend.has_columns(most, *kind, drops) else "rows"

    def shards(self, rows: int, limit: int | None, sparse: bool) -> int:
        """Count the shards of a batch, whose blocks have at most `limit` rows."""
        layout = self.layout(rows, limit, sparse=sparse)
        return len(self.backend.plan(rows, widths(self.layers), limit, layout))

    def round_weights(self) -> None:
        """Update the rounded weights from the network's weights, if matmuls round and nothing else does."""
        if self.rounding is not None and not self.rounding.is_current:
            self.backend.convert(self.rounding.values, self.rounding.rounded)
            self.round(self.rounding.rounded)

    def round(self, operands: Array) -> None:
        """Round operands that a verb has written, if matmuls round."""
        if self.rounding is not None:
            self.backend.round(operands, self.rounding.precision)

    def drops(self, k: int) -> bool:
        """Whether dropout acts on the activations of layers[k]."""
        return self.dropout_seed is not None and self.layers[k].dropout > 0

    def drop(self, k: int, first_row: int, values: Array, out: Array) -> None:
        """Apply dropout to activations of layers[k], or to their δ; both directions use the same mask.

        Parameters
        ----------
        k : int
            The index of the layer.
        first_row : int
            The row of the batch that is the first row of `values`.
        values, out : array of shape (rows, n_out)
            The values before and after dropout; they may be the same array.
        """
        assert self.dropout_seed is not None
        layer, seed = self.layers[k], self.dropout_seed
        first = first_row * layer.n_out
        self.backend.dropout(values, out, self.counters, seed, k, first, layer.dropout)
