"""Gradients against finite differences, for every output, cost and hidden activation."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pytest
from random_networks import ELEMENTWISE, host, network, relative_error, targets_for

import gpubp
from gpubp.backends import Backend
from gpubp.kernels import ACTIVATIONS, COSTS, Activation
from gpubp.kernels.typing import Array

PAIRS = list(product(ACTIVATIONS, COSTS))


# Finite differences: data that keep outputs inside the cost's domain and away from kinks.

KINKS = {
    "relu": (0,),
    "leaky_relu": (0,),
    "elu": (0,),
    "selu": (0,),
    "hard_sigmoid": (-3, 3),
    "hard_tanh": (-1, 1),
    "hard_swish": (-3, 3),
}


def away_from_kinks(name: str, z: Array) -> bool:
    return all((np.abs(z - kink) > 0.05).all() for kink in KINKS.get(name, ()))


def output_problem(
    output: str, cost: str, backend: Backend | str = "numpy"
) -> tuple[gpubp.Network, Array, Array]:
    """Make a network whose outputs are near 1/2 (softmax: 1/3), x and y."""
    net = network((4, 5, 3), output=output, cost=cost, backend=backend)
    last = net.layers[-1]
    last.weights[...] = last.weights * 0.05
    if output != "softmax":
        z = np.linspace(-2.5, 2.5, 501)[None, :]
        a = z.copy()
        activation = ACTIVATIONS[output]
        activation.numpy(z, a, (z * 0, z * 0), **activation.parameters)
        last.biases[...] = float(z.flat[np.abs(a - 0.5).argmin()])
    x = np.random.default_rng(5).normal(size=(6, 4))
    assert away_from_kinks(output, net.forward(x).z[-1])
    return net, x, targets_for(COSTS[cost], (6, 3))


@pytest.mark.parametrize(("output", "cost"), PAIRS)
def test_every_output_and_cost_agree_with_finite_differences(output: str, cost: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="cost .* is defined for outputs")
        check = gpubp.check_gradients(*output_problem(output, cost))
    assert check.checked == 4 * 5 + 5 * 3 + 5 + 3
    assert check.relative_error < 1e-7


# A kernel's text joins the texts of an output and of a cost, and test_nvrtc.py compiles every pair. So it
# is enough to run each output and each cost once.
CUDA_PAIRS = [*((output, "huber") for output in ACTIVATIONS), *(("gelu", cost) for cost in COSTS)]


@pytest.mark.parametrize(("output", "cost"), CUDA_PAIRS)
def test_the_cuda_backend_gives_numpys_gradient(
    cuda_backend: Backend, output: str, cost: str
) -> None:
    net, x, y = output_problem(output, cost)
    other = output_problem(output, cost, cuda_backend)[0]
    expected, actual = net.backprop(x, y), other.backprop(x, y)
    assert actual.cost == pytest.approx(expected.cost, rel=1e-13)
    assert relative_error(host(other, actual.gradient), expected.gradient) < 1e-13
    assert relative_error(actual.input_gradient, expected.input_gradient) < 1e-13


@pytest.mark.parametrize("hidden", ELEMENTWISE)
def test_every_hidden_activation_agrees_with_finite_differences(hidden: str) -> None:
    net = network((4, 5, 4, 3), hidden=hidden, cost="log_cosh")
    net.parameters[...] *= 0.5  # else exponentials of exponentials curve too much
    for seed in range(1000):
        x = np.random.default_rng(seed).normal(size=(4, 4))
        if all(away_from_kinks(hidden, z) for z in net.forward(x).z[:-1]):
            break
    else:
        pytest.fail("no x keeps z away from the kinks")
    check = gpubp.check_gradients(net, x, np.ones((4, 3)), sample_weight=[1, 2, 0, 3])
    assert check.relative_error < 1e-7


def test_input_gradient_and_deltas_agree_with_finite_differences(backend: Backend) -> None:
    net = network((3, 4, 2), output="softmax", backend=backend)
    x, y, w = np.random.default_rng(6).normal(size=(5, 3)), np.array([0, 1, 1, 0, 1]), np.arange(5)
    bp = net.backprop(x, y, w)
    h = 1e-5
    for row, column in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[row, column] = h
        slope = (net.cost(x + shift, y, w) - net.cost(x - shift, y, w)) / (2 * h)
        assert bp.input_gradient[row, column] == pytest.approx(slope, rel=1e-6, abs=1e-10)
    # Shifting a bias shifts z in every row, so ∂C/∂b is the sum of a column of δ.
    for layer, delta in zip(net.layers, bp.deltas, strict=True):
        for j in range(layer.n_out):
            kept, costs = float(layer.biases[j]), []
            for step in (h, -h):
                layer.biases[j] = kept + step
                costs.append(net.cost(x, y, w))
            layer.biases[j] = kept
            slope = (costs[0] - costs[1]) / (2 * h)
            assert delta[:, j].sum() == pytest.approx(slope, rel=1e-6, abs=1e-10)


def test_check_gradients_finds_a_wrong_derivative_and_where_it_is() -> None:
    almost = Activation.from_functions(
        "almost_tanh", lambda xp, z: xp.tanh(z), lambda xp, z: 1.01 * (1 - xp.tanh(z) ** 2)
    )
    x, y = np.random.default_rng(7).normal(size=(2, 6, 3))
    net = network((3, 4, 3), hidden=almost)
    tanh = network((3, 4, 3))
    tanh.parameters[...] = net.parameters
    right = tanh.backprop(x, y).gradient
    check = gpubp.check_gradients(net, x, y)
    # The first layer's gradient is 1 % too large; the second layer's is right.
    off = np.zeros_like(right)
    for part in (slice(0, 12), slice(24, 28)):
        off[part] = 0.01 * right[part]
    expected = np.linalg.norm(off) / np.linalg.norm(right + off)
    assert check.relative_error == pytest.approx(expected, rel=1e-5)
    assert check.worst == np.abs(off).argmax()


def test_check_gradients_leaves_the_network_and_compares_no_more_than_asked() -> None:
    net = network((3, 4, 3), dtype="float32")
    before = net.parameters.copy()
    x, y = np.random.default_rng(8).normal(size=(2, 6, 3))
    check = gpubp.check_gradients(net, x, y, max_parameters=10)
    assert check.checked == 10
    assert check.relative_error < 1e-7
    np.testing.assert_array_equal(net.parameters, before)
