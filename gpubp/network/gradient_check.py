"""Compare backpropagation with finite differences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.messages import shown
from ..validation import check_number, check_seed
from .network import Network

__all__ = ["GradientCheck", "check_gradients"]


@dataclass(frozen=True)
class GradientCheck:
    """The difference between backpropagation and finite differences.

    Attributes
    ----------
    relative_error : float
        ‖g - d‖ / max(‖g‖, ‖d‖) over the compared parameters. g comes from backpropagation, d from finite
        differences.
    worst : int
        Index into `Network.parameters` of the largest absolute difference.
    checked : int
        The number of compared parameters.

    See Also
    --------
    check_gradients : The function that returns it.

    Examples
    --------
    >>> import gpubp
    >>> network = gpubp.Network((2, 3, 1), hidden="tanh", seed=0)
    >>> check = gpubp.check_gradients(network, [[0.5, -1.0]], [[0.2]], max_parameters=5)
    >>> check.checked, check.relative_error < 1e-7
    (5, True)
    """

    relative_error: float
    worst: int
    checked: int


def check_gradients(
    network: Network,
    x: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    step: float = 1e-3,
    max_parameters: int = 1000,
    seed: int = 0,
) -> GradientCheck:
    """Compare backpropagation with finite differences of the cost.

    A float64 copy of the network computes both, on the network's backend and without dropout. This checks
    the equations and the backend's kernels with the network's parameters. The differences are central and
    of fourth order; their errors are about step⁴ and 1e-16 / step.

    Parameters
    ----------
    network : Network
        The network to check; it is not changed.
    x, y : array_like of shape (rows, n_in) and (rows, n_out) or (rows,)
        The batch, as in `Network.backprop`.
    sample_weight : array_like of shape (rows,), optional
        Sample weights, as in `Network.backprop`.
    step : float, default 1e-3
        Change of a parameter, relative to ``max(1, |parameter|)``; above 0 and below 1.
    max_parameters : int, default 1000
        The most parameters to compare, 1 or more. If the network has more, they are drawn at random.
    seed : int, default 0
        Seed of this draw, 0 or more.

    Returns
    -------
    GradientCheck
        The relative error is below 1e-7 for a smooth network. It is larger if a kink, such as that of relu,
        lies within a step of some z.

    Raises
    ------
    ValueError
        If x, y or sample_weight does not fit the network, or if step, max_parameters or seed is out of its
        range. The message names it.
    TypeError
        If `network` is not a `Network`.

    Examples
    --------
    >>> import gpubp
    >>> network = gpubp.Network((2, 3, 1), hidden="tanh", seed=0)
    >>> gpubp.check_gradients(network, [[0.5, -1.0]], [[0.2]]).relative_error < 1e-7
    True

    A custom activation whose derivative is wrong is found:

    >>> wrong = gpubp.Activation.from_functions("wrong", lambda xp, z: z * z, lambda xp, z: z)
    >>> network = gpubp.Network((2, 3, 1), hidden=wrong, seed=0)
    >>> gpubp.check_gradients(network, [[0.5, -1.0]], [[0.2]]).relative_error > 0.1
    True
    """
    if not isinstance(network, Network):
        raise TypeError(f"network is {shown(network)}, expected a gpubp.Network")
    check_number("step", step, 0, 1, open_low=True)
    check_number("max_parameters", max_parameters, 1, math.inf, whole=True)
    check_seed(seed)
    twin = _twin_of(network)
    size = twin.parameters.size
    chosen = np.arange(size)
    if size > max_parameters:
        chosen = np.sort(np.random.default_rng(seed).choice(size, max_parameters, replace=False))
    with twin.backend.keep_kernels():
        differences = _differences(twin, (x, y, sample_weight), chosen, step)
        gradient = twin.backend.to_numpy(twin.backprop(x, y, sample_weight).gradient)[chosen]
    apart = np.abs(gradient - differences)
    norm = max(np.linalg.norm(gradient), np.linalg.norm(differences))
    return GradientCheck(
        relative_error=float(np.linalg.norm(apart) / norm) if norm else 0.0,
        worst=int(chosen[apart.argmax()]),
        checked=len(chosen),
    )


def _twin_of(network: Network) -> Network:
    """The same network in float64, without dropout."""
    twin = Network(
        network.sizes,
        hidden=[layer.activation for layer in network.layers[:-1]],
        output=network.layers[-1].activation,
        cost=network.cost_function,
        dtype="float64",
        backend=network.backend,
        biases=network.layout.biases,
        initializer="zeros",
    )
    twin.parameters = network.parameters
    return twin


def _differences(network: Network, data: tuple[Any, ...], chosen: Any, step: float) -> Any:
    """The derivatives of the cost by the chosen parameters, from differences."""
    theta, backend = network.parameters, network.backend
    values = backend.to_numpy(theta).copy()

    def put(index: int, value: float) -> None:
        with backend.use():
            theta[index] = value

    differences = np.empty(len(chosen))
    for k, index in enumerate(chosen):
        kept = float(values[index])
        h = step * max(1.0, abs(kept))
        costs = []
        for multiple in (-2, -1, 1, 2):
            put(index, kept + multiple * h)
            costs.append(network.cost(*data))
        put(index, kept)
        differences[k] = (costs[0] - 8 * costs[1] + 8 * costs[2] - costs[3]) / (12 * h)
    return differences
