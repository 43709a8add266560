"""Networks: initial weights, layout, saving, copying, predicting, and where results live."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import re
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import gpubp
from gpubp import Network
from gpubp.backends import Backend
from gpubp.kernels import ACTIVATIONS, Activation, Cost
from gpubp.kernels.typing import Array


def host(net: Network, array: Array) -> Array:
    return net.backend.to_numpy(array)


def same_parameters(a: Network, b: Network) -> bool:
    return bool(np.array_equal(host(a, a.parameters), host(b, b.parameters)))


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
    fourth = 9 / 5 if "uniform" in name else 3  # kurtosis, which says how far a variance may stray
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


# Predicting


@pytest.fixture
def net(backend: Backend) -> Network:
    return Network((3, 8, 4), output="softmax", backend=backend, seed=4)


def test_predict_gives_rows_for_rows_and_one_output_for_one_example(net: Network) -> None:
    x = np.random.default_rng(5).normal(size=(6, 3))
    outputs = net.predict(x)
    assert outputs.shape == (6, 4)
    assert outputs.dtype == np.float32
    one = net.predict(x[2])
    assert one.shape == (4,)
    np.testing.assert_allclose(one, outputs[2], rtol=1e-6)
    np.testing.assert_allclose(net.predict(list(x[2])), one, rtol=1e-6)


def test_predict_is_right_for_any_succession_of_sizes_and_sees_new_parameters(net: Network) -> None:
    x = np.random.default_rng(6).normal(size=(30, 3))
    for scale in (1.0, -2.0):
        net.parameters[...] *= scale
        expected = net.forward(x).a[-1]
        for rows in [*range(1, 21), 30, 1, 20]:
            np.testing.assert_allclose(net.predict(x[:rows]), expected[:rows], rtol=1e-5)


def test_predict_on_many_rows_works_in_blocks(backend: Backend) -> None:
    net = Network((3, 40, 4), output="softmax", backend=backend, seed=4, dtype="float64")
    x = np.random.default_rng(7).normal(size=(10_001, 3))
    np.testing.assert_allclose(net.predict(x), net.forward(x).a[-1], rtol=1e-12)


def test_predict_keeps_no_hold_of_x(net: Network) -> None:
    x = np.ones((5, 3), np.float32)
    alive = weakref.ref(x)
    net.predict(x)
    del x
    assert alive() is None


LAYOUTS = {
    "rows": lambda x: np.array(x, np.float32),
    "columns": lambda x: np.asfortranarray(x, np.float32),
    "strided": lambda x: np.repeat(np.array(x, np.float32), 2, axis=1)[:, ::2],
    "half": lambda x: np.array(x, np.float16),
    "bool": lambda x: np.array(x) > 0,
    "swapped bytes": lambda x: np.array(x, ">f4"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_array_filled_anew_is_read_anew_and_not_kept(backend: Backend, layout: str) -> None:
    rng = np.random.default_rng(8)
    first, second = rng.normal(size=(2, 6, 3))
    net, other = (Network((3, 8, 4), backend=backend, seed=4) for _ in range(2))
    trainer, other_trainer = (gpubp.Trainer(n, "sgd", batch_size=6) for n in (net, other))
    x = LAYOUTS[layout](first)
    for values in (first, second):
        x[...] = LAYOUTS[layout](values)
        dense = np.ascontiguousarray(x, np.float32)
        np.testing.assert_array_equal(net.predict(x), net.predict(dense))
        trainer.step(x, np.zeros((6, 4)))
        other_trainer.step(dense, np.zeros((6, 4)))
    assert same_parameters(net, other)
    alive = weakref.ref(x)
    del x, dense
    assert alive() is None


def test_threads_may_predict_with_one_network_at_the_same_time(backend: Backend) -> None:
    net = Network((3, 8, 4), backend=backend, seed=4)
    xs = np.random.default_rng(9).normal(size=(2, 50, 3))
    expected = [net.predict(x) for x in xs]
    wrong: list[int] = []

    def predict(which: int) -> None:
        for _ in range(100):
            if not np.array_equal(net.predict(xs[which]), expected[which]):
                wrong.append(which)

    threads = [threading.Thread(target=predict, args=(k,)) for k in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_many_rows_are_predicted_in_parts_and_leave_little_behind(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Network((3, 8, 4), backend=backend, seed=4)
    x = np.random.default_rng(10).normal(size=(50, 3))
    whole = net.predict(x)
    monkeypatch.setattr("gpubp.network.predictor.ROWS_AT_ONCE", 7)
    net = Network((3, 8, 4), backend=backend, seed=4)
    np.testing.assert_allclose(net.predict(x), whole, rtol=1e-5, atol=1e-7)
    assert sorted(net._predictor.captured) == [1, 7]


def test_what_is_assigned_to_parameters_reaches_every_use_of_them(net: Network) -> None:
    x, layer = np.ones((2, 3)), net.layers[0]
    net.predict(x)  # captured
    net.parameters = np.zeros(net.layout.size)
    np.testing.assert_array_equal(net.predict(x), np.full((2, 4), 0.25))
    layer.weights = np.ones((8, 3))
    layer.biases = np.full(8, -2.0)
    layer.weights *= 2
    expected = net.forward(x)
    np.testing.assert_array_equal(expected.z[0], np.full((2, 8), 4))
    np.testing.assert_array_equal(host(net, net.parameters)[:24], np.full(24, 2))
    np.testing.assert_array_equal(net.predict(x), expected.a[-1])


def test_what_cannot_be_assigned_is_told(backend: Backend) -> None:
    net = Network((3, 4), biases=False, backend=backend)
    layer = net.layers[0]
    with pytest.raises(
        ValueError, match=r"parameters is given shape \(3,\), expected shape \(12,\)"
    ):
        net.parameters = np.zeros(3)
    with pytest.raises(
        ValueError, match=r"weights is given shape \(3, 4\), expected shape \(4, 3\)"
    ):
        layer.weights = np.zeros((3, 4))
    with pytest.raises(ValueError, match=r"biases is given shape \(4,\), expected None"):
        layer.biases = np.zeros(4)
    with pytest.raises(AttributeError, match="a layer's dropout cannot be changed; make a new Net"):
        layer.dropout = 0.5


def test_results_show_what_they_are_in_a_line(net: Network) -> None:
    x = np.ones((2, 3))
    assert repr(net.forward(x)) == "Forward(2 layers, 2 rows)"
    assert re.fullmatch(r"Backprop\(2 layers, 2 rows, cost=[\d.]+\)", repr(net.backprop(x, [0, 1])))
    assert net.forward(x) != net.forward(x)


class OnlyDlpack:
    """An array of a library that speaks DLPack alone."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


