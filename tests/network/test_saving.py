"""Files: equal bit for bit, plain safetensors, and files that are refused."""

from __future__ import annotations

import json
import os
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environment import rounds
from oracles import load_file, save_file
from random_networks import host
from samples import everything, same_parameters
from traced import traced_memory

from gpubp import CorruptFileError, Network
from gpubp.backends import Backend
from gpubp.files import write_tensors
from gpubp.kernels import Activation, Cost
from gpubp.kernels.typing import Array
from gpubp.network import storage


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


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        everything("numpy").save(tmp_path / name)
    Network.load(tmp_path / "a", backend="numpy").save(tmp_path / "c")
    files = [(tmp_path / name).read_bytes() for name in ("a", "b", "c")]
    assert files[0] == files[1] == files[2]


def test_a_file_of_the_first_version_which_had_no_checksum_still_loads(tmp_path: Path) -> None:
    description = {
        **{"sizes": [2, 2, 1], "dtype": "float32", "biases": [True, False], "dropout": [0.5]},
        "activations": [
            {"name": "leaky_relu", "parameters": {"slope": 0.25}},
            {"name": "sigmoid", "parameters": {}},
        ],
        "cost": {"name": "binary_cross_entropy", "parameters": {}, "label_smoothing": 0.0},
    }
    tensors = {
        "layers.0.weights": np.array([[1, 2], [3, 4]], np.float32),
        "layers.0.biases": np.array([7, 8], np.float32),
        "layers.1.weights": np.array([[5, 6]], np.float32),
    }
    metadata = {"gpubp": "1", "network": json.dumps(description)}
    save_file(tensors, tmp_path / "f", metadata)
    net = Network.load(tmp_path / "f", backend="numpy")
    assert (net.sizes, net.dtype, net.layout.biases) == ((2, 2, 1), "float32", (True, False))
    assert [layer.activation.name for layer in net.layers] == ["leaky_relu", "sigmoid"]
    assert net.layers[0].activation.parameters == {"slope": 0.25}
    assert net.cost_function.name == "binary_cross_entropy"
    assert [layer.dropout for layer in net.layers] == [0.5, 0]
    np.testing.assert_array_equal(net.parameters, [1, 2, 3, 4, 5, 6, 7, 8])


def test_a_network_that_could_not_be_loaded_is_not_saved(backend: Backend, tmp_path: Path) -> None:
    net = everything(backend)
    net.layers[1].weights[2, 3] = np.inf
    with pytest.raises(
        ValueError, match=r"^layers.1.weights holds inf at \[2, 3\], expected finite"
    ):
        net.save(tmp_path / "f")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("wrong", [None, 5])
def test_what_is_no_path_is_refused_by_networks(wrong: Any) -> None:
    text = f"^path is {wrong}, expected the name of a file$"
    with pytest.raises(TypeError, match=text):
        everything("numpy").save(wrong)
    with pytest.raises(TypeError, match=text):
        Network.load(wrong, backend="numpy")


@pytest.mark.parametrize("wrong", [5, None, "relu", ["relu"], [Network]])
def test_custom_that_contains_something_else_is_refused(tmp_path: Path, wrong: Any) -> None:
    everything("numpy").save(tmp_path / "f")
    with pytest.raises(
        TypeError, match=rf"^custom is {re.escape(repr(wrong))}, expected a sequence of Activation"
    ):
        Network.load(tmp_path / "f", backend="numpy", custom=wrong)


def rewrite(path: Path, metadata: dict[str, str] | None, tensors: dict[str, Array]) -> None:
    """Write a file as the first version of gpubp did, without a checksum."""
    save_file(tensors or {"w": np.zeros(1, np.float32)}, path, metadata)


