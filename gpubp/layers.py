"""Layers, and where their parameters lie in the network's one flat array.

All weight matrices come first, layer by layer, then all biases: penalties and decay, which leave biases
alone, act on a prefix of the array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from .backends import Array, backend_of
from .kernels import Activation

__all__ = ["Layer", "Layout", "Parameters"]


class Parameters(NamedTuple):
    """One layer's part of a flat array shaped like the parameters; views, never copies."""

    weights: Array
    biases: Array | None


def assign(name: str, held: Array | None, values: Any) -> None:
    """Copy `values` into the parameters that are held, and captured steps read.

    Raises
    ------
    ValueError : they have another shape.
    """
    if values is held:  # as after an operation in place
        return
    if held is None or np.shape(values) != held.shape:
        expected = "None: this layer has none" if held is None else f"shape {held.shape}"
        raise ValueError(f"{name} is given shape {np.shape(values)}, expected {expected}")
    owner = backend_of(held)
    if owner is None:
        held[...] = values
    else:
        source = backend_of(values)
        if source is not None and source is not owner:
            values = source.to_numpy(values)
        with owner.use():
            held[...] = owner.asarray(values)


@dataclass(eq=False)
class Layer:
    """One layer: a = σ(z), z = a_before wᵀ + b.

    What is assigned to `weights` or `biases` is copied into the network's parameters; activation and
    dropout stay what they are.

    Attributes
    ----------
    weights : (n_out, n_in) view of the network's parameters.
    biases : (n_out,) view of them, or None for a layer without.
    activation : σ.
    dropout : probability with which training drops each of the layer's activations.
    """

    weights: Array
    biases: Array | None
    activation: Activation
    dropout: float = 0.0

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dict__:
            object.__setattr__(self, name, value)
        elif name in ("weights", "biases"):
            assign(name, getattr(self, name), value)
        else:
            raise AttributeError(f"a layer's {name} cannot be changed; make a new Network with it")

    @property
    def n_in(self) -> int:
        return int(self.weights.shape[1])

    @property
    def n_out(self) -> int:
        return int(self.weights.shape[0])


@dataclass(frozen=True)
class Layout:
    """The places of every layer's weights and biases in a flat array.

    Attributes
    ----------
    sizes : layer widths, the input first.
    biases : for each layer but the input, whether it has biases.
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
        return self.weight_ends[-1]

    @property
    def size(self) -> int:
        return self.bias_ends[-1]

    def views(self, flat: Array) -> list[Parameters]:
        """Each layer's (n_out, n_in) weights and (n_out,) biases in `flat`, an array of `size`."""
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
