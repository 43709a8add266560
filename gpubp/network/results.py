"""What a network gives back."""

from __future__ import annotations

from dataclasses import dataclass

from ..backends import Array

__all__ = ["Backprop", "Forward"]


@dataclass(frozen=True, eq=False, repr=False)
class Forward:
    """What a forward pass computed.

    Arrays have the network's dtype and lie where x came from.

    Attributes
    ----------
    z : list of arrays of shape (rows, n_out)
        For each layer but the input, z = a wᵀ + b.
    a : list of arrays of shape (rows, n)
        x itself, then each layer's activations; ``a[-1]`` is the output.
    """

    z: list[Array]
    a: list[Array]

    def __repr__(self) -> str:
        return f"Forward({len(self.z)} layers, {len(self.z[0])} rows)"


@dataclass(frozen=True, eq=False, repr=False)
class Backprop:
    """What backpropagation computed.

    Arrays have the network's dtype and belong to the caller. Those with rows lie where x came from, the
    gradient where the parameters lie.

    Attributes
    ----------
    cost : float
        The mean cost of the batch.
    deltas : list of arrays of shape (rows, n_out)
        For each layer but the input, δ = ∂(mean cost)/∂z.
    gradient : array of shape (size,)
        The gradient by all parameters, laid out as `Network.parameters`. `weight_gradients` and
        `bias_gradients` are views of it.
    weight_gradients : list of arrays of shape (n_out, n_in)
        For each layer but the input.
    bias_gradients : list of arrays of shape (n_out,), or None
        For each layer but the input; None for a layer without biases.
    input_gradient : array of shape (rows, n_in)
        ∂(mean cost)/∂x.
    z, a : list of arrays
        As in `Forward`.
    """

    cost: float
    deltas: list[Array]
    gradient: Array
    weight_gradients: list[Array]
    bias_gradients: list[Array | None]
    input_gradient: Array
    z: list[Array]
    a: list[Array]

    def __repr__(self) -> str:
        return f"Backprop({len(self.z)} layers, {len(self.z[0])} rows, cost={self.cost:g})"