def refused(path: Path) -> str:
    """Return the message of the error that loading `path` raises, without the name of the file."""
    with pytest.raises(CorruptFileError, match=f"^{re.escape(str(path))} ") as caught:
        Network.load(path, backend="numpy")
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) <= 300
    return text.removeprefix(f"{path} ").removeprefix("is not a gpubp network: ")


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("not a network")
    assert refused(path).startswith("is not a whole safetensors file: its header needs")
    for metadata in (None, {"other": "1"}):
        rewrite(path, metadata, {})
        assert refused(path) == "its metadata has no 'gpubp'"
    rewrite(path, {"gpubp": "2", "network": "{}"}, {})
    assert refused(path) == "it has format '2', expected '1'"
    rewrite(path, {"gpubp": "1", "network": "{}", "more": ""}, {})
    assert refused(path) == "its metadata has the unknown entry 'more'"
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
        Network.load(tmp_path, backend="numpy")
    missing = tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError, match=re.escape(str(missing))):
        Network.load(missing, backend="numpy")


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_half_a_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "f"
    everything("numpy").save(path)
    path.write_bytes(path.read_bytes()[:kept])
    assert refused(path).startswith("is not a whole safetensors file: it")


def test_a_flip_of_any_bit_of_a_network_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "f"
    Network((2, 1), output="softplus", backend="numpy", seed=0).save(path)
    content = path.read_bytes()
    padding = range(content.rindex(b"}}") + 2, content.rindex(b" ") + 1)
    for place in set(range(len(content))) - set(padding):
        for bit in range(rounds(1, 8)):
            flipped = bytes([content[place] ^ 1 << (place + bit) % 8])
            path.write_bytes(content[:place] + flipped + content[place + 1 :])
            with pytest.raises(ValueError, match=re.escape(str(path))):
                Network.load(path, backend="numpy")


def saved(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read the description and the arrays in a network's file."""
    safe_open = pytest.importorskip("safetensors", reason="the oracle is not installed").safe_open

    everything("numpy").save(path)
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["network"]), load_file(path)


def refused_with(path: Path, changed: dict[str, Any], **tensors: Any) -> str:
    """Return the error for a file whose description and tensors are changed; None removes a tensor."""
    description, arrays = saved(path)
    arrays = {name: array for name, array in (arrays | tensors).items() if array is not None}
    description = {k: v for k, v in (description | changed).items() if v != "removed"}
    rewrite(path, {"gpubp": "1", "network": json.dumps(description)}, arrays)
    return refused(path)


W1 = "layers.1.weights"


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ({W1: None}, "it has no 'layers.1.weights'"),
        ({W1: np.zeros((4, 4), "f4")}, "layers.1.weights has shape (4, 4), expected (5, 4)"),
        ({W1: np.zeros((4, 5), "f4")}, "layers.1.weights has shape (4, 5), expected (5, 4)"),
        ({W1: np.zeros(20, "f4")}, "layers.1.weights has shape (20,), expected (5, 4)"),
        ({W1: np.zeros((5, 4), "f8")}, "layers.1.weights has dtype float64, expected float32"),
        ({W1: np.zeros((5, 4), "i4")}, "layers.1.weights has dtype int32, expected float32"),
        ({W1: np.zeros((5, 4), "f2")}, "layers.1.weights has dtype float16, expected float32"),
        ({W1: np.zeros((5, 4), "?")}, "'layers.1.weights' has dtype 'BOOL', expected one of F64"),
        ({"layers.1.biases": np.zeros(5, "f4")}, "it has the unknown entry 'layers.1.biases'"),
        ({"layers.3.weights": np.zeros(5, "f4")}, "it has the unknown entry 'layers.3.weights'"),
        ({W1: np.full((5, 4), np.nan, "f4")}, "layers.1.weights holds nan at [0, 0], expected fin"),
        (
            {"layers.2.biases": np.array([0, -np.inf], "f4")},
            "layers.2.biases holds -inf at [1], ex",
        ),
    ],
)
def test_tensors_that_the_network_does_not_have_are_refused(
    tmp_path: Path, tensors: dict[str, Any], text: str
) -> None:
    message = refused_with(tmp_path / "f", {}, **tensors)
    assert message.removeprefix("is not a whole safetensors file: ").startswith(text)


