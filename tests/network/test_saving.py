"""Files: equal bit for bit, plain safetensors, and files that are refused."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_networks import host
from safetensors.numpy import load_file, save_file
from samples import everything, same_parameters

from gpubp import Network
from gpubp.backends import Backend
from gpubp.kernels import Activation, Cost
from gpubp.kernels.typing import Array


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
    """Return the message of the error that loading `path` raises."""
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
    """Read the description and the arrays in a network's file."""
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
        ({"cost": {"name": "quadratic", "parameters": {"a": 1}}}, "unknown parameter 'a' of cost"),
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
