"""Layers, and where their parameters lie in the network's one flat array.

All weight matrices come first, layer by layer, then all biases: penalties and decay, which leave biases
alone, act on a prefix of the array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .arrays import home_of, move
from .backends import Array
from .fixed import Fixed
from .kernels import Activation

__all__ = ["Layer", "Layout", "Parameters"]


class Parameters(NamedTuple):
    """One layer's part of a flat array shaped like the parameters.

    Attributes
    ----------
    weights : array of shape (n_out, n_in)
        A view of the flat array.
    biases : array of shape (n_out,), or None
        A view of it; None for a layer without biases.
    """

    weights: Array
    biases: Array | None


def assign(name: str, held: Array | None, values: Any) -> None:
    """Copy `values` into parameters, which stay where they are: captured steps read them there.

    Parameters
    ----------
    name : str
        What the message calls them.
    held : array or None
        The parameters; None where there are none.
    values : array_like of the same shape
        Their new values, on any device.

    Raises
    ------
    ValueError
        The values have another shape.
    """
    if values is held:  # as after an operation in place
        return
    if held is None or np.shape(values) != held.shape:
        expected = "None: this layer has none" if held is None else f"shape {held.shape}"
        raise ValueError(f"{name} is given shape {np.shape(values)}, expected {expected}")
    home = home_of(held)
    with home.use():
        held[...] = move(values, home)


class _Assigned:
    """Parameters of a layer: views that are set once, and into which later values are copied."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, instance: Layer, values: Any) -> None:
        held = vars(instance)
        if self._name in held:
            assign(self._name, held[self._name], values)
        else:
            held[self._name] = values

    if TYPE_CHECKING:  # Python itself finds what `__set__` left in the instance.

        def __get__(self, instance: object, owner: type) -> Array: ...


class Layer:
    """One layer: a = σ(z), z = a_before wᵀ + b.

    A `Network` makes its layers.

    Attributes
    ----------
    weights : array of shape (n_out, n_in)
        A view of the network's parameters; what is assigned to it is copied into them.
    biases : array of shape (n_out,), or None
        The same; None for a layer without biases.
    activation : Activation
        σ, read-only.
    dropout : float
        Probability with which training drops each of the layer's activations, read-only.
    """

    weights = _Assigned()
    biases = _Assigned()
    activation = Fixed[Activation]("make a new Network with it")
    dropout = Fixed[float]("make a new Network with it")

    def __init__(
        self, weights: Array, biases: Array | None, activation: Activation, dropout: float = 0.0
    ) -> None:
        self.weights, self.biases = weights, biases
        self.activation, self.dropout = activation, dropout

    def __repr__(self) -> str:
        rate = f", dropout={self.dropout:g}" if self.dropout else ""
        return f"Layer({self.n_in} to {self.n_out}, {self.activation.name}{rate})"

    @property
    def n_in(self) -> int:
        """Width of the layer before."""
        return int(self.weights.shape[1])

    @property
    def n_out(self) -> int:
        """Width of this layer."""
        return int(self.weights.shape[0])


@dataclass(frozen=True)
class Layout:
    """The places of every layer's weights and biases in a flat array.

    Attributes
    ----------
    sizes : tuple of int
        Layer widths, the input first.
    biases : tuple of bool
        For each layer but the input, whether it has biases.
    weight_ends, bias_ends : tuple of int
        Where each layer's weights and biases end, after where the first layer's begin.
    """

    sizes: tuple[int, ...]
    biases: tuple[bool, ...]
    weight_ends: tuple[int, ...] = field(init=False)
    bias_ends: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        weight_sizes = [n * m for n, m in pairwise(self.sizes)]
        ends = tuple(accumulate(weight_sizes, initial=0))
        bias_sizes = [n if b else 0 for n, b in zip(self.sizes[1:], self.biases, strict=True)]
        object.__setattr__(self, "weight_ends", ends)
        object.__setattr__(self, "bias_ends", tuple(accumulate(bias_sizes, initial=ends[-1])))

    @property
    def n_weights(self) -> int:
        """How many weights there are; they lie before all biases."""
        return self.weight_ends[-1]

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return self.bias_ends[-1]

    def views(self, flat: Array) -> list[Parameters]:
        """Each layer's part of an array.

        Parameters
        ----------
        flat : array of shape (size,)
            Shaped like the parameters.

        Returns
        -------
        list of Parameters
            Views of `flat`, one for each layer but the input.
        """
        views: list[Parameters] = []
        places = zip(pairwise(self.weight_ends), pairwise(self.bias_ends), strict=True)
        for (n_in, n_out), (weights, biases) in zip(pairwise(self.sizes), places, strict=True):
            w = flat[slice(*weights)].reshape(n_out, n_in)
            b = flat[slice(*biases)] if biases[1] > biases[0] else None
            views.append(Parameters(w, b))
        return views


def widths(layers: Sequence[Layer]) -> tuple[int, ...]:
    """Layer widths, the input first."""
    return (layers[0].n_in, *(layer.n_out for layer in layers))