RELU = {"name": "relu", "parameters": {}}
QUADRATIC = {"name": "quadratic", "parameters": {}, "label_smoothing": 0}


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"sizes": "removed"}, "it has no 'sizes'"),
        ({"more": 1}, "it has the unknown entry 'more'"),
        ({"sizes": 3}, "sizes is 3, expected a list"),
        ({"sizes": [3, 4]}, "activations has 3 entries, expected 1"),
        ({"sizes": []}, "sizes is [], expected an input and at least one layer"),
        ({"sizes": [3, 4, 5.0, 2]}, "each of sizes is 5.0, expected a whole number at least 1"),
        ({"sizes": [3, 4, True, 2]}, "each of sizes is True, expected a whole number at least 1"),
        ({"sizes": [3, 4, 0, 2]}, "each of sizes is 0, expected a whole number at least 1"),
        ({"sizes": [3, 4, -5, 2]}, "each of sizes is -5, expected a whole number at least 1"),
        (
            {"sizes": [3, 4, 10**9, 2]},
            "layers.1.weights has shape (5, 4), expected (1000000000, 4)",
        ),
        (
            {"sizes": [10**30, 4, 5, 2]},
            f"each of sizes is {10**30}, expected a whole number below 2**63",
        ),
        ({"sizes": [3, 10**400, 5, 2]}, "the number 10000000000000000000... has 401 digits"),
        ({"sizes": [3, float("inf"), 5, 2]}, "the number Infinity is not finite"),
        ({"dtype": None}, "dtype is None, expected a str"),
        ({"dtype": "float16"}, "dtype is 'float16', expected 'float32' or 'float64'"),
        ({"dtype": "f4"}, "dtype is 'f4', expected 'float32' or 'float64'"),
        ({"biases": True}, "biases is True, expected a list"),
        ({"biases": [True]}, "biases has 1 entries, expected one, or 3"),
        ({"biases": [1, 0, 1]}, "biases holds 1, expected True or False"),
        ({"dropout": [0.1, 2]}, "dropout is 2, expected a number at least 0 and below 1"),
        ({"dropout": [0.1, "0"]}, "dropout is '0', expected a number at least 0 and below 1"),
        ({"dropout": [0.1]}, "dropout has 1 entries, expected one, or 2"),
        ({"activations": []}, "activations has 0 entries, expected 3"),
        ({"activations": 3}, "activations is 3, expected a list"),
        (
            {"activations": [1, 2, 3]},
            "an activation is 1, expected an object",
        ),
        ({"activations": [{"name": 1, "parameters": {}}] * 3}, "a name is 1, expected a str"),
        ({"activations": [{"name": "relu"}] * 3}, "an activation has no 'parameters'"),
        ({"activations": [RELU | {"a": 1}] * 3}, "an activation has the unknown entry 'a'"),
        (
            {"activations": [RELU | {"parameters": []}] * 3},
            "parameters of 'relu' is [], expected an",
        ),
        ({"activations": [RELU | {"name": "elu"}] * 3}, "parameters of 'elu' has no 'alpha'"),
        (
            {"activations": [{"name": "elu", "parameters": {"alpha": -1}}] * 3},
            "alpha is -1, expected a number above 0",
        ),
        (
            {"activations": [{"name": "elu", "parameters": {"alpha": "1"}}] * 3},
            "alpha is '1', expected a number above 0",
        ),
        (
            {"activations": [{"name": "softmax", "parameters": {}}] * 3},
            "hidden is 'softmax', which only an output layer can have",
        ),
        ({"cost": "quadratic"}, "cost is 'quadratic', expected a dict"),
        ({"cost": {"name": "quadratic", "parameters": {}}}, "the cost has no 'label_smoothing'"),
        (
            {"cost": QUADRATIC | {"parameters": {"a": 1}}},
            "parameters of 'quadratic' has the unknown",
        ),
        ({"cost": QUADRATIC | {"label_smoothing": 0.1}}, "cost 'quadratic' has label_smoothing"),
        ({"cost": QUADRATIC | {"label_smoothing": None}}, "cost 'quadratic' has label_smoothing"),
    ],
)
def test_a_description_that_is_none_is_refused(
    tmp_path: Path, changed: dict[str, Any], text: str
) -> None:
    assert refused_with(tmp_path / "f", changed).startswith(text)


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({}, "its metadata has no 'network'"),
        ({"network": "{broken"}, "Expecting property name enclosed in double quotes"),
        ({"network": "[" * 100_000}, "its JSON is nested too deeply"),
        ({"network": "{}"}, "it has no 'sizes'"),
        ({"network": "[]"}, "it is [], expected an object"),
        ({"network": "null"}, "it is None, expected an object"),
        ({"network": '{"sizes": [1, 2], "sizes": [1, 2]}'}, "the key 'sizes' occurs twice"),
    ],
)
def test_broken_metadata_is_refused(tmp_path: Path, metadata: dict[str, str], text: str) -> None:
    path = tmp_path / "f"
    rewrite(path, {"gpubp": "1", **metadata}, {})
    assert refused(path).startswith(text)


