"""The worked example: a network so small, and weights so chosen, that every number is a fraction."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..network import Network

__all__ = ["worked_example"]


def worked_example() -> tuple[Network, Any, Any]:
    """Make a network whose backpropagation can be computed by hand.

    It has three inputs, four hidden neurons and two outputs, all sigmoids, and the quadratic cost. The
    weights are whole numbers and ±log 3. As σ(0) = 1/2, σ(log 3) = 3/4 and σ(-log 3) = 1/4, every z, a, δ
    and gradient but that of the inputs is a fraction, or a multiple of log 3.

    Returns
    -------
    network : Network
        The network, of sizes (3, 4, 2), in float64 on NumPy.
    x : array of shape (3,)
        Its inputs.
    y : array of shape (2,)
        The target.

    Examples
    --------
    >>> import gpubp
    >>> network, x, y = gpubp.worked_example()
    >>> result = network.backprop(x, y)
    >>> round(32 * result.cost, 9)  # the cost is 5/32
    5.0
    """
    log3 = math.log(3)
    network = Network(
        (3, 4, 2), hidden="sigmoid", output="sigmoid", cost="quadratic", dtype="float64",
        backend="numpy", initializer="zeros",
    )  # fmt: skip
    first, second = network.layers
    first.weights = [[1, 0, 1], [log3, 0, 0], [0, -log3, -log3], [1, -1, 0]]
    first.biases = [0, 0, 0, 1]
    second.weights = [[1, -1, 1, 0], [-2, 1, -1, 1]]
    second.biases = [log3, 0]
    return network, np.array([1.0, 2.0, -1.0]), np.array([1.0, 0.0])
