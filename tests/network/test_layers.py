"""Initial weights, the layout of parameters, and the repr of networks and layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from random_networks import host
from samples import same_parameters

import gpubp
from gpubp import Network
from gpubp.backends import Backend
from gpubp.kernels.typing import Array

# Initial weights

N_IN, N_OUT = 300, 200
VARIANCES = {
    "he_normal": 2 / N_IN,
    "he_uniform": 2 / N_IN,
    "glorot_normal": 2 / (N_IN + N_OUT),
    "glorot_uniform": 2 / (N_IN + N_OUT),
    "lecun_normal": 1 / N_IN,
    "lecun_uniform": 1 / N_IN,
}


def initial(**options: Any) -> Array:
    net = Network((N_IN, N_OUT), dtype="float64", backend="numpy", seed=1, **options)
    assert (net.layers[0].biases == 0).all()
    return net.layers[0].weights


@pytest.mark.parametrize("name", VARIANCES)
def test_initial_weights_have_the_published_variance(name: str) -> None:
    w, variance, n = initial(initializer=name), VARIANCES[name], N_IN * N_OUT
    fourth = 9 / 5 if "uniform" in name else 3  # kurtosis: it bounds the error of a sample variance
    assert abs(w.mean()) < 5 * math.sqrt(variance / n)
    assert abs(w.var() / variance - 1) < 5 * math.sqrt((fourth - 1) / n)
    if "uniform" in name:
        assert np.abs(w).max() <= math.sqrt(3 * variance)
    else:
        assert np.abs(w).max() > 3.5 * math.sqrt(variance)


@pytest.mark.parametrize("sizes", [(30, 20), (20, 30), (20, 20)])
def test_orthogonal_weights_have_orthonormal_rows_or_columns(sizes: tuple[int, int]) -> None:
    net = Network(sizes, initializer="orthogonal", dtype="float64", backend="numpy", seed=2)
    w = net.layers[0].weights
    gram = w @ w.T if sizes[0] >= sizes[1] else w.T @ w
    np.testing.assert_allclose(gram, np.eye(min(sizes)), atol=1e-14)


def test_zeros_are_zeros() -> None:
    assert (initial(initializer="zeros") == 0).all()


@pytest.mark.parametrize(
    ("activation", "name"),
    [("relu", "he_normal"), ("tanh", "glorot_uniform"), ("selu", "lecun_normal")],
)
def test_the_default_initializer_is_made_for_the_activation(activation: str, name: str) -> None:
    np.testing.assert_array_equal(initial(output=activation), initial(initializer=name))


def test_each_layer_may_have_its_own_initializer() -> None:
    net = Network(
        (3, 4, 2),
        initializer=["zeros", lambda rng, shape: np.full(shape, 0.5)],
        backend="numpy",
    )
    assert (net.layers[0].weights == 0).all()
    assert (net.layers[1].weights == 0.5).all()


def test_a_seed_gives_the_same_bits_on_every_backend(backend: Backend) -> None:
    numpys = Network((5, 6, 3), backend="numpy", seed=7)
    assert same_parameters(Network((5, 6, 3), backend=backend, seed=7), numpys)
    generator = np.random.default_rng(7)
    assert same_parameters(Network((5, 6, 3), backend=backend, seed=generator), numpys)
    assert not same_parameters(Network((5, 6, 3), backend=backend, seed=generator), numpys)
    assert not same_parameters(Network((5, 6, 3), backend=backend, seed=8), numpys)
    wide = Network((5, 6, 3), backend=backend, seed=7, dtype="float64")
    np.testing.assert_array_equal(host(wide, wide.parameters).astype(np.float32), numpys.parameters)


# Layers and layout


def test_parameters_are_weights_then_biases_and_layers_are_views(backend: Backend) -> None:
    net = Network((3, 4, 2), backend=backend)
    assert host(net, net.parameters).shape == (3 * 4 + 4 * 2 + 4 + 2,)
    net.parameters[...] = backend.asarray(np.arange(26, dtype=np.float32))
    first, second = net.layers
    np.testing.assert_array_equal(host(net, first.weights), np.arange(12).reshape(4, 3))
    np.testing.assert_array_equal(host(net, second.weights), np.arange(12, 20).reshape(2, 4))
    np.testing.assert_array_equal(host(net, first.biases), np.arange(20, 24))
    np.testing.assert_array_equal(host(net, second.biases), np.arange(24, 26))
    second.biases[...] = -1.0
    assert host(net, net.parameters)[24:].tolist() == [-1, -1]
    assert (first.n_in, first.n_out, second.n_in, second.n_out) == (3, 4, 4, 2)


def test_layers_without_biases_have_none_and_take_no_room(backend: Backend) -> None:
    x = np.random.default_rng(3).normal(size=(5, 3)).astype(np.float32)
    net = Network((3, 4, 2), biases=False, backend=backend, seed=1)
    assert host(net, net.parameters).size == 20
    assert [layer.biases for layer in net.layers] == [None, None]
    w1, w2 = (host(net, layer.weights) for layer in net.layers)
    np.testing.assert_allclose(net.predict(x), np.maximum(x @ w1.T, 0) @ w2.T, rtol=1e-5)
    mixed = Network((3, 4, 2), biases=[False, True], backend=backend)
    assert mixed.layers[0].biases is None
    assert mixed.layers[1].biases.shape == (2,)


def test_each_hidden_layer_may_have_its_own_activation_and_dropout() -> None:
    steep = gpubp.get_activation("leaky_relu", slope=0.2)
    net = Network(
        (3, 4, 5, 2), hidden=["tanh", steep], output="softmax", dropout=[0, 0.25], backend="numpy"
    )
    assert [layer.activation.name for layer in net.layers] == ["tanh", "leaky_relu", "softmax"]
    assert [layer.dropout for layer in net.layers] == [0, 0.25, 0]
    z = net.forward([[1, 2, 3]]).z[1]
    np.testing.assert_allclose(
        net.forward([[1, 2, 3]]).a[2], np.where(z > 0, z, 0.2 * z), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("output", "cost"),
    [
        ("softmax", "cross_entropy"),
        ("sigmoid", "binary_cross_entropy"),
        ("exponential", "poisson"),
        ("identity", "quadratic"),
        ("tanh", "quadratic"),
    ],
)
def test_the_default_cost_is_the_outputs_partner(output: str, cost: str) -> None:
    assert Network((3, 2), output=output, backend="numpy").cost_function.name == cost


def test_an_output_outside_the_costs_domain_is_warned_about() -> None:
    with pytest.warns(UserWarning, match="'cross_entropy' is defined for outputs above 0, but out"):
        Network((3, 2), output="tanh", cost="cross_entropy", backend="numpy")


def test_repr_says_what_the_network_is(backend: Backend) -> None:
    net = Network((3, 4, 2), output="softmax", dtype="float64", backend=backend)
    assert repr(net) == (
        "Network((3, 4, 2), hidden='relu', output='softmax', cost='cross_entropy',"
        f" dtype='float64', backend='{backend.name}')"
    )
    mixed = Network((3, 4, 5, 2), hidden=["relu", "tanh"], backend=backend)
    assert "hidden=['relu', 'tanh']" in repr(mixed)
    assert "hidden" not in repr(Network((3, 2), backend=backend))
