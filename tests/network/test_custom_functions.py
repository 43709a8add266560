"""Custom activations and costs, on every backend."""

from __future__ import annotations

import numpy as np
import pytest
from random_networks import host, network, relative_error

import gpubp
from gpubp.backends import Backend
from gpubp.kernels import Activation, Cost

FORWARD = {"cuda": "return z / sqrt(T(1) + z * z);"}
BACKWARD = {"cuda_derivative": "const T q = T(1) + z * z; return T(1) / (q * sqrt(q));"}
CUSTOM_ACTIVATIONS = {
    "array functions": {},
    "CUDA text": FORWARD | BACKWARD,
    "CUDA text forward": FORWARD,
    "CUDA text backward": BACKWARD,
}


COST = {"cuda": "const T r = a - y; return r * r * r * r;"}
DERIVATIVE = {"cuda_derivative": "const T r = a - y; return T(4) * r * r * r;"}
COST_TEXTS = {
    "array functions": {},
    "CUDA text": COST | DERIVATIVE,
    "CUDA text of the cost": COST,
    "CUDA text of its derivative": DERIVATIVE,
}


@pytest.mark.slow
@pytest.mark.parametrize("cost_text", COST_TEXTS)
@pytest.mark.parametrize("text", CUSTOM_ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_custom_activations_and_costs_work_on_every_backend(
    backend: Backend, text: str, cost_text: str, dtype: str
) -> None:
    custom = Activation.from_functions(
        "custom, unlike an identifier",
        lambda xp, z: z / xp.sqrt(1 + z * z),
        lambda xp, z: (1 + z * z) ** -1.5,
        **CUSTOM_ACTIVATIONS[text],
    )
    fourth = Cost.from_functions(
        *("fourth power", lambda xp, a, y: (a - y) ** 4, lambda xp, a, y: 4 * (a - y) ** 3),
        **COST_TEXTS[cost_text],
    )
    x, y = np.random.default_rng(18).normal(size=(2, 6, 3)).astype(dtype)
    net = network(
        (3, 4, 3), hidden=custom, output=custom, cost=fourth, dtype=dtype, backend=backend
    )
    bp = net.backprop(x, y)
    output = net.predict(x)
    assert bp.cost == pytest.approx(((output - y).astype(float) ** 4).sum(axis=1).mean(), rel=1e-5)
    assert gpubp.check_gradients(net, x, y).relative_error < 1e-7
    wide = network((3, 4, 3), hidden=custom, output=custom, cost=fourth)
    wide.parameters[...] = host(net, net.parameters)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    assert relative_error(host(net, bp.gradient), wide.backprop(x, y).gradient) < tolerance


@pytest.mark.parametrize("output", ["tanh", "softmax"])
def test_custom_costs_work_behind_every_kind_of_output(backend: Backend, output: str) -> None:
    fourth = Cost.from_functions(
        "fourth", lambda xp, a, y: (a - y) ** 4, lambda xp, a, y: 4 * (a - y) ** 3
    )
    x, y = np.random.default_rng(19).normal(size=(2, 6, 3))
    net = network((3, 4, 3), output=output, cost=fourth, backend=backend)
    assert gpubp.check_gradients(net, x, y).relative_error < 1e-7
    numpys = network((3, 4, 3), output=output, cost=fourth)
    gradient = host(net, net.backprop(x, y).gradient)
    assert relative_error(gradient, numpys.backprop(x, y).gradient) < 1e-13


def test_a_custom_activation_may_read_its_output(backend: Backend) -> None:
    custom = Activation.from_functions(
        "custom_tanh", lambda xp, z: xp.tanh(z), lambda xp, a: 1 - a * a, reads="a"
    )
    x, y = np.random.default_rng(20).normal(size=(2, 6, 3))
    tanh, net = network((3, 4, 3)), network((3, 4, 3), hidden=custom, backend=backend)
    tanh.parameters[...] = host(net, net.parameters)
    expected = tanh.backprop(x, y).gradient
    assert relative_error(host(net, net.backprop(x, y).gradient), expected) < 1e-13
