"""Gradients from a given output gradient: against finite differences, backprop and whole batches."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from random_networks import host, network, relative_error

import gpubp
from gpubp.backends import Backend
from gpubp.kernels import ACTIVATIONS

SMOOTH = [
    name
    for name in ACTIVATIONS
    if not name.startswith("hard") and name not in ("relu", "leaky_relu", "elu", "selu")
]


def sample(net: gpubp.Network, rows: int = 5, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    drawn = (rng.normal(size=(rows, n)) for n in (net.sizes[0], net.sizes[-1]))
    return tuple(values.astype(net.dtype) for values in drawn)


@pytest.mark.parametrize("output", SMOOTH)
def test_gradients_agree_with_finite_differences(output: str) -> None:
    net, h = network((3, 4, 3), output=output), 1e-5
    x, g = sample(net, rows=4)
    found = net.vjp(x, g)
    for values, gradient in ((x, found.input_gradient), (net.parameters, found.gradient)):
        assert gradient is not None
        for index in np.ndindex(values.shape):
            kept, sums = values[index], []
            for step in (h, -h):
                values[index] = kept + step
                sums.append((net.predict(x) * g).sum())
            values[index] = kept
            slope = (sums[0] - sums[1]) / (2 * h)
            assert gradient[index] == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("rows", [1, 5, 17, 64, 200, 331])
@pytest.mark.parametrize("output", ["identity", "sigmoid", "gelu", "softmax", "hard_swish"])
def test_with_the_gradient_of_a_cost_they_are_those_of_backprop(
    backend: Backend, output: str, rows: int
) -> None:
    """The quadratic cost is ½ |a - y|², divided by the number of rows."""
    net = network((6, 9, 5, 3), output=output, cost="quadratic", backend=backend)
    x, y = sample(net, rows)
    found, expected = net.vjp(x, (net.predict(x) - y) / rows), net.backprop(x, y)
    assert relative_error(host(net, found.gradient), host(net, expected.gradient)) < 1e-12
    assert relative_error(found.input_gradient, expected.input_gradient) < 1e-12
    pairs = zip(found.bias_gradients, expected.bias_gradients, strict=True)
    for actual, right in pairs:
        assert relative_error(host(net, actual), host(net, right)) < 1e-12


@pytest.mark.parametrize("output", ["tanh", "softmax"])
def test_float32_and_layers_without_biases(backend: Backend, output: str) -> None:
    net = network((6, 8, 3), output=output, biases=[False, True], backend=backend, dtype="float32")
    wide = network((6, 8, 3), output=output, biases=[False, True])
    wide.parameters = host(net, net.parameters)
    x, g = sample(net, 50)
    found, expected = net.vjp(x, g), wide.vjp(x, g)
    assert found.bias_gradients[0] is None
    assert relative_error(host(net, found.gradient), expected.gradient) < 1e-5
    assert relative_error(found.input_gradient, expected.input_gradient) < 1e-5


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
@pytest.mark.parametrize("factor", [2.0**-60, 1.0, 2.0**60])
def test_rounded_networks_take_output_gradients_of_any_size(
    backend: Backend, precision: str, factor: float
) -> None:
    options = {"dtype": "float32", "output": "softmax", "backend": backend}
    net = network((6, 8, 3), precision=precision, **options)
    x, g = sample(net, 20)
    found, exact = (
        net.vjp(x, g * np.float32(factor)),
        network((6, 8, 3), output="softmax").vjp(x, g),
    )
    assert relative_error(host(net, found.gradient) / factor, exact.gradient) < 0.02
    assert relative_error(found.input_gradient / factor, exact.input_gradient) < 0.02


def test_one_example_and_sparse_rows(backend: Backend) -> None:
    net = network((6, 4, 3), backend=backend)
    x, g = sample(net, 7)
    one = net.vjp(x[0], g[0])
    assert one.input_gradient is not None
    assert one.input_gradient.shape == (6,)
    np.testing.assert_allclose(one.input_gradient, net.vjp(x[:1], g[:1]).input_gradient[0])
    x[x < 0] = 0
    if backend.name == "numpy":
        sparse = net.vjp(scipy.sparse.csr_matrix(x), g)
        assert sparse.input_gradient is None
        np.testing.assert_allclose(sparse.gradient, net.vjp(x, g).gradient, rtol=1e-12)


def test_the_results_belong_to_the_caller_and_the_weights_are_those_of_now(
    backend: Backend,
) -> None:
    net = network((6, 4, 3), backend=backend)
    x, g = sample(net, 20)
    first = net.vjp(x, g)
    kept = host(net, first.gradient).copy(), host(net, first.input_gradient).copy()
    net.parameters *= 2
    second = net.vjp(x, g)
    np.testing.assert_array_equal(host(net, first.gradient), kept[0])
    np.testing.assert_array_equal(host(net, first.input_gradient), kept[1])
    anew = network((6, 4, 3), backend=backend)
    anew.parameters = net.parameters
    assert relative_error(host(net, second.gradient), host(net, anew.vjp(x, g).gradient)) < 1e-13


def test_a_custom_activation_without_text() -> None:
    cube = gpubp.Activation.from_functions("cube", lambda xp, z: z**3, lambda xp, z: 3 * z**2)
    net = network((4, 5, 2), hidden=cube, output=cube)
    x, y = sample(net, 30)
    found, expected = net.vjp(x, (net.predict(x) - y) / 30), net.backprop(x, y)
    assert relative_error(found.gradient, expected.gradient) < 1e-12


def test_threads_take_turns() -> None:
    net = network((6, 16, 3), output="softmax")
    samples = [sample(net, 40, seed) for seed in range(8)]
    expected = [net.vjp(x, g).gradient for x, g in samples]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pair: net.vjp(*pair).gradient, samples * 5))
    for actual, right in zip(found, expected * 5, strict=True):
        np.testing.assert_array_equal(actual, right)


def test_a_copy_has_passes_of_its_own() -> None:
    net = network((6, 4, 3))
    x, g = sample(net)
    expected = net.vjp(x, g).gradient
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        other.parameters *= 2
        assert relative_error(other.vjp(x, g).gradient, expected) > 0.1
    np.testing.assert_array_equal(net.vjp(x, g).gradient, expected)


BAD: dict[str, tuple[Any, str]] = {
    "columns": (np.ones((5, 4)), r"has shape \(5, 4\), expected \(5, 3\), the outputs' shape"),
    "rows": (np.ones((4, 3)), r"has shape \(4, 3\), expected \(5, 3\)"),
    "a single row": (np.ones(3), r"has shape \(3,\), expected \(5, 3\)"),
    "NaN": (np.full((5, 3), np.nan), r"holds nan at \[0, 0\], expected finite numbers"),
    "too large": (np.full((5, 3), 1e300), r"holds 1e\+300 at \[0, 0\], too large for float32"),
    "text": ([["a"] * 3] * 5, "has dtype <U1, expected real numbers"),
    "sparse": (scipy.sparse.csr_matrix(np.ones((5, 3))), "is sparse, expected a dense array"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_output_gradient_is_told(name: str) -> None:
    given, told = BAD[name]
    net = network((4, 3, 3), dtype="float32")
    with pytest.raises(ValueError, match=f"^output_gradient {told}"):
        net.vjp(np.ones((5, 4)), given)
    with pytest.raises(ValueError, match=r"^x has 2 columns, expected 4"):
        net.vjp(np.ones((5, 2)), np.ones((5, 3)))
