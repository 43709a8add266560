"""Copies and pickles of networks."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_networks import host
from samples import (
    cube,
    cube_derivative,
    everything,
    fourth_power,
    fourth_power_derivative,
    same_parameters,
)

import gpubp
from gpubp import Network
from gpubp.backends import Backend
from gpubp.kernels import ACTIVATIONS, Activation, Cost


def test_a_network_with_custom_functions_can_be_pickled(backend: Backend) -> None:
    custom = Activation.from_functions("cube", cube, cube_derivative)
    cost = Cost.from_functions("fourth", fourth_power, fourth_power_derivative)
    net = Network((3, 8, 4), hidden=custom, cost=cost, backend=backend, seed=1)
    x, y = np.ones((2, 3)), np.zeros((2, 4))
    other = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(
        host(net, other.backprop(x, y).gradient), host(net, net.backprop(x, y).gradient)
    )


@pytest.mark.parametrize("how", ["pickle", "deepcopy"])
def test_copies_are_equal_and_independent(backend: Backend, how: str) -> None:
    net = everything(backend)
    x = [[1, 2, 3], [0, 1, -1]]
    expected = net.predict(x)
    other = pickle.loads(pickle.dumps(net)) if how == "pickle" else copy.deepcopy(net)
    assert repr(other) == repr(net)
    np.testing.assert_array_equal(other.predict(x), expected)
    assert other.cost(x, [0, 1]) == net.cost(x, [0, 1])
    other.layers[0].weights[...] = 0.0
    assert (host(other, other.parameters)[:12] == 0).all()
    np.testing.assert_array_equal(net.predict(x), expected)


def test_every_activation_survives_pickling() -> None:
    for name in ACTIVATIONS:
        if name != "softmax":
            net = Network((3, 4, 2), hidden=name, backend="numpy", seed=1)
            loaded = pickle.loads(pickle.dumps(net))
            np.testing.assert_array_equal(loaded.predict([1, 2, 3]), net.predict([1, 2, 3]))


def test_a_pickle_holds_no_text_of_kernels(backend: Backend) -> None:
    own = Activation.from_functions(
        "cube", cube, cube_derivative, cuda="return z * z * z;", cuda_derivative="return 3 * z * z;"
    )
    net = Network((3, 4, 4, 2), hidden=[own, "gelu"], output="sigmoid", backend=backend, seed=1)
    unused = pickle.dumps(net)
    net.backprop([[1, 2, 3]], [[0, 1]])
    assert pickle.dumps(net) == unused
    assert b"template" not in unused  # what each version of gpubp puts around a function's text


def test_a_network_read_from_a_mapped_file_can_be_trained(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    net = everything("numpy")
    joblib.dump(net, tmp_path / "net")
    kept = (tmp_path / "net").read_bytes()
    loaded = joblib.load(tmp_path / "net", mmap_mode="r")
    gpubp.Trainer(loaded, "sgd").step([[1, 2, 3]], [0])
    assert not same_parameters(loaded, net)
    assert (tmp_path / "net").read_bytes() == kept


def test_arrays_on_the_device_need_not_be_dense(backend: Backend) -> None:
    rng = np.random.default_rng(0)
    wide, labels, weights = rng.normal(size=(20, 12)), rng.integers(0, 3, 40), rng.uniform(1, 2, 40)
    device = [backend.asarray(values.copy()) for values in (wide, wide.T.copy(), labels, weights)]
    x, y, w = wide[:, ::2].copy(), labels[::2].copy(), weights[::2].copy()
    strided = device[0][:, ::2], device[1].T[:, ::2]

    def network(where: Any) -> Network:
        return Network((6, 5, 3), hidden="tanh", output="softmax", backend=where, seed=0)

    expected = network("numpy")
    for given in strided:
        net = network(backend)
        result = backend.to_numpy(net.predict(given))
        np.testing.assert_allclose(result, expected.predict(x), rtol=1e-4, atol=1e-6)
        arguments = given, device[2][::2], device[3][::2]
        assert net.cost(*arguments) == pytest.approx(expected.cost(x, y, w), rel=1e-5)
        assert net.backprop(*arguments).cost == pytest.approx(expected.cost(x, y, w), rel=1e-5)
        costs = []
        for network_, data in ((net, arguments), (network("numpy"), (x, y, w))):
            trainer = gpubp.Trainer(network_, "sgd", batch_size=8, seed=0)
            trainer.step(*data)
            first = trainer.step_cost
            history = trainer.fit(*data[:2], epochs=2, sample_weight=data[2])
            costs.append([first, *history.cost])
        np.testing.assert_allclose(*costs, rtol=1e-4)


DAMAGE: dict[str, tuple[dict[str, Any], str]] = {
    "dtype": (
        {"dtype": "float64"},
        r"the state of a network has parameters of shape \(26,\) and dtype float32, expected \(26,\)",
    ),
    "sizes": (
        {"sizes": (3, 400, 2)},
        r"the state of a network has parameters of shape \(26,\) and dtype float32, expected \(2402,\)",
    ),
    "more sizes": ({"sizes": (3, 4, 1, 2)}, "biases has 2 entries, expected one, or 3"),
    "precision": ({"precision": "int8"}, "unknown precision 'int8'"),
    "layout": ({"layout": [True, 3]}, "biases holds 3, expected True or False"),
    "an activation": ({"layers": [({"name": "x"}, 0.0)] * 2}, "unknown activation 'x'"),
    "softmax": ({"layers": [({"name": "softmax"}, 0.0)] * 2}, "hidden is 'softmax', which only"),
    "a rate": ({"layers": [({"name": "relu"}, 7.0)] * 2}, "dropout is 7.0, expected"),
    "a cost": ({"cost_function": {"name": "huber", "threshold": -1}}, "threshold is -1, expected"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_state_whose_values_do_not_fit_is_refused(name: str) -> None:
    changes, told = DAMAGE[name]
    state = Network((3, 4, 2), backend="numpy", seed=0).__getstate__() | changes
    with pytest.raises((ValueError, TypeError), match=f"^{told}"):
        Network.__new__(Network).__setstate__(state)


def test_a_state_has_plain_values_and_custom_functions() -> None:
    cost = gpubp.get_cost("huber", threshold=2.0)
    net = Network((3, 4, 2), hidden="elu", cost=cost, dropout=0.25, backend="numpy", seed=0)
    state = net.__getstate__()
    assert state.pop("parameters").shape == (26,)
    assert state == {
        "sizes": (3, 4, 2),
        "dtype": "float32",
        "precision": None,
        "backend": "numpy",
        "layout": [True, True],
        "cost_function": {"name": "huber", "threshold": 2.0},
        "layers": [({"name": "elu", "alpha": 1.0}, 0.25), ({"name": "identity"}, 0.0)],
    }
