"""What a step computes on: layers, output head, precision, step counters and dropout, on one backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .backends import Array, Backend
from .kernels import OutputHead, Precision
from .layers import Layer

__all__ = ["Problem", "Rounding"]


@dataclass(frozen=True)
class Rounding:
    """What matmuls round their operands to, and where the rounded weights are.

    Attributes
    ----------
    precision : Precision
        The number format.
    values : array of shape (n_weights,)
        Every weight, as the network has them.
    rounded : array of shape (n_weights,)
        The same, rounded. A step begins with that.
    weights : sequence of arrays of shape (n_out, n_in)
        Each layer's view of `rounded`.
    """

    precision: Precision
    values: Array
    rounded: Array
    weights: Sequence[Array]


@dataclass(frozen=True)
class Problem:
    """What the functions of backprop.py compute on.

    Attributes
    ----------
    backend : Backend
        Where.
    layers : sequence of Layer
        The layers but the input.
    head : OutputHead
        The output activation and the cost.
    counters : array of int64, shape (2,)
        The steps taken since training began, and the step within the epoch.
    rounding : Rounding or None
        What matmuls round their operands to.
    dropout_seed : int or None
        Which masks dropout draws; None drops nothing.
    """

    backend: Backend
    layers: Sequence[Layer]
    head: OutputHead
    counters: Array
    rounding: Rounding | None = None
    dropout_seed: int | None = None

    @property
    def precision(self) -> Precision | None:
        """What matmuls round their operands to."""
        return None if self.rounding is None else self.rounding.precision

    def weights(self, k: int) -> Array:
        """The weights of layers[k], as its matmuls read them."""
        return self.layers[k].weights if self.rounding is None else self.rounding.weights[k]

    def round_weights(self) -> None:
        """Bring the weights up to date, as matmuls read them."""
        if self.rounding is not None:
            self.backend.convert(self.rounding.values, self.rounding.rounded)
            self.round(self.rounding.rounded)

    def round(self, operands: Array) -> None:
        """Round what a verb has written for matmuls to read, if they round."""
        if self.rounding is not None:
            self.backend.round(operands, self.rounding.precision)

    def drops(self, k: int) -> bool:
        """Whether dropout acts on the activations of layers[k]."""
        return self.dropout_seed is not None and self.layers[k].dropout > 0

    def drop(self, k: int, first_row: int, values: Array, out: Array) -> None:
        """Drop activations of layers[k], or their errors: the same ones in both directions.

        Parameters
        ----------
        k : int
            Which layer.
        first_row : int
            The batch's row that `values` begins with.
        values, out : array of shape (rows, n_out)
            Before and after; they may be one.
        """
        assert self.dropout_seed is not None
        layer, seed = self.layers[k], self.dropout_seed
        first = first_row * layer.n_out
        self.backend.dropout(values, out, self.counters, seed, k, first, layer.dropout)