def test_inputs_of_any_kind_layout_and_type_are_the_same_numbers(net: Network) -> None:
    x = np.random.default_rng(8).integers(-3, 4, (6, 3))
    expected = net.predict(x.astype(np.float32))
    frozen = x.astype(float)
    frozen.flags.writeable = False
    for same in (
        x,
        x.tolist(),
        x.astype(np.int8),
        x.astype(np.float16),
        x.astype(np.float64),
        x.astype(">f4"),
        np.asfortranarray(x),
        np.repeat(x, 2, axis=1)[:, ::2],
        frozen,
        OnlyDlpack(x.astype(float)),
    ):
        np.testing.assert_array_equal(net.predict(same), expected)


# Devices


def test_results_come_back_where_x_came_from(net: Network, cuda_backend: Backend) -> None:
    x, y = np.random.default_rng(9).normal(size=(6, 3)).astype(np.float32), [0, 1, 2, 3, 0, 1]
    for there in (gpubp.get_backend("numpy"), cuda_backend):
        on_there = there.asarray(x)
        bp, fp = net.backprop(on_there, y), net.forward(on_there)
        arrays = [net.predict(on_there), net.predict(on_there[0]), *fp.z, *fp.a]
        arrays += [*bp.deltas, *bp.z, *bp.a, bp.input_gradient]
        assert all(there.owns(array) for array in arrays)
        assert all(net.backend.owns(g) for g in (bp.gradient, *bp.weight_gradients))
        np.testing.assert_array_equal(there.to_numpy(fp.a[0]), x)
        np.testing.assert_array_equal(there.to_numpy(bp.deltas[0]), net.backprop(x, y).deltas[0])
    assert net.backend.owns(net.parameters)


def test_x_y_and_weights_may_live_on_different_devices(net: Network, cuda_backend: Backend) -> None:
    x, labels, weights = np.ones((4, 3), np.float32), np.arange(4), np.array([1.0, 2, 3, 4])
    expected = net.cost(x, labels, weights)
    device = cuda_backend.asarray
    assert net.cost(device(x), labels, weights) == expected
    assert net.cost(x, device(labels), device(weights)) == expected
    assert net.cost(x, device(np.eye(4)[labels]), weights) == pytest.approx(expected, rel=1e-6)


