"""What tests share: a network with many options, picklable custom functions, an array with an odd value."""

from __future__ import annotations

from typing import Any

import numpy as np
from random_networks import host

import gpubp
from gpubp import Network
from gpubp.backends import Backend
from gpubp.kernels.typing import Array


def same_parameters(a: Network, b: Network) -> bool:
    return bool(np.array_equal(host(a, a.parameters), host(b, b.parameters)))


def everything(backend: Backend | str, **options: Any) -> Network:
    return Network(
        (3, 4, 5, 2),
        hidden=[gpubp.get_activation("leaky_relu", slope=0.3), "gelu"],
        output="softmax",
        cost=gpubp.get_cost("cross_entropy", label_smoothing=0.1),
        biases=[True, False, True],
        dropout=[0.1, 0.2],
        backend=backend,
        seed=5,
        **options,
    )


def cube(xp: Any, z: Array) -> Array:
    return z**3


def cube_derivative(xp: Any, z: Array) -> Array:
    return 3 * z**2


def fourth_power(xp: Any, a: Array, y: Array) -> Array:
    return (a - y) ** 4


def fourth_power_derivative(xp: Any, a: Array, y: Array) -> Array:
    return 4 * (a - y) ** 3


def with_value(array: Any, index: tuple[int, ...], value: float) -> Any:
    changed = np.array(array, float)
    changed[index] = value
    return changed
