"""The results of a network's forward and backward passes."""

from __future__ import annotations

from dataclasses import dataclass

from ..backends import Array

__all__ = ["Backprop", "Forward", "Vjp"]


@dataclass(frozen=True, eq=False, repr=False)
class Forward:
    """The result of a forward pass.

    Arrays have the network's dtype and are on the device of x.

    Attributes
    ----------
    z : list of arrays of shape (rows, n_out)
        z = a wᵀ + b of each layer except the input.
    a : list of arrays of shape (rows, n)
        x, then the activations of each layer; ``a[-1]`` is the output. A sparse x is a CSR array
        of SciPy, or a CSR matrix of CuPy if x was on a device.

    See Also
    --------
    Network.forward : The method that returns it.

    Examples
    --------
    >>> import gpubp
    >>> network = gpubp.Network((2, 2, 1), hidden="relu")
    >>> network.parameters = [1, -1, -1, 1, 2, 3, 0, 0, 0.5]
    >>> forward = network.forward([[3.0, 1.0], [1.0, 3.0]])
    >>> forward
    Forward(2 layers, 2 rows)
    >>> forward.z[0].tolist()
    [[2.0, -2.0], [-2.0, 2.0]]
    >>> forward.a[1].tolist()  # relu
    [[2.0, 0.0], [0.0, 2.0]]
    >>> forward.a[-1].tolist()  # the output
    [[4.5], [6.5]]
    """

    z: list[Array]
    a: list[Array]

    def __repr__(self) -> str:
        return f"Forward({len(self.z)} layers, {len(self.z[0])} rows)"


@dataclass(frozen=True, eq=False, repr=False)
class Backprop:
    """The result of backpropagation.

    Arrays have the network's dtype and belong to the caller. Arrays with rows are on the device of x. The
    gradients of the parameters are on the network's device.

    Attributes
    ----------
    cost : float
        The mean cost of the batch.
    deltas : list of arrays of shape (rows, n_out)
        δ = ∂(mean cost)/∂z of each layer except the input.
    gradient : array of shape (size,)
        The gradient of all parameters, in the order of `Network.parameters`. `weight_gradients` and
        `bias_gradients` are views of it.
    weight_gradients : list of arrays of shape (n_out, n_in)
        ∂(mean cost)/∂w of each layer except the input.
    bias_gradients : list of arrays of shape (n_out,), or None
        ∂(mean cost)/∂b of each layer except the input; None for a layer without biases.
    input_gradient : array of shape (rows, n_in), or None
        ∂(mean cost)/∂x; None for a sparse x, because it is dense.
    z, a : list of arrays
        As in `Forward`.

    See Also
    --------
    Network.backprop : The method that returns it.

    Notes
    -----
    δ^L = ∂C/∂a^L ⊙ σ′(z^L) in the output layer, and δ^l = (δ^(l+1) w^(l+1)) ⊙ σ′(z^l) before it. The
    gradients are ∂C/∂w^l = δ^lᵀ a^(l-1), and for biases the column sums of δ^l.

    Examples
    --------
    >>> import gpubp
    >>> network = gpubp.Network((2, 2, 1), hidden="relu")
    >>> network.parameters = [1, -1, -1, 1, 2, 3, 0, 0, 0.5]
    >>> back = network.backprop([[3.0, 1.0]], [[4.0]])
    >>> back
    Backprop(2 layers, 1 rows, cost=0.125)
    >>> back.gradient.tolist()  # of weights 2 x 2 and 1 x 2, then of biases 2 and 1
    [3.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.5]
    >>> (back.deltas[0].T @ back.a[0]).tolist() == back.weight_gradients[0].tolist()
    True
    """

    cost: float
    deltas: list[Array]
    gradient: Array
    weight_gradients: list[Array]
    bias_gradients: list[Array | None]
    input_gradient: Array | None
    z: list[Array]
    a: list[Array]

    def __repr__(self) -> str:
        return f"Backprop({len(self.z)} layers, {len(self.z[0])} rows, cost={self.cost:g})"


@dataclass(frozen=True, eq=False, repr=False)
class Vjp:
    """The result of `Network.vjp`, for an output gradient g = ∂C/∂a^L of any C.

    Arrays have the network's dtype and belong to the caller.

    Attributes
    ----------
    gradient : array of shape (size,)
        ∂C/∂parameters, in the order of `Network.parameters`, on the network's device. `weight_gradients`
        and `bias_gradients` are views of it.
    weight_gradients : list of arrays of shape (n_out, n_in)
        ∂C/∂w of each layer except the input.
    bias_gradients : list of arrays of shape (n_out,), or None
        ∂C/∂b of each layer except the input; None for a layer without biases.
    input_gradient : array of shape (rows, n_in) or (n_in,), or None
        ∂C/∂x, of the shape of x and on its device; None for a sparse x, because it is dense.

    See Also
    --------
    Network.vjp : The method that returns it.

    Examples
    --------
    >>> import gpubp
    >>> network = gpubp.Network((2, 2, 1), hidden="relu")
    >>> network.parameters = [1, -1, -1, 1, 2, 3, 0, 0, 0.5]
    >>> found = network.vjp([[3.0, 1.0]], [[0.5]])
    >>> found
    Vjp(2 layers, 9 parameters)
    >>> found.weight_gradients[1].tolist()  # 0.5 times the activations of the hidden layer
    [[1.0, 0.0]]
    >>> found.input_gradient.tolist()
    [[1.0, -1.0]]
    """

    gradient: Array
    weight_gradients: list[Array]
    bias_gradients: list[Array | None]
    input_gradient: Array | None

    def __repr__(self) -> str:
        return f"Vjp({len(self.weight_gradients)} layers, {self.gradient.size} parameters)"
