"""Arrays of JAX and PyTorch as inputs: read without a copy, or refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp.arrays import as_array

jax = pytest.importorskip("jax", reason="jax is not installed")
jnp = jax.numpy

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 6)).astype(np.float32), RNG.integers(3, size=60)
G = RNG.normal(size=(60, 3)).astype(np.float32)
WEIGHTS = np.linspace(0.5, 2, 60).astype(np.float32)


def network(**options: Any) -> gpubp.Network:
    return gpubp.Network((6, 8, 3), output="softmax", backend="numpy", seed=0, **options)


def test_an_array_on_the_cpu_is_not_copied() -> None:
    array = jnp.asarray(X)
    assert as_array("x", array).ctypes.data == array.unsafe_buffer_pointer()


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "uint8", "int32", "bool"])
def test_networks_take_them_like_numpys_arrays(dtype: str) -> None:
    net, x = network(), (3 * X).astype(dtype)
    theirs = jnp.asarray(x)
    assert theirs.dtype == dtype
    assert type(net.predict(theirs)) is np.ndarray
    np.testing.assert_array_equal(net.predict(theirs), net.predict(x))
    np.testing.assert_array_equal(net.forward(theirs).a[1], net.forward(x).a[1])
    for target in (Y, G * 0 + np.float32(1 / 3)):
        found = net.backprop(theirs, jnp.asarray(target), jnp.asarray(WEIGHTS))
        expected = net.backprop(x, target, WEIGHTS)
        assert found.cost == expected.cost
        np.testing.assert_array_equal(found.gradient, expected.gradient)
    found_vjp = net.vjp(theirs, jnp.asarray(G))
    np.testing.assert_array_equal(found_vjp.input_gradient, net.vjp(x, G).input_gradient)


def test_float64_and_int64_where_jax_has_them() -> None:
    net, x = network(dtype="float64"), X.astype(np.float64)
    with jax.enable_x64(True):
        theirs, labels = jnp.asarray(x), jnp.asarray(Y)
        assert theirs.dtype == np.float64
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(net.predict(theirs), net.predict(x))
        assert net.cost(theirs, labels) == net.cost(x, Y)


def test_a_trainer_takes_them_like_numpys_arrays() -> None:
    found = []
    for convert in (np.asarray, jnp.asarray):
        net = network()
        trainer = gpubp.Trainer(net, gpubp.Adam(learning_rate=0.01), batch_size=16, seed=0)
        x, y, weights = (convert(values) for values in (X, Y, WEIGHTS))
        history = trainer.fit(x, y, epochs=3, sample_weight=weights, validation_data=(x, y))
        found.append((history.cost, history.validation_cost, net.parameters))
    assert found[0][:2] == found[1][:2]
    np.testing.assert_array_equal(found[0][2], found[1][2])


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_estimators_take_them_like_numpys_arrays() -> None:
    pytest.importorskip("sklearn", minversion="1.7")
    for kind, y in ((gpubp.MLPClassifier, Y), (gpubp.MLPRegressor, G)):
        made = kind(hidden_layer_sizes=(5,), random_state=0, max_iter=3, backend="numpy")
        expected = made.fit(X, y, WEIGHTS).predict(X)
        score = made.score(X, y)
        made.fit(*map(jnp.asarray, (X, y, WEIGHTS)))
        predicted = made.predict(jnp.asarray(X))
        assert type(predicted) is np.ndarray
        np.testing.assert_array_equal(predicted, expected)
        assert made.score(jnp.asarray(X), jnp.asarray(y)) == pytest.approx(score)


def test_gpubp_within_jit_is_called_by_pure_callback() -> None:
    net = network()
    shape = jax.ShapeDtypeStruct((60, 3), np.float32)
    found = jax.jit(lambda x: jax.pure_callback(net.predict, shape, x))(X)
    np.testing.assert_array_equal(found, net.predict(X))


def refused(name: str, values: Any) -> str:
    """Return the message of everything that takes x, after a check that all say the same."""
    net = network()
    trainer = gpubp.Trainer(net, "sgd")
    calls: list[Callable[[], object]] = [
        lambda: net.predict(values),
        lambda: net.forward(values),
        lambda: net.backprop(values, Y),
        lambda: net.vjp(values, G),
        lambda: trainer.fit(values, Y, epochs=1),
    ]
    messages = set()
    for call in calls:
        with pytest.raises(ValueError) as caught:
            call()
        messages.add(str(caught.value))
    with pytest.raises(ValueError) as caught:
        net.backprop(X, values)
    assert str(caught.value).startswith("y ")
    (message,) = messages
    return message


@pytest.mark.parametrize("name", ["bfloat16", "float8_e5m2"])
def test_jaxs_narrow_numbers_are_refused(name: str) -> None:
    told = refused("x", jnp.asarray(X).astype(name))
    assert told == f"x has dtype {name}, expected real numbers, as x.astype('float32') gives"
    network().predict(jnp.asarray(X).astype(name).astype("float32"))


@pytest.mark.parametrize("transformed", [jax.jit, jax.vmap, jax.grad], ids=lambda f: f.__name__)
def test_tracers_are_refused(transformed: Any) -> None:
    net, told = network(), []

    def function(x: Any) -> Any:
        try:
            net.predict(x)
        except ValueError as error:
            told.append(str(error))
        return jnp.sum(x)

    transformed(function)(X)
    assert told == [
        "x is a JAX tracer, expected an array with numbers, as there is outside of jax.jit and"
        " jax.grad, and within jax.pure_callback"
    ]


def test_jaxs_sparse_and_complex_arrays_are_refused() -> None:
    from jax.experimental import sparse

    with pytest.raises(ValueError, match=r"^x is sparse, expected a dense array, as x.todense\(\)"):
        network().predict(sparse.BCOO.fromdense(jnp.asarray(X)))
    assert refused("x", jnp.asarray(X) * 1j) == "x has dtype complex64, expected real numbers"


def test_tensors_that_cannot_be_read_are_refused() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensor = torch.from_numpy(X)
    for values, told in (
        (
            tensor.clone().requires_grad_(),
            "x is a tensor that requires gradients, expected one without, as x.detach() gives",
        ),
        (
            tensor.bfloat16(),
            "x is a tensor of dtype bfloat16, expected float16, float32 or float64, as x.float()"
            " gives",
        ),
        (
            tensor.to_sparse(),
            "x is a sparse tensor, expected a dense one, as x.to_dense() gives",
        ),
        (
            tensor.to("meta"),
            "x is a tensor on the device meta, expected one that holds numbers",
        ),
        (tensor * 1j, "x has dtype complex64, expected real numbers"),
        (
            torch.utils.data.TensorDataset(tensor),
            "x is a Dataset, expected an array, or batches, as a DataLoader of it gives",
        ),
    ):
        assert refused("x", values) == told


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_quantized_tensors_are_refused() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    quantized = torch.quantize_per_tensor(torch.from_numpy(X), 0.1, 0, torch.qint8)
    assert refused("x", quantized) == (
        "x is a quantized tensor, expected real numbers, as x.dequantize() gives"
    )
