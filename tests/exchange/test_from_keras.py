"""Networks of Keras's models and weights, against Keras's own predictions."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp.exchange import from_keras

pytest.importorskip("jax", reason="jax, which Keras computes with here, is not installed")
os.environ["KERAS_BACKEND"] = "jax"  # before the import
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of packages that Keras imports
    keras = pytest.importorskip("keras", reason="keras is not installed")
L = keras.layers

pytestmark = pytest.mark.filterwarnings(  # of Keras's own variables, with NumPy 2
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

X = np.linspace(-3, 3, 48).reshape(12, 4).astype(np.float32)
NAMES = [
    "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu", "linear", "mish",
    "relu", "selu", "sigmoid", "silu", "softplus", "squareplus", "swish", "tanh",
]  # fmt: skip


def biased(model: Any) -> Any:
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.7, w.shape).astype(w.dtype) for w in model.get_weights()])
    return model


def check(model: Any, net: gpubp.Network) -> None:
    expected = np.asarray(model(X))
    np.testing.assert_allclose(net.predict(X), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_an_activation_is_kerass(name: str) -> None:
    layers = L.Dense(5, activation=name), L.Dense(3), L.Activation("sigmoid")
    model = biased(keras.Sequential([L.Input((4,)), *layers]))
    check(model, from_keras(model, backend="numpy"))


def test_a_sequential_model() -> None:
    inner = keras.Sequential([L.Dense(5, use_bias=False), L.LeakyReLU(), L.Dropout(0.3)])
    x = keras.Input((6,))
    functional = keras.Model(x, L.ReLU()(L.Dense(6)(x)))
    layers = inner, L.Dense(6), L.ReLU(negative_slope=0.1), functional, L.Dense(6)
    model = keras.Sequential(
        [L.Input((4,)), L.Flatten(), *layers, L.ELU(0.5), L.Dense(3), L.Softmax()]
    )
    net = from_keras(biased(model), backend="numpy")
    check(model, net)
    assert [layer.dropout for layer in net.layers] == [0.3, 0, 0, 0, 0]
    assert net.layers[0].activation.parameters["slope"] == pytest.approx(0.3)
    assert net.layers[0].biases is None
    assert net.cost_function.name == "cross_entropy"


def test_activations_may_be_layers_within_a_dense_layer() -> None:
    first = L.Dense(5, activation=L.LeakyReLU(negative_slope=0.1))
    model = biased(sequential(first, L.Dense(3, activation=L.Softmax())))
    net = from_keras(model, backend="numpy")
    assert dict(net.layers[0].activation.parameters) == {"slope": 0.1}
    check(model, net)


def test_a_functional_model_and_logits() -> None:
    x = keras.Input((4,))
    model = biased(keras.Model(x, L.Dense(3)(L.Dense(5, activation="tanh")(x))))
    check(model, from_keras(model, backend="numpy"))
    net = from_keras(model, output="softmax", cost="cross_entropy", backend="numpy")
    np.testing.assert_allclose(net.predict(X), keras.ops.softmax(model(X)), rtol=1e-5, atol=1e-7)


def test_weights_alone() -> None:
    model = keras.Sequential(
        [L.Input((4,)), L.Dense(5, activation="tanh", use_bias=False), L.Dense(3, "sigmoid")]
    )
    weights = biased(model).get_weights()
    net = from_keras(weights, hidden="tanh", output="sigmoid", backend="numpy")
    check(model, net)
    named = {
        layer.name: dict(zip(("kernel", "bias"), layer.get_weights(), strict=False))
        for layer in model.layers
    }
    same = from_keras(named, hidden="tanh", output="sigmoid", backend="numpy")
    np.testing.assert_array_equal(same.parameters, net.parameters)
    wide = from_keras([w.astype(np.float16) for w in weights], dtype="float64", backend="numpy")
    assert wide.dtype == np.float64
    assert [layer.activation.name for layer in wide.layers] == ["relu", "identity"]
    weights[0][:] = 0
    assert net.layers[0].weights.all()  # the weights are copies


def two_branches() -> Any:
    x = keras.Input((4,))
    hidden = L.Dense(4)(x)
    return keras.Model(x, L.Dense(2)(L.Add()([x, hidden])))


def shared() -> Any:
    x, layer = keras.Input((4,)), L.Dense(4)
    return keras.Model(x, layer(layer(x)))


class Own(L.Dense):  # type: ignore[misc]
    pass


class Flatten(L.Layer):  # type: ignore[misc]
    def call(self, x: Any) -> Any:
        return 3 * x


def model_within_a_functional_one() -> Any:
    x, inner = keras.Input((4,)), keras.Sequential([L.Dense(4)], name="inner")
    return keras.Model(x, L.Dense(2)(inner(x)))


def sequential(*layers: Any) -> Any:
    return keras.Sequential([L.Input((4,)), *layers])


BAD: dict[str, tuple[Any, str]] = {
    "a layer": (lambda: sequential(L.Dense(3, name="d"), L.BatchNormalization(name="norm")),
                "layer 'norm' is a BatchNormalization, expected Dense, Dropout"),
    "a derived class": (lambda: sequential(Own(3, name="d")), "layer 'd' is a Own, expected Dense"),
    "a class of the same name": (lambda: sequential(Flatten(name="f"), L.Dense(3)),
                                 "layer 'f' is a Flatten, expected Dense, Dropout"),
    "a function": (lambda: sequential(L.Dense(3, activation=lambda z: z * z, name="d")),
                   "the activation of layer 'd' is '<lambda>', expected one that gpubp has"),
    "softsign": (lambda: sequential(L.Dense(3, activation="softsign", name="d")),
                 "the activation of layer 'd' is 'softsign', expected one that gpubp has"),
    "a maximum": (lambda: sequential(L.Dense(3), L.ReLU(6, name="r")),
                  "layer 'r' is a ReLU with a maximum or a threshold, expected one without"),
    "two activations": (lambda: sequential(L.Dense(3, "tanh"), L.ReLU(name="r")),
                        "layer 'r' is an activation, expected it after a Dense layer without one"),
    "dropout first": (lambda: sequential(L.Dropout(0.5, name="o"), L.Dense(3)),
                      "layer 'o' is a Dropout, expected one after the activation of a hidden layer"),
    "dropout last": (lambda: sequential(L.Dense(3), L.Dropout(0.5)), "model ends with a Dropout"),
    "not built": (lambda: keras.Sequential([L.Dense(3, name="d")]),
                  "layer 'd' has 0 arrays of weights, expected a kernel and perhaps a bias, as a built"),
    "branches": (two_branches, "model has branches, expected layers of which each follows"),
    "a model in a functional one": (model_within_a_functional_one,
                                    "layer 'inner' is a Sequential within a functional model, expected"),
    "a shared layer": (shared, "model has branches, expected layers of which each follows"),
    "no layers": (list, "model has no dense layer, expected at least one"),
    "a bias first": (lambda: [np.ones(3)], r"model\[0\] is a bias, expected a kernel before it"),
    "three dimensions": (lambda: [np.ones((3, 2, 1))],
                         r"model\[0\] has shape \(3, 2, 1\), expected \(inputs, outputs\)"),
    "biases": (lambda: [np.ones((2, 3)), np.ones(2)],
               r"model\[0\] has 2 biases, expected 3, one for each output"),
    "widths": (lambda: [np.ones((2, 3)), np.ones((2, 3))],
               r"model\[1\] has 2 inputs, expected 3, as model\[0\] has outputs"),
    "integers": (lambda: [np.ones((2, 3), int)], "model has weights of dtype int64, expected float32"),
    "NaN": (lambda: [np.full((2, 3), np.nan)], r"the weights of model\[0\] holds nan at \[0, 0\]"),
    "no kernel": (lambda: {"a": {"bias": np.ones(3)}}, r"model\['a'\] is \{.*\}, expected a dict with"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_a_network_cannot_be_is_named(name: str) -> None:
    make, told = BAD[name]
    with pytest.raises(ValueError, match=f"^{told}"):
        from_keras(make())


def test_other_bad_arguments() -> None:
    with pytest.raises(TypeError, match=r"^model is 3, expected a Keras model, a list of weights"):
        from_keras(3)
    model = sequential(L.Dense(3, "tanh"))
    with pytest.raises(ValueError, match=r"^hidden is 'relu', expected None, because a model has"):
        from_keras(model, hidden="relu")
    with pytest.raises(ValueError, match=r"^output is 'softmax', expected None, because the model"):
        from_keras(model, output="softmax")

    class Model(keras.Model):  # type: ignore[misc]
        pass

    with pytest.raises(
        TypeError, match=r"^model is a Model, expected a Sequential or a functional"
    ):
        from_keras(Model())
