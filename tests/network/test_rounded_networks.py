"""Networks with tf32, bfloat16 or float16 operands: gradients, training, files, accuracy."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
from random_networks import relative_error
from rounded import NAMES, problem

import gpubp
from gpubp.backends import Backend
from gpubp.kernels import PRECISIONS
from gpubp.kernels.typing import Array


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hidden", ["tanh", "gelu", "relu"])
@pytest.mark.parametrize("sizes", [(20, 30, 4), (50, 64, 64, 64, 5)])
def test_gradients_are_within_the_rounding_of_the_reference(
    backend: Backend, name: str, hidden: str, sizes: tuple[int, ...]
) -> None:
    """Check the bounds of docs/explanation/numbers.md for L layers: 2 L u if smooth, L √u for relu."""
    x, y = problem(sizes, 48)
    reference = gpubp.Network(
        sizes, hidden=hidden, output="softmax", dtype="float64", backend="numpy", seed=1
    ).backprop(x, y)
    network = gpubp.Network(
        sizes, hidden=hidden, output="softmax", precision=name, backend=backend, seed=1
    )
    result = network.backprop(x, y)
    unit = PRECISIONS[name].unit_roundoff
    if name == "tf32" and "cupy" in backend.name:
        unit *= 2  # tensor cores may truncate
    depth = len(sizes) - 1
    bound = depth * math.sqrt(unit) if hidden == "relu" else 2 * depth * unit
    gradient = backend.to_numpy(result.gradient)
    assert gradient.dtype == np.float32
    error = relative_error(gradient, reference.gradient)
    assert error <= bound
    assert error > unit / 8, "nothing was rounded"
    assert relative_error(result.input_gradient, reference.input_gradient) <= bound
    assert result.cost == pytest.approx(reference.cost, rel=8 * unit)
    for found, expected in zip(result.deltas, reference.deltas, strict=True):
        assert found.dtype == np.float32
        assert relative_error(found, expected) <= bound
    for found, expected in zip(result.a, reference.a, strict=True):
        assert relative_error(found, expected) <= bound


@pytest.mark.parametrize("name", NAMES)
def test_a_small_gradient_keeps_its_digits(backend: Backend, name: str) -> None:
    sizes = (8, 16, 3)
    x, y = problem(sizes, 5000)
    options: Any = {"hidden": "tanh", "output": "softmax", "seed": 0}
    reference = gpubp.Network(sizes, dtype="float64", backend="numpy", **options).backprop(x, y)
    network = gpubp.Network(sizes, precision=name, backend=backend, **options)
    gradient = backend.to_numpy(network.backprop(x, y).gradient)
    # In float16, 1 / 5000 has already lost digits.
    assert relative_error(gradient, reference.gradient) < 8 * PRECISIONS[name].unit_roundoff


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_backends_train_alike(cuda_backend: Backend, name: str, optimizer: str) -> None:
    x, y = problem((6, 12, 12, 3), 90)

    def train(backend: str | Backend) -> gpubp.Network:
        network = gpubp.Network(
            *((6, 12, 12, 3),), hidden="tanh", output="softmax", dropout=0.2, seed=0,
            backend=backend, precision=name,
        )  # fmt: skip
        chosen = gpubp.SGD(momentum=0.9) if optimizer == "sgd" else gpubp.Adam()
        trainer = gpubp.Trainer(network, chosen, batch_size=32, seed=0)
        trainer.fit(x, y, epochs=3, validation_data=(x, y))
        return network

    here, there = train("numpy"), train(cuda_backend)
    difference = cuda_backend.to_numpy(there.parameters) - here.parameters
    assert np.abs(difference).max() < 16 * PRECISIONS[name].unit_roundoff


@pytest.mark.parametrize("name", NAMES)
def test_custom_activations_are_rounded_too(backend: Backend, name: str) -> None:
    custom = gpubp.Activation.from_functions(
        "custom_tanh", lambda xp, z: xp.tanh(z), lambda xp, z: 1 - xp.tanh(z) ** 2
    )
    x, y = problem((5, 7, 7, 3), 20)

    def gradient(hidden: Any) -> Array:
        network = gpubp.Network(
            (5, 7, 7, 3),
            hidden=hidden,
            output="softmax",
            initializer="glorot_uniform",
            seed=0,
            backend=backend,
            precision=name,
        )
        return backend.to_numpy(network.backprop(x, y).gradient)

    unit = PRECISIONS[name].unit_roundoff
    assert relative_error(gradient(custom), gradient("tanh")) < 6 * unit


def test_rounding_is_kept_by_copies_and_shown(backend: Backend) -> None:
    x, _ = problem((5, 7, 3), 10)
    network = gpubp.Network((5, 7, 3), seed=0, backend=backend, precision="bfloat16")
    plain = gpubp.Network((5, 7, 3), seed=0, backend=backend)
    outputs = network.predict(x)
    assert np.abs(outputs - plain.predict(x)).max() > 0
    for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert copied.precision == "bfloat16"
        np.testing.assert_array_equal(copied.predict(x), outputs)
    assert "precision='bfloat16'" in repr(network)
    network.layers[0].weights[...] *= 2  # the next prediction rounds these weights
    np.testing.assert_array_equal(network.predict(x), network.forward(x).a[-1])


def test_a_file_holds_the_network_and_load_chooses_the_precision(
    backend: Backend, tmp_path: Any
) -> None:
    x, _ = problem((5, 7, 3), 10)
    network = gpubp.Network((5, 7, 3), seed=0, backend=backend, precision="bfloat16")
    network.save(tmp_path / "model.safetensors")
    plain = gpubp.Network.load(tmp_path / "model.safetensors", backend=backend)
    rounded = gpubp.Network.load(
        tmp_path / "model.safetensors", backend=backend, precision="bfloat16"
    )
    assert (plain.precision, rounded.precision) == (None, "bfloat16")
    gpubp.Network((2, 2), dtype="float64", backend=backend).save(tmp_path / "wide.safetensors")
    with pytest.raises(
        ValueError, match=r"^precision is 'tf32', expected None for dtype 'float64'$"
    ):
        gpubp.Network.load(tmp_path / "wide.safetensors", backend=backend, precision="tf32")
    np.testing.assert_array_equal(rounded.predict(x), network.predict(x))


def test_a_batch_in_parts_gives_the_same_gradient(backend: Backend) -> None:
    x, y = problem((6, 10, 3), 64)
    results = []
    for accumulate in (1, 4):
        network = gpubp.Network(
            (6, 10, 3), output="softmax", seed=0, backend=backend, precision="float16"
        )
        trainer = gpubp.Trainer(
            network, "sgd", batch_size=64 // accumulate, accumulate=accumulate, shuffle=False
        )
        trainer.fit(x, y, epochs=1)
        results.append(backend.to_numpy(network.parameters))
    np.testing.assert_allclose(results[0], results[1], atol=1e-5)


# Learning


@pytest.mark.parametrize("name", NAMES)
def test_accuracy_is_within_noise_of_float32(name: str) -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    digits_x, digits_y = datasets.load_digits(return_X_y=True)
    x, y = datasets.load_diabetes(return_X_y=True)
    x, y = (x - x.mean(0)) / x.std(0), ((y - y.mean()) / y.std())[:, None]

    def accuracy(precision: str | None, seed: int) -> float:
        network = gpubp.Network(
            *((64, 64, 10),), output="softmax", backend="numpy", seed=seed, precision=precision
        )
        trainer = gpubp.Trainer(network, gpubp.Adam(learning_rate=2e-3), batch_size=64, seed=seed)
        trainer.fit(digits_x[:1400] / 16, digits_y[:1400], epochs=12)
        return float((network.predict(digits_x[1400:] / 16).argmax(1) == digits_y[1400:]).mean())

    def r_squared(precision: str | None, seed: int) -> float:
        network = gpubp.Network(
            *((10, 32, 1),), hidden="tanh", backend="numpy", seed=seed, precision=precision
        )
        trainer = gpubp.Trainer(network, gpubp.Adam(learning_rate=2e-3), batch_size=32, seed=seed)
        trainer.fit(x[:340], y[:340], epochs=15)
        errors = network.predict(x[340:]) - y[340:]
        return 1 - float((errors**2).sum() / ((y[340:] - y[340:].mean()) ** 2).sum())

    for score in (accuracy, r_squared):
        plain = [score(None, seed) for seed in range(4)]
        rounded = [score(name, seed) for seed in range(4)]
        noise = max(np.std(plain), 0.005)
        assert abs(np.mean(rounded) - np.mean(plain)) < noise
        assert min(rounded) > 0.4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"precision": "float8"},
            "unknown precision 'float8'; did you mean 'float16'?",
        ),
        ({"precision": 16}, "unknown precision 16; known: bfloat16, float16, tf32"),
        (
            {"precision": "tf32", "dtype": "float64"},
            "precision is 'tf32', expected None for dtype 'float64'",
        ),
    ],
)
def test_what_is_no_precision_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        gpubp.Network((2, 2), **options)
    assert str(error.value) == message
