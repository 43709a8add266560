"""tf32, bfloat16 and float16: rounding, matmuls, gradients against float64, loss scaling, accuracy."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp.backends import Backend, Rows
from gpubp.kernels import ACTIVATIONS, PRECISIONS
from gpubp.kernels.scaling import FIRST, LARGEST, STEPS, fresh_loss_scale
from gpubp.kernels.typing import Array

NAMES = tuple(PRECISIONS)
HALVES = ("bfloat16", "float16")


def nearest(values: Array, digits: int) -> Array:
    """Rounded to so many binary digits, ties to even, by way of float64."""
    fraction, exponent = np.frexp(values.astype(np.float64))
    return np.ldexp(np.rint(np.ldexp(fraction, digits)), exponent - digits).astype(np.float32)


def on_backend(backend: Backend, values: Array, name: str) -> Array:
    """`values` as operands of matmuls in this precision."""
    operands = backend.operands(values.shape, PRECISIONS[name])
    backend.convert(backend.asarray(values), operands)
    backend.round(operands, PRECISIONS[name])
    return operands


def back(backend: Backend, operands: Array) -> Array:
    wide = backend.xp.empty(operands.shape, np.float32)
    backend.convert(operands, wide)
    return backend.to_numpy(wide)


# Numbers


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1,), (7, 3), (4096,), (100, 700)])
def test_operands_hold_the_nearest_numbers(
    backend: Backend, name: str, shape: tuple[int, ...]
) -> None:
    if name == "tf32" and backend.name == "cupy":
        pytest.skip("tensor cores round to tf32 where they multiply")
    rng = np.random.default_rng(0)
    values = (rng.normal(size=shape) * 2.0 ** rng.integers(-16, 13, shape)).astype(np.float32)
    expected = nearest(values, PRECISIONS[name].digits)
    if name == "float16":  # below 2^-14 it keeps no more digits, but places
        subnormal = np.abs(values) < 2.0**-14
        expected[subnormal] = np.rint(values[subnormal] * 2.0**24) / 2.0**24
    np.testing.assert_array_equal(back(backend, on_backend(backend, values, name)), expected)


@pytest.mark.parametrize("name", NAMES)
def test_ties_go_to_even_and_what_is_no_number_stays(backend: Backend, name: str) -> None:
    if name == "tf32" and backend.name == "cupy":
        pytest.skip("tensor cores round to tf32 where they multiply")
    last = 2.0 ** (1 - PRECISIONS[name].digits)
    values = [1 + last / 2, 1 + 3 * last / 2, -1 - last / 2, 0.0, -0.0, np.inf, -np.inf]
    expected = [1, 1 + 2 * last, -1, 0.0, -0.0, np.inf, -np.inf]
    result = back(backend, on_backend(backend, np.array(values, np.float32), name))
    np.testing.assert_array_equal(result, expected)
    assert math.copysign(1, result[4]) == -1
    every_digit = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0x7FC00000], np.uint32)
    nans = back(backend, on_backend(backend, every_digit.view(np.float32), name))
    assert np.isnan(nans).all()


def test_float16_overflows_to_infinity(backend: Backend) -> None:
    values = np.array([65504, 65519, 65520, -70000], np.float32)
    result = back(backend, on_backend(backend, values, "float16"))
    np.testing.assert_array_equal(result, [65504, 65504, np.inf, -np.inf])


# Verbs


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("transposes", [(False, False), (True, False), (False, True)])
def test_a_matmul_multiplies_rounded_numbers_and_adds_in_float32(
    backend: Backend, name: str, transposes: tuple[bool, bool]
) -> None:
    rng, (transpose_a, transpose_b) = np.random.default_rng(1), transposes
    a, b = (rng.normal(size=s).astype(np.float32) for s in ((6, 40), (40, 9)))
    start = rng.normal(size=(6, 9)).astype(np.float32)
    a_given, b_given = on_backend(backend, a.T if transpose_a else a, name), None
    b_given = on_backend(backend, b.T if transpose_b else b, name)
    out = backend.asarray(start.copy())
    options = {"transpose_a": transpose_a, "transpose_b": transpose_b, "alpha": 0.5, "beta": 2.0}
    backend.matmul(a_given, b_given, out, **options, precision=PRECISIONS[name])
    digits = PRECISIONS[name].digits
    exact = nearest(a, digits).astype(np.float64) @ nearest(b, digits)
    error = np.abs(backend.to_numpy(out) - (0.5 * exact + 2 * start))
    # Tensor cores may cut tf32 off, which the stand-in for cuBLAS does.
    unit = 2.0 ** (1 - digits) if name == "tf32" and "cupy" in backend.name else 2.0**-23
    assert (error <= 4 * unit * (np.abs(a) @ np.abs(b) + np.abs(start))).all()


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("columns", [5, 16])
def test_verbs_store_operands_rounded(
    backend: Backend, name: str, activation: str, columns: int
) -> None:
    rng, precision = np.random.default_rng(2), PRECISIONS[name]
    z, biases, product = (
        rng.normal(size=s).astype(np.float32) for s in ((6, columns), columns, (6, columns))
    )
    entry = ACTIVATIONS[activation]

    def run(rounded: bool) -> list[Array]:
        def empty() -> Array:
            if rounded:
                return backend.operands((6, columns), precision)
            return backend.xp.empty((6, columns), np.float32)

        z_given, a, delta, x, dropped = backend.asarray(z.copy()), *(empty() for _ in range(4))
        counters, sums = backend.xp.zeros(2, np.int64), backend.xp.zeros(columns, np.float32)
        calls = [
            (a, lambda: backend.bias_activate(entry, z_given, backend.asarray(biases), a)),
            (
                delta,
                lambda: backend.multiply_by_derivative(
                    entry, a if entry.reads == "a" else z_given, backend.asarray(product), delta
                ),
            ),
            (x, lambda: backend.gather(Rows(backend.asarray(z)), "x", counters, 0, x)),
            (dropped, lambda: backend.dropout(a, dropped, counters, 3, 1, 0, 0.25)),
        ]
        for array, call in calls:
            call()
            if rounded:
                backend.round(array, precision)
        backend.column_sums(delta, sums)
        return [back(backend, array) for array, _ in calls] + [backend.to_numpy(sums)]

    *results, sums = run(rounded=True)
    *wide, wide_sums = run(rounded=False)
    unit = precision.unit_roundoff
    for result, plain in zip(results, wide, strict=True):
        np.testing.assert_allclose(result, plain, rtol=6 * unit, atol=6 * unit)
        np.testing.assert_array_equal(result, nearest(result, precision.digits))
    np.testing.assert_allclose(sums, wide_sums, atol=36 * unit)


# Networks


def problem(
    sizes: tuple[int, ...], rows: int, seed: int = 0, dtype: str = "float32"
) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, sizes[0])).astype(dtype), rng.integers(0, sizes[-1], rows)


def relative_error(found: Array, expected: Array) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hidden", ["tanh", "gelu", "relu"])
@pytest.mark.parametrize("sizes", [(20, 30, 4), (50, 64, 64, 64, 5)])
def test_gradients_are_within_the_rounding_of_the_reference(
    backend: Backend, name: str, hidden: str, sizes: tuple[int, ...]
) -> None:
    """The bounds of docs/guide.md for L layers: 2 L u for smooth activations; relu, whose derivative jumps
    where z changes its sign, L √u."""
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
        unit *= 2  # cut off
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
    # In float16, 1 / 5000 has lost digits already.
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
    own = gpubp.Activation.from_functions(
        "own_tanh", lambda xp, z: xp.tanh(z), lambda xp, z: 1 - xp.tanh(z) ** 2
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
    assert relative_error(gradient(own), gradient("tanh")) < 6 * unit


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
    network.layers[0].weights[...] *= 2  # a step begins with the weights as they are
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


# Loss scaling


def float16_trainer(backend: Backend, optimizer: Any = "adam", **options: Any) -> gpubp.Trainer:
    network = gpubp.Network(
        (6, 8, 3), hidden="tanh", output="softmax", seed=0, backend=backend, precision="float16"
    )
    return gpubp.Trainer(network, optimizer, batch_size=16, seed=0, **options)


def set_loss_scale(trainer: gpubp.Trainer, scale: float, since: float = 0) -> None:
    trainer._loss_scale[...] = trainer.backend.asarray(np.array([scale, 1 / scale, since]))


def test_the_loss_scale_halves_and_doubles_by_the_rule(backend: Backend) -> None:
    def adapted(state: list[float], norm: float) -> list[float]:
        loss_scale = backend.asarray(np.array(state))
        backend.adapt_loss_scale(loss_scale, backend.asarray(np.array([norm])))
        return list(backend.to_numpy(loss_scale))

    assert adapted([8.0, 0.125, 5], 1.0) == [8.0, 0.125, 6]
    assert adapted([8.0, 0.125, 5], math.inf) == [4.0, 0.25, 0]
    assert adapted([8.0, 0.125, 5], math.nan) == [4.0, 0.25, 0]
    assert adapted([8.0, 0.125, STEPS - 1], 1.0) == [16.0, 0.0625, 0]
    assert adapted([LARGEST, 1 / LARGEST, STEPS - 1], 1.0) == [LARGEST, 1 / LARGEST, 0]
    assert list(fresh_loss_scale()) == [FIRST, 1 / FIRST, 0]


OPTIMIZERS = [
    gpubp.SGD(learning_rate=0.1),
    gpubp.SGD(learning_rate=0.1, momentum=0.9),
    gpubp.SGD(learning_rate=0.1, momentum=0.9, nesterov=True),
    gpubp.Adam(learning_rate=0.01, clip_norm=0.1),
    gpubp.AdamW(learning_rate=0.01, weight_decay=0.1),
    gpubp.Lion(learning_rate=0.001),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_the_scale_does_not_change_the_result(backend: Backend, optimizer: gpubp.Optimizer) -> None:
    x, y = problem((6, 8, 3), 48)
    results = []
    for scale in (2.0**4, 2.0**10):
        trainer = float16_trainer(backend, optimizer)
        set_loss_scale(trainer, scale)
        trainer.fit(x, y, epochs=2)
        assert trainer.loss_scale == scale
        results.append(backend.to_numpy(trainer.network.parameters))
    np.testing.assert_allclose(results[0], results[1], atol=4e-3)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_a_gradient_that_overflows_changes_nothing_but_the_scale(
    backend: Backend, optimizer: gpubp.Optimizer
) -> None:
    x, y = problem((6, 8, 3), 16)
    trainer = float16_trainer(backend, optimizer)
    trainer.step(x, y)
    before = [
        backend.to_numpy(array).copy() for array in (trainer.network.parameters, *trainer._state)
    ]
    set_loss_scale(trainer, 2.0**24)
    trainer.step(x, y)
    assert trainer.loss_scale == 2.0**23
    assert math.isfinite(trainer.step_cost)
    after = [backend.to_numpy(array) for array in (trainer.network.parameters, *trainer._state)]
    for array, earlier in zip(after, before, strict=True):
        np.testing.assert_array_equal(array, earlier)


def test_a_scale_too_large_finds_its_way_down_and_training_goes_on(backend: Backend) -> None:
    x, y = problem((6, 8, 3), 64)
    trainer = float16_trainer(backend)
    set_loss_scale(trainer, 2.0**24)
    history = trainer.fit(x, y, epochs=12)
    assert trainer.loss_scale < 2.0**24
    assert history.cost[-1] < history.cost[0]


def test_gradients_that_are_never_finite_end_training(backend: Backend) -> None:
    broken = gpubp.Cost.from_functions(
        "broken", lambda xp, a, y: (a - y) ** 2, lambda xp, a, y: (a - y) * np.float32("nan")
    )
    network = gpubp.Network((4, 5, 2), cost=broken, seed=0, backend=backend, precision="float16")
    before = backend.to_numpy(network.parameters).copy()
    x = np.ones((64, 4), np.float32)
    with pytest.raises(
        gpubp.DivergenceError, match="the gradients stopped being finite in epoch 1"
    ):
        gpubp.Trainer(network, batch_size=1).fit(x, x[:, :2], epochs=1)
    np.testing.assert_array_equal(backend.to_numpy(network.parameters), before)


def test_a_copied_trainer_has_the_loss_scale(backend: Backend) -> None:
    x, y = problem((6, 8, 3), 32)
    trainer = float16_trainer(backend)
    set_loss_scale(trainer, 2.0**9, since=7)
    copied = copy.deepcopy(trainer)
    assert copied.loss_scale == 2.0**9
    for each in (trainer, copied):
        each.fit(x, y, epochs=1)
    np.testing.assert_array_equal(
        backend.to_numpy(copied.network.parameters), backend.to_numpy(trainer.network.parameters)
    )


def test_only_float16_is_scaled(backend: Backend) -> None:
    for name in (None, "tf32", "bfloat16"):
        network = gpubp.Network((4, 5, 2), seed=0, backend=backend, precision=name)
        assert gpubp.Trainer(network).loss_scale == 1


def test_the_scale_does_not_vanish_however_many_gradients_overflow(backend: Backend) -> None:
    loss_scale = backend.asarray(fresh_loss_scale(2.0**-60))
    for _ in range(9):
        backend.adapt_loss_scale(loss_scale, backend.asarray(np.array([np.inf])))
    assert list(backend.to_numpy(loss_scale)) == [2.0**-64, 2.0**64, 0]


def test_backprop_finds_a_scale_that_fits(backend: Backend) -> None:
    x, _ = problem((4, 5, 2), 3)
    y = np.full((3, 2), 1e5)
    options: Any = {"hidden": "tanh", "seed": 0, "backend": backend}
    result = gpubp.Network((4, 5, 2), precision="float16", **options).backprop(x, y)
    reference = gpubp.Network((4, 5, 2), dtype="float64", **options).backprop(x, y)
    gradient, expected = (backend.to_numpy(r.gradient) for r in (result, reference))
    assert relative_error(gradient, expected) < 8 * PRECISIONS["float16"].unit_roundoff
    assert result.cost == pytest.approx(reference.cost, rel=1e-3)


def test_inputs_that_float16_has_no_room_for_are_refused(backend: Backend) -> None:
    network = gpubp.Network((2, 2), backend=backend, precision="float16")
    message = r"x holds 70000\.0, too large for float16, the network's precision"
    for call in (network.predict, lambda x: gpubp.Trainer(network).fit(x, x, epochs=1)):
        with pytest.raises(ValueError, match=message):
            call(np.array([[7e4, 1.0]]))


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
