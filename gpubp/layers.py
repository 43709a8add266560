"""Layers, and the places of their parameters in the network's flat array.

All weight matrices come first, layer by layer, then all biases. Penalties and decay, which do not change
biases, then act on the first part of the array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from .arrays import as_array, home_of, move
from .backends import Array
from .data_validation import check_finite, check_fits
from .fixed import Fixed
from .kernels import Activation
from .kernels.messages import shown

__all__ = ["Layer", "Layout", "Parameters"]


class Parameters(NamedTuple):
    """One layer's views of a flat array in the order of the parameters.

    Attributes
    ----------
    weights : array of shape (n_out, n_in)
        A view of the flat array.
    biases : array of shape (n_out,), or None
        A view of the flat array; None for a layer without biases.
    """

    weights: Array
    biases: Array | None


def assign(name: str, held: Array | None, values: Any) -> None:
    """Copy `values` into parameters, whose address does not change: captured steps read them there.

    Parameters
    ----------
    name : str
        The name of the parameters in error messages.
    held : array or None
        The parameters; None for a layer without biases.
    values : array_like of the same shape
        The new values, on any device.

    Raises
    ------
    ValueError
        If the values are not numbers of this shape, finite and within the parameters' dtype.
    """
    if held is None:
        if values is not None:
            came = shown(values)
            raise ValueError(f"{name} is {came}, expected None, for this layer has none")
        return
    if _is_the_same(values, held):  # for example after `parameters -= step`
        return
    with home_of(values).use():
        array = as_array(name, values)
        if array.shape != held.shape:
            raise ValueError(f"{name} is given shape {array.shape}, expected shape {held.shape}")
        check_finite(name, array)
        check_fits(name, array, held.dtype)
    home = home_of(held)
    with home.use():
        held[...] = move(array, home)


def _is_the_same(values: Any, held: Array) -> bool:
    """Whether both are the same part of memory, in the same shape and dtype."""
    about = "__array_interface__" if isinstance(held, np.ndarray) else "__cuda_array_interface__"
    return bool(getattr(values, about, None) == getattr(held, about))


class _Assigned:
    """A layer's parameters: an array that is set once. Later assignments copy their values into it.

    Each access gives a new view: its shape and dtype may be set, those of the array that kernels use not.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Layer | None, owner: type) -> Array:
        if instance is None:
            return self
        held = vars(instance)[self._name]
        return None if held is None else held.view()

    def __set__(self, instance: Layer, values: Any) -> None:
        held = vars(instance)
        if self._name in held:
            assign(self._name, held[self._name], values)
        else:
            held[self._name] = values


class Layer:
    """One layer: z = x wᵀ + b and a = σ(z), where x is the output of the previous layer.

    A `Network` makes its layers.

    Attributes
    ----------
    weights : array of shape (n_out, n_in)
        A view of the network's parameters. An assignment copies the values into it.
    biases : array of shape (n_out,), or None
        A view of the network's parameters, like `weights`; None for a layer without biases.
    activation : Activation
        σ; read-only.
    dropout : float
        Probability with which training drops an activation of the layer; read-only.
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

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("trainable", "requires_grad", "frozen"):
            raise AttributeError(
                f"a layer has no attribute {name!r}; layer_rates of a Trainer freezes layers, with 0"
            )
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        rate = f", dropout={self.dropout:g}" if self.dropout else ""
        without = ", biases=False" if self.biases is None else ""
        return f"Layer({self.n_in} to {self.n_out}, {self.activation.name}{rate}{without})"

    @property
    def n_in(self) -> int:
        """Width of the previous layer."""
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
        Layer widths, starting with the input.
    biases : tuple of bool
        For each layer except the input, whether it has biases.
    weight_ends, bias_ends : tuple of int
        The start of the first layer's weights or biases, then the end of each layer's.
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
        """The number of weights; they come before all biases."""
        return self.weight_ends[-1]

    @property
    def size(self) -> int:
        """The number of parameters."""
        return self.bias_ends[-1]

    def views(self, flat: Array) -> list[Parameters]:
        """Make each layer's views of an array.

        Parameters
        ----------
        flat : array of shape (size,)
            An array in the order of the parameters.

        Returns
        -------
        list of Parameters
            Views of `flat`, one for each layer except the input.
        """
        views: list[Parameters] = []
        places = zip(pairwise(self.weight_ends), pairwise(self.bias_ends), strict=True)
        for (n_in, n_out), (weights, biases) in zip(pairwise(self.sizes), places, strict=True):
            w = flat[slice(*weights)].reshape(n_out, n_in)
            b = flat[slice(*biases)] if biases[1] > biases[0] else None
            views.append(Parameters(w, b))
        return views


def widths(layers: Sequence[Layer]) -> tuple[int, ...]:
    """Return the layer widths, starting with the input."""
    return (layers[0].n_in, *(layer.n_out for layer in layers))