def test_gradients_are_checked_wherever_the_network_lives(net: Network) -> None:
    assert gpubp.check_gradients(net, [[1, 2, 3], [3, -1, 2]], [1, 0]).relative_error < 1e-7


# Saving


def everything(backend: Backend | str, **options: Any) -> Network:
    return Network(
        (3, 4, 5, 2),
        hidden=[gpubp.get_activation("leaky_relu", slope=0.3), "gelu"],
        output="softmax",
        cost=gpubp.get_cost("cross_entropy", label_smoothing=0.1),
        biases=[True, False, True],
        dropout=[0.1, 0.2],
        backend=backend,
        seed=5,
        **options,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_saved_network_loads_bit_for_bit(backend: Backend, tmp_path: Path, dtype: str) -> None:
    net = everything(backend, dtype=dtype)
    net.layers[0].biases[...] = 0.5
    path = tmp_path / "net.safetensors"
    net.save(path)
    for there in ("numpy", backend):
        loaded = Network.load(str(path), backend=there)
        assert same_parameters(loaded, net)
        assert (loaded.sizes, loaded.dtype, loaded.layout) == (net.sizes, net.dtype, net.layout)
        assert [layer.dropout for layer in loaded.layers] == [0.1, 0.2, 0]
        assert loaded.layers[0].activation.parameters == {"slope": 0.3}
        assert loaded.cost_function.label_smoothing == 0.1
        assert repr(loaded).split(", backend")[0] == repr(net).split(", backend")[0]
    x, y = [[1, 2, 3], [0, 1, -1]], [0, 1]
    again = Network.load(path, backend=backend)
    np.testing.assert_array_equal(again.predict(x), net.predict(x))
    assert again.cost(x, y) == net.cost(x, y)


def test_the_file_is_plain_safetensors(backend: Backend, tmp_path: Path) -> None:
    net = everything(backend)
    net.save(tmp_path / "net")
    tensors = load_file(tmp_path / "net")
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    assert shapes == {
        "layers.0.weights": (4, 3),
        "layers.0.biases": (4,),
        "layers.1.weights": (5, 4),
        "layers.2.weights": (2, 5),
        "layers.2.biases": (2,),
    }
    np.testing.assert_array_equal(tensors["layers.1.weights"], host(net, net.layers[1].weights))


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "net.safetensors"
    everything("numpy").save(path)
    before = path.read_bytes()

    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="No space left"):
        Network((3, 2), backend="numpy").save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.safetensors"]


def test_a_saved_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    everything("numpy").save(tmp_path / "net")
    assert (tmp_path / "net").stat().st_mode == (tmp_path / "plain").stat().st_mode


def rewrite(path: Path, metadata: dict[str, str] | None, **tensors: Array) -> None:
    save_file({"w": np.zeros(1, np.float32)} | tensors, path, metadata)


def no_network(path: Path) -> str:
    """What loading `path` says of it."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        Network.load(path, backend="numpy")
    text = str(caught.value)
    assert "\n" not in text
    return text.removeprefix(f"{path} is not a gpubp network: ")


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("not a network")
    assert no_network(path).startswith("it is no whole safetensors file (")
    for metadata in (None, {"other": "1"}):
        rewrite(path, metadata)
        assert no_network(path) == "its metadata has no entry 'gpubp'"
    rewrite(path, {"gpubp": "2"})
    assert no_network(path) == f"{path} has gpubp format '2', expected '1'"
    assert no_network(tmp_path) == "it is not a file"
    missing = tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError, match=f"^there is no file {re.escape(str(missing))}$"):
        Network.load(missing, backend="numpy")


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_half_a_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "f"
    everything("numpy").save(path)
    path.write_bytes(path.read_bytes()[:kept])
    assert no_network(path).startswith("it is no whole safetensors file (")


def saved(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The description and the arrays in the file of a network."""
    from safetensors import safe_open

    everything("numpy").save(path)
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["network"]), load_file(path)


