"""The numbers of a trace: by hand, by finite differences, and those of backprop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from traced_networks import check_equations, fourth_power, row_for, small, softsign

import gpubp
from gpubp import SGD, Network, Trace, Trainer, get_activation, get_cost
from gpubp.backends import Backend
from gpubp.kernels import ACTIVATIONS, COSTS, PRECISIONS

L = math.log(3)
NEAR = {"rtol": 1e-14, "atol": 1e-15}


def example_on(backend: Backend) -> tuple[Network, Any, Any]:
    made, x, y = gpubp.worked_example()
    network = Network(
        (3, 4, 2), hidden="sigmoid", output="sigmoid", cost="quadratic", dtype="float64",
        backend=backend,
    )  # fmt: skip
    network.parameters = made.parameters
    return network, x, y


def test_the_worked_example_has_the_numbers_computed_by_hand(backend: Backend) -> None:
    network, x, y = example_on(backend)
    trace = network.trace(x, y, learning_rate=0.5)
    by_hand = {
        "x": [1, 2, -1],
        "y": [1, 0],
        "w1": [[1, 0, 1], [L, 0, 0], [0, -L, -L], [1, -1, 0]],
        "b1": [0, 0, 0, 1],
        "z1": [0, L, -L, 0],
        "a1": [1 / 2, 3 / 4, 1 / 4, 1 / 2],
        "w2": [[1, -1, 1, 0], [-2, 1, -1, 1]],
        "b2": [L, 0],
        "z2": [L, 0],
        "a2": [3 / 4, 1 / 2],
        "cost": 5 / 32,
        "cost_derivative": [-1 / 4, 1 / 2],
        "slope2": [3 / 16, 1 / 4],
        "delta2": [-3 / 64, 1 / 8],
        "weight_gradient2": [
            [-3 / 128, -9 / 256, -3 / 256, -3 / 128],
            [1 / 16, 3 / 32, 1 / 32, 1 / 16],
        ],
        "bias_gradient2": [-3 / 64, 1 / 8],
        "propagated1": [-19 / 64, 11 / 64, -11 / 64, 1 / 8],
        "slope1": [1 / 4, 3 / 16, 3 / 16, 1 / 4],
        "delta1": [-19 / 256, 33 / 1024, -33 / 1024, 1 / 32],
        "weight_gradient1": [
            [-19 / 256, -19 / 128, 19 / 256],
            [33 / 1024, 33 / 512, -33 / 1024],
            [-33 / 1024, -33 / 512, 33 / 1024],
            [1 / 32, 1 / 16, -1 / 32],
        ],
        "bias_gradient1": [-19 / 256, 33 / 1024, -33 / 1024, 1 / 32],
        "input_gradient": [
            33 * L / 1024 - 11 / 256,
            33 * L / 1024 - 1 / 32,
            33 * L / 1024 - 19 / 256,
        ],
        "new_w2": [
            [1 + 3 / 256, -1 + 9 / 512, 1 + 3 / 512, 3 / 256],
            [-2 - 1 / 32, 1 - 3 / 64, -1 - 1 / 64, 1 - 1 / 32],
        ],
        "new_b2": [L + 3 / 128, -1 / 16],
        "new_b1": [19 / 512, -33 / 2048, 33 / 2048, 1 - 1 / 64],
        "new_w1": [
            [1 + 19 / 512, 19 / 256, 1 - 19 / 512],
            [L - 33 / 2048, -33 / 1024, 33 / 2048],
            [33 / 2048, -L + 33 / 1024, -L - 33 / 2048],
            [1 - 1 / 64, -1 - 1 / 32, 1 / 64],
        ],
    }
    for name, expected in by_hand.items():
        np.testing.assert_allclose(trace.values[name], expected, **NEAR, err_msg=name)
    (terms,) = (step.terms for step in trace.steps if step.operation == "cost")
    assert [name for name, _ in terms] == ["a₁", "a₂"]
    np.testing.assert_allclose([value for _, value in terms], [1 / 32, 1 / 8], **NEAR)
    assert set(by_hand) | {"new_cost"} == set(trace.values)


def test_the_cost_after_the_step_is_that_of_the_new_weights() -> None:
    network, x, y = gpubp.worked_example()
    before = network.parameters.copy()
    found = network.trace(x, y, learning_rate=0.5).values
    a = x
    for k in (1, 2):
        a = 1 / (1 + np.exp(-(found[f"new_w{k}"] @ a + found[f"new_b{k}"])))
    assert found["new_cost"] == pytest.approx(0.5 * np.sum((y - a) ** 2), rel=1e-14)
    assert found["new_cost"] < found["cost"]
    np.testing.assert_array_equal(network.parameters, before)


def assert_has_the_numbers_of_backprop(trace: Trace, network: Network, x: Any, y: Any) -> None:
    found, to_numpy = network.backprop(x, y), network.backend.to_numpy
    values = trace.values
    assert values["cost"] == pytest.approx(found.cost, rel=1e-6, nan_ok=True)
    near = {"rtol": 1e-5 if network.dtype == np.float32 else 1e-12, "atol": 1e-30}
    np.testing.assert_allclose(values["input_gradient"], found.input_gradient[0], **near)
    for k in range(len(network.layers)):
        for name, expected in (
            ("z", found.z[k][0]), ("a", found.a[k + 1][0]), ("delta", found.deltas[k][0]),
            ("weight_gradient", to_numpy(found.weight_gradients[k])),
            ("bias_gradient", to_numpy(found.bias_gradients[k])),
        ):  # fmt: skip
            assert values[f"{name}{k + 1}"].dtype == network.dtype
            np.testing.assert_allclose(values[f"{name}{k + 1}"], expected, **near)


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_and_cost(name: str, cost: str) -> None:
    sizes = (3, 4, 5, 2)
    hidden = "tanh" if name == "softmax" else name
    # Costs of logarithms are defined for outputs above 0, one of them for outputs below 1.
    output = name if COSTS[cost].domain[0] < 0 or name == "softmax" else "sigmoid"
    network = small(sizes, hidden=hidden, output=output, cost=cost, biases=[True, False, True])
    network.parameters *= 0.4  # for exponentials of exponentials
    x, y = row_for(network)
    trace = network.trace(x, y, learning_rate=0.1)
    check_equations(trace)
    check_derivatives(network, trace)
    check_by_finite_differences(network, trace, x, y)


def check_derivatives(network: Network, trace: Trace) -> None:
    """σ′ and ∂C/∂a against differences of σ and C; the error against backprop in the layers above."""
    head, depth, values, h = network.output_head, len(network.layers), trace.values, 1e-6
    for k, layer in enumerate(network.layers, 1):
        slope, sigma = values[f"slope{k}"], layer.activation
        if slope is not None:
            high, low, s = (np.empty_like(slope) for _ in range(3))
            for sign, out in ((1, high), (-1, low)):
                assert sigma.numpy is not None
                sigma.numpy(values[f"z{k}"] + sign * h, out, (s, s.copy()), **sigma.parameters)
            np.testing.assert_allclose(slope, (high - low) / (2 * h), rtol=1e-6, atol=1e-8)
    assert (values["cost_derivative"] is None) == head.is_canonical
    assert (values[f"slope{depth}"] is None) == (head.is_canonical or head.goes_by_rows)
    for k in range(1, depth):
        above = Network(
            network.sizes[k:], hidden=[layer.activation for layer in network.layers[k:-1]] or "relu",
            output="softmax" if head.goes_by_rows else head.activation, cost=head.cost,
            biases=[layer.biases is not None for layer in network.layers[k:]],
            dtype="float64", backend="numpy",
        )  # fmt: skip
        for mine, theirs in zip(above.layers, network.layers[k:], strict=True):
            mine.weights, mine.biases = theirs.weights, theirs.biases
        expected = above.backprop(values[f"a{k}"], values["y"]).input_gradient
        np.testing.assert_allclose(values[f"propagated{k}"], expected[0], rtol=1e-10, atol=1e-14)


def check_by_finite_differences(network: Network, trace: Trace, x: Any, y: Any) -> None:
    h = 1e-6
    for k, layer in enumerate(network.layers, 1):
        gradient = trace.values[f"weight_gradient{k}"]
        for place in ((0, 0), (1, 2)):
            costs = []
            for step in (h, -2 * h):
                layer.weights[place] += step
                costs.append(network.cost(x, y))
            layer.weights[place] += h
            difference = (costs[0] - costs[1]) / (2 * h)
            assert gradient[place] == pytest.approx(difference, rel=2e-5, abs=2e-7)


@pytest.mark.filterwarnings("ignore:cost .* is defined for outputs")
@pytest.mark.parametrize(
    ("options", "operation", "derivative"),
    [
        ({"output": "softmax"}, "output_delta_fused", False),
        ({"output": "softmax", "cost": "quadratic"}, "output_delta_softmax", True),
        ({"output": "sigmoid"}, "output_delta_fused", False),
        ({"output": "sigmoid", "cost": "quadratic"}, "output_delta", True),
        ({"output": "identity"}, "output_delta_fused", False),
        ({"output": "exponential"}, "output_delta_fused", False),
        ({"output": "tanh", "cost": "binary_cross_entropy"}, "output_delta", True),
        ({"hidden": softsign(), "output": softsign(), "cost": fourth_power()}, "output_delta", True),
        ({"output": get_activation("leaky_relu", slope=0.2)}, "output_delta", True),
        ({"output": "softmax", "cost": get_cost("cross_entropy", label_smoothing=0.1)},
         "output_delta_fused", False),
        ({"hidden": "relu", "output": "softmax", "biases": False}, "output_delta_fused", False),
        ({"dropout": 0.5}, "output_delta_fused", False),
        ({"sizes": (3, 1), "hidden": "relu"}, "output_delta_fused", False),
        ({"sizes": (1, 1), "output": "sigmoid", "cost": "huber"}, "output_delta", True),
        ({"sizes": (3, 4, 5, 6, 4, 3, 4, 3, 2, 3, 4, 2)}, "output_delta_fused", False),
    ],
)  # fmt: skip
def test_networks_of_every_kind(
    options: dict[str, Any], operation: str, derivative: bool, backend: Backend
) -> None:
    options = {"sizes": (3, 4, 2), **options}
    network = small(**options, backend=backend)
    x, y = row_for(network)
    trace = network.trace(x, y, learning_rate=0.01)
    check_equations(trace)
    layers, operations = range(len(network.layers)), [step.operation for step in trace.steps]
    assert operation in operations
    assert ("cost_derivative" in operations) == derivative
    assert operations.count("bias_gradient") == sum(
        layer.biases is not None for layer in network.layers
    )
    if all(network.layers[k].biases is not None for k in layers):
        assert_has_the_numbers_of_backprop(trace, network, x, y)
    assert str(trace)


def test_a_label_is_its_row() -> None:
    network = small((3, 4, 5), output="softmax")
    x = np.array([0.5, -1, 2])
    by_label, by_row = network.trace(x[None], 3), network.trace(x, np.eye(5)[3])
    assert by_label.to_dict() == by_row.to_dict() == network.trace(x, [3]).to_dict()
    assert by_label.values["y"].tolist() == [0, 0, 0, 1, 0]
    smoothed = small(
        (3, 4, 5), output="softmax", cost=get_cost("cross_entropy", label_smoothing=0.5)
    )
    trace = smoothed.trace(x, 3)
    np.testing.assert_allclose(trace.values["y"], [0.1, 0.1, 0.1, 0.6, 0.1])
    assert trace.notes == ("y is the smoothed target: label_smoothing is 0.5.",)


def test_the_terms_of_cross_entropy_keep_digits_that_a_has_lost() -> None:
    network = small((1, 2), output="softmax", initializer="zeros")
    network.layers[0].weights = [[0.0], [500.0]]
    network.layers[0].biases = [0, 0]
    trace = network.trace([2.0], 0)
    (cost,) = (step for step in trace.steps if step.operation == "cost")
    assert dict(cost.terms) == {"a₁": pytest.approx(1000), "a₂": 0}
    assert trace.values["cost"] == pytest.approx(1000)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output", ["identity", "softmax"])
def test_the_step_is_one_of_gradient_descent(dtype: str, output: str, backend: Backend) -> None:
    network = small(output=output, dtype=dtype, backend=backend, biases=[True, False])
    x, y = row_for(network)
    trace = network.trace(x, y, learning_rate=0.25)
    Trainer(network, SGD(learning_rate=0.25, momentum=0.0), batch_size=1).step(x[None], y[None])
    near = {
        "rtol": 2e-6 if dtype == "float32" else 1e-14,
        "atol": 1e-7 if dtype == "float32" else 1e-16,
    }
    for k, layer in enumerate(network.layers, 1):
        weights = network.backend.to_numpy(layer.weights)
        np.testing.assert_allclose(trace.values[f"new_w{k}"], weights, **near)
    np.testing.assert_allclose(
        trace.values["new_b1"], network.backend.to_numpy(network.layers[0].biases), **near
    )
    assert trace.values["new_b2"] is trace.values["b2"] is trace.values["bias_gradient2"] is None
    assert trace.values["new_cost"] == pytest.approx(network.cost(x, y), rel=1e-6)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_rounded_networks_show_what_they_multiply(precision: str, backend: Backend) -> None:
    network = small(
        (3, 6, 4), output="softmax", dtype="float32", precision=precision, backend=backend
    )
    x, y = row_for(network)
    trace = network.trace(x, y, learning_rate=0.1)
    assert_has_the_numbers_of_backprop(trace, network, x, y)
    own = network.backend.to_numpy(network.layers[0].weights)
    (note,) = trace.notes
    assert note.startswith(f"The operands of products are rounded to {precision}: ")
    if precision == "tf32" and backend.name != "numpy":
        assert note.endswith("are those before the rounding.")
        np.testing.assert_array_equal(trace.values["w1"], own)
        return
    assert "shown are the rounded ones. A step changes the weights before" in note
    assert not np.array_equal(trace.values["w1"], own)
    for k in (1, 2):  # products of what is shown, to the rounding of float32
        a = trace.values["x" if k == 1 else "a1"]
        z = trace.values[f"w{k}"].astype(float) @ a.astype(float) + trace.values[f"b{k}"]
        np.testing.assert_allclose(trace.values[f"z{k}"], z, rtol=1e-5, atol=1e-6)
    step = own - np.float32(0.1) * trace.values["weight_gradient1"]
    np.testing.assert_allclose(trace.values["new_w1"], step, rtol=1e-6, atol=1e-7)


def test_dropout_takes_no_part() -> None:
    dropped, plain = small(dropout=0.5), small()
    x, y = row_for(plain)
    assert dropped.trace(x, y).to_dict()["values"] == plain.trace(x, y).to_dict()["values"]
    assert dropped.trace(x, y).notes == (
        "Dropout takes no part, as in predictions: no activation is dropped.",
    )
    assert plain.trace(x, y).notes == ()


def test_x_may_be_on_a_device_or_sparse(backend: Backend) -> None:
    from scipy.sparse import csr_matrix

    network = small(backend=backend)
    x, y = row_for(network)
    expected = network.trace(x, y).to_dict()
    assert (
        network.trace(network.backend.asarray(x), network.backend.asarray(y)).to_dict() == expected
    )
    assert network.trace(csr_matrix(x[None]), y).to_dict() == expected
    assert network.trace(x.tolist(), y.tolist()).to_dict() == expected


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e308])
def test_networks_that_have_diverged_are_shown_too(value: float) -> None:
    network = small(hidden="relu", output="softmax")
    network.parameters[...] = value
    trace = network.trace([1.0, 2.0, 3.0], 1, learning_rate=1.0)
    told = trace.to_dict()["values"]
    assert told["z1"][0] in ("nan", "inf") and isinstance(told["cost"], float | str)
    assert trace.prediction is None
    assert told["z1"][0] in str(trace)