def test_a_name_that_is_no_name_is_shown_in_a_short_message(tmp_path: Path) -> None:
    path = tmp_path / "f"
    description, tensors = saved(path)
    description["cost"]["name"] = "cost\n\x1b[31m" * 10_000
    rewrite(path, {"gpubp": "1", "network": json.dumps(description)}, tensors)
    with pytest.raises(ValueError, match=r"needs the cost 'cost\\n\\x1b") as caught:
        Network.load(path, backend="numpy")
    assert len(str(caught.value)) <= 300
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("sizes", [[3, 4, 5, 2], [30_000, 30_000, 5, 2]])
def test_tensors_are_read_after_everything_else_was_checked(
    tmp_path: Path, sizes: list[int]
) -> None:
    path = tmp_path / "f"
    description, _ = saved(path)
    shape = [30_000, 30_000]
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, 3_600_000_000]}
    metadata = {"gpubp": "1", "network": json.dumps(description | {"sizes": sizes})}
    header = json.dumps({"__metadata__": metadata, "layers.0.weights": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, path.stat().st_size + 3_600_000_000)  # a hole
    with traced_memory():
        assert refused(path) == "it has no 'layers.0.biases'"
        assert tracemalloc.get_traced_memory()[1] < 2**20


def test_the_network_of_a_checkpoint_loads_and_its_other_tensors_are_not_read(
    tmp_path: Path,
) -> None:
    net, path = everything("numpy"), tmp_path / "f"
    tensors, metadata = storage.content(net)
    state = {"training.now.velocity": np.zeros(10_000_000, "u1")}
    write_tensors(path, tensors | state, metadata | {"training": "{}"})
    with traced_memory():
        loaded = Network.load(path, backend="numpy")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    assert same_parameters(loaded, net)
    write_tensors(path, tensors | state, metadata)
    assert refused(path) == "it has the unknown entry 'training.now.velocity'"


def test_a_place_that_no_file_can_be_saved_to_is_told(tmp_path: Path) -> None:
    net = everything("numpy")
    with pytest.raises(
        FileNotFoundError, match="there is no folder to write this file in"
    ) as caught:
        net.save(tmp_path / "no" / "net")
    assert caught.value.filename == str(tmp_path / "no" / "net")
    with pytest.raises(IsADirectoryError, match="this is a folder, expected a file"):
        net.save(tmp_path)
    assert os.listdir(tmp_path) == []


def test_custom_activations_and_costs_are_given_back_at_loading(
    backend: Backend, tmp_path: Path
) -> None:
    custom = Activation.from_functions("cubic", lambda xp, z: z**3, lambda xp, z: 3 * z**2)
    fourth = Cost.from_functions(
        "fourth", lambda xp, a, y: (a - y) ** 4, lambda xp, a, y: 4 * (a - y) ** 3
    )
    net = Network((3, 4, 2), hidden=custom, cost=fourth, backend=backend)
    net.save(tmp_path / "f")
    with pytest.raises(
        ValueError, match=r"needs the activation 'cubic'.*give it in custom=\[...\]"
    ):
        Network.load(tmp_path / "f", backend=backend)
    with pytest.raises(ValueError, match="needs the cost 'fourth'"):
        Network.load(tmp_path / "f", backend=backend, custom=[custom])
    loaded = Network.load(tmp_path / "f", backend=backend, custom=[custom, fourth])
    x, y = [[1, 2, 3]], [[0, 1]]
    assert loaded.cost(x, y) == net.cost(x, y)