@pytest.mark.parametrize("wrong", [None, np.zeros((4, 4), np.float32)])
def test_missing_and_misshapen_tensors_are_refused(tmp_path: Path, wrong: Array | None) -> None:
    path = tmp_path / "f"
    description, tensors = saved(path)
    del tensors["layers.1.weights"]
    if wrong is not None:
        tensors["layers.1.weights"] = wrong
    rewrite(path, {"gpubp": "1", "network": json.dumps(description)}, **tensors)
    assert no_network(path) == (
        "it has no 'layers.1.weights'"
        if wrong is None
        else "layers.1.weights has shape (4, 4), expected (5, 4)"
    )


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"sizes": 3}, "sizes is 3, expected layer widths such as (784, 256, 10)"),
        (
            {"sizes": [3, 4, 10**9, 2]},
            "layers.1.weights has shape (5, 4), expected (1000000000, 4)",
        ),
        ({"dtype": "float16"}, "dtype is 'float16', expected 'float32' or 'float64'"),
        ({"biases": [True]}, "biases has 1 entries, expected one, or 3"),
        ({"dropout": [0.1, 2]}, "dropout is 2, expected a number at least 0 and below 1"),
        ({"activations": []}, "not enough values to unpack"),
        ({"activations": 3}, "'int' object is not iterable"),
        (
            {"activations": [{"name": "elu", "parameters": {"alpha": -1}}] * 3},
            "alpha is -1, expected a number above 0",
        ),
        ({"activations": [{"name": "relu"}] * 3}, "it has no 'parameters'"),
        ({"cost": {"name": "quadratic", "parameters": {"a": 1}}}, "unknown parameter of cost"),
    ],
)
def test_a_description_that_is_none_is_refused(
    tmp_path: Path, changed: dict[str, Any], text: str
) -> None:
    path = tmp_path / "f"
    description, tensors = saved(path)
    rewrite(path, {"gpubp": "1", "network": json.dumps(description | changed)}, **tensors)
    assert no_network(path).startswith(text)


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({}, "it has no 'network'"),
        ({"network": "{broken"}, "Expecting property name enclosed in double quotes"),
        ({"network": "[" * 100_000}, "maximum recursion depth exceeded"),
        ({"network": "{}"}, "it has no 'activations'"),
        ({"network": "[]"}, "list indices must be integers or slices, not str"),
    ],
)
def test_broken_metadata_is_refused(tmp_path: Path, metadata: dict[str, str], text: str) -> None:
    path = tmp_path / "f"
    rewrite(path, {"gpubp": "1", **metadata})
    assert no_network(path).startswith(text)


def test_a_place_that_no_file_can_be_saved_to_is_told(tmp_path: Path) -> None:
    net = everything("numpy")
    folder = re.escape(str(tmp_path / "no"))
    with pytest.raises(FileNotFoundError, match=f"^there is no folder {folder} to save net in$"):
        net.save(tmp_path / "no" / "net")
    with pytest.raises(IsADirectoryError, match=r"is a folder, expected the name of a file$"):
        net.save(tmp_path)
    assert os.listdir(tmp_path) == []


def test_custom_activations_and_costs_are_given_back_at_loading(
    backend: Backend, tmp_path: Path
) -> None:
    own = Activation.from_functions("cubic", lambda xp, z: z**3, lambda xp, z: 3 * z**2)
    fourth = Cost.from_functions(
        "fourth", lambda xp, a, y: (a - y) ** 4, lambda xp, a, y: 4 * (a - y) ** 3
    )
    net = Network((3, 4, 2), hidden=own, cost=fourth, backend=backend)
    net.save(tmp_path / "f")
    with pytest.raises(
        ValueError, match=r"needs the activation 'cubic'.*give it in custom=\[...\]"
    ):
        Network.load(tmp_path / "f", backend=backend)
    with pytest.raises(ValueError, match="needs the cost 'fourth'"):
        Network.load(tmp_path / "f", backend=backend, custom=[own])
    loaded = Network.load(tmp_path / "f", backend=backend, custom=[own, fourth])
    x, y = [[1, 2, 3]], [[0, 1]]
    assert loaded.cost(x, y) == net.cost(x, y)


# Copying


def cube(xp: Any, z: Array) -> Array:
    return z**3


def cube_derivative(xp: Any, z: Array) -> Array:
    return 3 * z**2


def fourth_power(xp: Any, a: Array, y: Array) -> Array:
    return (a - y) ** 4


def fourth_power_derivative(xp: Any, a: Array, y: Array) -> Array:
    return 4 * (a - y) ** 3


def test_a_network_with_custom_functions_can_be_pickled(backend: Backend) -> None:
    own = Activation.from_functions("cube", cube, cube_derivative)
    cost = Cost.from_functions("fourth", fourth_power, fourth_power_derivative)
    net = Network((3, 8, 4), hidden=own, cost=cost, backend=backend, seed=1)
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
