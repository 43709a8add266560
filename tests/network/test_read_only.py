"""What a network was made with is read-only: nothing trains on a stale copy."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp import Network, Trainer
from gpubp.backends import Backend
from gpubp.fixed import Fixed

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 2, (12, 4)).astype(np.float32)

OTHERS: dict[str, Callable[[Network], Any]] = {
    "sizes": lambda net: (3, 16, 4),
    "dtype": lambda net: np.dtype(np.float64),
    "backend": lambda net: gpubp.get_backend("numpy"),
    "cost_function": lambda net: gpubp.get_cost("huber"),
    "output_head": lambda net: Network((3, 4), backend="numpy").output_head,
    "precision": lambda net: "tf32",
    "layout": lambda net: Network((3, 16, 4), backend="numpy").layout,
    "layers": lambda net: Network((3, 16, 4), backend="numpy").layers,
}
INSTEAD = {
    "sizes": "make a new Network with them",
    "layout": "make a new Network with other sizes or biases",
    "output_head": "make a new Network with another output or cost",
    "layers": "assign to a layer's weights and biases, or make a new Network",
}


def network(backend: Any) -> Network:
    return Network((3, 8, 4), output="sigmoid", cost="quadratic", backend=backend, seed=4)


@pytest.mark.parametrize("name", OTHERS)
def test_what_a_network_was_made_with_cannot_be_changed(backend: Backend, name: str) -> None:
    net = network(backend)
    before = getattr(net, name)
    with pytest.raises(AttributeError) as caught:
        setattr(net, name, OTHERS[name](net))
    instead = INSTEAD.get(name, "make a new Network with it")
    assert str(caught.value) == f"a network's {name} cannot be changed; {instead}"
    with pytest.raises(AttributeError) as deleted:
        delattr(net, name)
    assert str(deleted.value) == str(caught.value)
    assert getattr(net, name) is before


ARGUMENTS = ["hidden", "output", "cost", "seed", "biases", "initializer", "dropout"]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_that_are_no_attributes_cannot_be_set(name: str) -> None:
    net = network("numpy")
    message = f"^a network's {name} cannot be changed; make a new Network with it$"
    with pytest.raises(AttributeError, match=message):
        setattr(net, name, "huber")
    assert net.cost(X, Y) > 0  # the method is not hidden


def test_a_subclass_may_have_attributes_of_its_own() -> None:
    class Seeded(Network):
        def __init__(self, seed: int) -> None:
            super().__init__((3, 4), backend="numpy", seed=seed)
            self.seed = seed

    assert Seeded(5).seed == 5


@pytest.mark.parametrize("name", ["activation", "dropout"])
def test_a_layer_says_it_alike(name: str) -> None:
    layer = network("numpy").layers[0]
    before = getattr(layer, name)
    message = f"^a layer's {name} cannot be changed; make a new Network with it$"
    with pytest.raises(AttributeError, match=message):
        setattr(layer, name, before)
    assert getattr(layer, name) is before


TRICKS: dict[str, Callable[[Any], Any]] = {
    "shape": lambda array: setattr(array, "shape", (array.size, 1)),
    "dtype": lambda array: setattr(array, "dtype", np.int32),
    "strides": lambda array: setattr(array, "strides", (0,) * array.ndim),
    "resize": lambda array: array.resize((1000,), refcheck=False),
    "writeable": lambda array: setattr(array.flags, "writeable", False),
}


@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")
@pytest.mark.parametrize("name", TRICKS)
def test_the_form_of_the_parameters_cannot_be_changed(backend: Backend, name: str) -> None:
    net, untouched = network(backend), network(backend)
    trainers = [Trainer(each, "adam", batch_size=4, seed=0) for each in (net, untouched)]
    for arrays in (lambda: net.parameters, *(lambda layer=k: layer.weights for k in net.layers)):
        with contextlib.suppress(ValueError, AttributeError, TypeError):  # an array may refuse it
            TRICKS[name](arrays())
    first, second = net.layers
    assert net.parameters.shape == (net.layout.size,)
    assert (first.weights.shape, second.weights.shape) == ((8, 3), (4, 8))
    assert {net.parameters.dtype, first.weights.dtype} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(net.predict(X), untouched.predict(X))
    for trainer in trainers:
        trainer.fit(X, Y, epochs=2)
    np.testing.assert_array_equal(
        backend.to_numpy(net.parameters), backend.to_numpy(untouched.parameters)
    )


@pytest.mark.parametrize("deleted", ["weights", "biases", "activation"])
def test_nothing_of_a_layer_can_be_deleted(deleted: str) -> None:
    layer = network("numpy").layers[0]
    with pytest.raises(AttributeError):
        delattr(layer, deleted)


def test_updates_in_place_change_the_network(backend: Backend) -> None:
    net = network(backend)
    before = backend.to_numpy(net.parameters).copy()
    net.parameters *= 2
    net.layers[0].weights += 1
    net.layers[1].biases -= 3
    expected = 2 * before
    expected[: 8 * 3] += 1
    expected[-4:] -= 3
    np.testing.assert_array_equal(backend.to_numpy(net.parameters), expected)
    net.parameters = net.parameters[::-1]  # the same memory in another order
    np.testing.assert_array_equal(backend.to_numpy(net.parameters), expected[::-1])


def test_no_layer_can_be_replaced() -> None:
    net, other = network("numpy"), network("numpy")
    with pytest.raises(TypeError, match="does not support item assignment"):
        net.layers[0] = other.layers[0]  # type: ignore[index]


@pytest.mark.parametrize("name", OTHERS)
def test_a_trainer_goes_on_unharmed_by_what_was_refused(backend: Backend, name: str) -> None:
    net, untouched = network(backend), network(backend)
    trainer, expected = (Trainer(n, "adam", batch_size=4, seed=0) for n in (net, untouched))
    for one in (trainer, expected):
        one.fit(X, Y, epochs=1)
    with pytest.raises(AttributeError, match="cannot be changed"):
        setattr(net, name, OTHERS[name](net))
    assert trainer.fit(X, Y, epochs=2).cost == expected.fit(X, Y, epochs=2).cost
    np.testing.assert_array_equal(
        backend.to_numpy(net.parameters), backend.to_numpy(untouched.parameters)
    )


def through_joblib(net: Network, folder: Path) -> Network:
    joblib = pytest.importorskip("joblib")
    joblib.dump(net, folder / "net")
    loaded: Network = joblib.load(folder / "net")
    return loaded


COPIES: dict[str, Callable[[Network, Path], Network]] = {
    "pickle": lambda net, folder: pickle.loads(pickle.dumps(net)),
    "copy": lambda net, folder: copy.copy(net),
    "deepcopy": lambda net, folder: copy.deepcopy(net),
    "joblib": through_joblib,
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_has_it_all_and_is_read_only_too(backend: Backend, how: str, tmp_path: Path) -> None:
    net = network(backend)
    expected = net.predict(X)  # captures a prediction; a copy does not take it along
    other = COPIES[how](net, tmp_path)
    assert repr(other) == repr(net)
    assert (other.sizes, other.dtype, other.layout) == (net.sizes, net.dtype, net.layout)
    assert other.backend is net.backend
    assert isinstance(other.layers, tuple)
    np.testing.assert_array_equal(other.predict(X), expected)
    for name, value in OTHERS.items():
        with pytest.raises(AttributeError, match=f"a network's {name} cannot be changed"):
            setattr(other, name, value(other))


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_of_a_layer_is_a_layer(how: Callable[[Any], Any]) -> None:
    layer = network("numpy").layers[0]
    other = how(layer)
    np.testing.assert_array_equal(other.weights, layer.weights)
    assert (other.activation.name, other.dropout) == ("relu", 0.0)
    other.weights = np.ones((8, 3))
    np.testing.assert_array_equal(other.weights, np.ones((8, 3)))
    with pytest.raises(AttributeError, match="a layer's dropout cannot be changed"):
        other.dropout = 0.5


def test_a_fixed_attribute_is_set_once_and_read_without_a_call() -> None:
    class Circle:
        radius = Fixed[float]()

    assert not hasattr(Fixed, "__get__")
    circle = Circle()
    circle.radius = 2.0
    assert vars(circle) == {"radius": 2.0}
    with pytest.raises(
        AttributeError, match=r"^a circle's radius cannot be changed; make a new Circle with it$"
    ):
        circle.radius = 3.0
    assert circle.radius == 2.0
