"""Networks as ONNX files: ONNX Runtime computes what predict does."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported import (
    ACTIVATION_CASES,
    DTYPES,
    PARAMETERS,
    assert_close,
    drawn,
    edges,
    made,
    only,
)

import gpubp
from gpubp import Activation, Network
from gpubp.backends import Backend
from gpubp.exchange import Graph, onnx_network
from gpubp.exchange.onnx_activations import ONNX_ACTIVATIONS
from gpubp.kernels import ACTIVATIONS, PRECISIONS

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")
ReferenceEvaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator


def ran(path: Path, x: Any) -> Any:
    """Run a model after ONNX's full check, strict inference of shapes included."""
    onnx.checker.check_model(onnx.load(path), full_check=True)
    onnx.shape_inference.infer_shapes(
        onnx.load(path), check_type=True, strict_mode=True, data_prop=True
    )
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["output"], {"x": x})[0]


def exported(net: Network, folder: Path, **options: Any) -> Path:
    path = folder / "network.onnx"
    net.to_onnx(path, **options)
    return path


def test_the_table_has_every_activation_and_parameters_of_each_are_tried() -> None:
    assert list(ONNX_ACTIVATIONS) == list(ACTIVATIONS)
    assert set(PARAMETERS) == {name for name, a in ACTIVATIONS.items() if a.parameters}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "parameters"), ACTIVATION_CASES)
def test_an_activation_is_the_kernels_also_at_extreme_values(
    name: str, parameters: dict[str, float], dtype: str, tmp_path: Path
) -> None:
    net = only(name, parameters, dtype)
    x = edges(dtype)
    # ONNX Runtime has no erf for float64; the file has float32's.
    exact = dtype == "float64" and name != "gelu"
    path, tolerance = exported(net, tmp_path), 1e-14 if exact else 2e-7
    assert_close(ran(path, x), net.predict(x), tolerance)
    with np.errstate(all="ignore"):  # in branches that it does not choose
        (outputs,) = ReferenceEvaluator(str(path)).run(None, {"x": x})  # ONNX's own, in NumPy
    assert_close(outputs, net.predict(x), tolerance)


@pytest.mark.parametrize("seed", range(30))
def test_random_networks_predict_the_same(seed: int, tmp_path: Path) -> None:
    net, x = drawn(seed)
    assert_close(ran(exported(net, tmp_path), x), net.predict(x), 1e-5)


def test_a_model_takes_any_number_of_rows(tmp_path: Path) -> None:
    net = made((3, 8, 2), hidden="gelu")
    session = runtime.InferenceSession(exported(net, tmp_path))
    for rows in (1, 2, 100):
        x = np.random.default_rng(rows).normal(size=(rows, 3)).astype("float32")
        assert_close(session.run(None, {"x": x})[0], net.predict(x), 1e-6)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_precision_is_left_to_the_runtime(precision: str, tmp_path: Path) -> None:
    """The file has the float32 weights, and computes what the network does without the precision."""
    rounded, plain = (made((30, 40, 5), hidden="tanh", precision=p) for p in (precision, None))
    x = np.random.default_rng(0).normal(size=(50, 30)).astype("float32")
    assert_close(ran(exported(rounded, tmp_path), x), plain.predict(x), 1e-6)
    unit = PRECISIONS[precision].unit_roundoff
    assert 1e-5 < np.abs(rounded.predict(x) - plain.predict(x)).max() < 20 * unit


def test_a_model_names_what_is_in_it(tmp_path: Path) -> None:
    net = made((3, 4, 2), hidden="gelu", output="softmax", biases=[True, False])
    model = onnx.load(exported(net, tmp_path))
    (x,), (output,) = model.graph.input, model.graph.output
    assert (x.name, output.name) == ("x", "output")
    for value, width in ((x, 3), (output, 2)):
        rows, columns = value.type.tensor_type.shape.dim
        assert (rows.dim_param, columns.dim_value) == ("rows", width)
    arrays = {a.name: onnx.numpy_helper.to_array(a) for a in model.graph.initializer}
    for k, layer in enumerate(net.layers):
        np.testing.assert_array_equal(arrays[f"layers.{k}.weights"], layer.weights)
    np.testing.assert_array_equal(arrays["layers.0.biases"], net.layers[0].biases)
    assert "layers.1.biases" not in arrays
    tensors = {name for node in model.graph.node for name in node.output}
    assert {"layers.0.z", "layers.0.a", "layers.1.z"} < tensors
    assert (model.producer_name, model.producer_version) == ("gpubp", gpubp.__version__)
    assert model.doc_string == repr(net)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["network"])["sizes"] == [3, 4, 2]
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 13)]


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    first = exported(made((3, 4, 2)), tmp_path).read_bytes()
    assert exported(made((3, 4, 2)), tmp_path).read_bytes() == first


def test_networks_of_every_backend_are_written(backend: Backend, tmp_path: Path) -> None:
    net = made((3, 4, 2), backend=backend)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    assert_close(ran(exported(net, tmp_path), x), net.predict(x), 1e-6)


SOFTSIGN = Activation.from_functions(
    "softsign", lambda xp, z: z / (1 + abs(z)), lambda xp, z: 1 / (1 + abs(z)) ** 2
)


def test_a_custom_activation_has_a_users_nodes(tmp_path: Path) -> None:
    def builder(graph: Graph, z: str) -> str:
        return graph.node("Div", z, graph.node("Add", graph.node("Abs", z), graph.constant(1.0)))

    net = made((3, 4, 2), hidden=SOFTSIGN, output=SOFTSIGN)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    path = exported(net, tmp_path, custom={"softsign": builder})
    assert_close(ran(path, x), net.predict(x), 1e-6)


@pytest.mark.parametrize(
    ("custom", "error", "text"),
    [
        (None, ValueError, "activation 'softsign' is custom, expected a function (graph, z) -> a"),
        ([1], TypeError, "custom is [1], expected a dict"),
        ({"softsing": abs}, ValueError, "did you mean 'softsign'?"),
        ({"softsign": 3}, TypeError, "custom['softsign'] is 3, expected a function"),
        ({"softsign": lambda g, z: 3}, TypeError, "custom['softsign'] returned 3, expected the"),
        ({"softsign": lambda g, z: "nothing"}, ValueError, "the model is not valid in ONNX"),
        ({"softsign": lambda g, z: g.node("Sofsign", z)}, ValueError, "not valid in ONNX"),
    ],
)
def test_what_is_wrong_with_custom_is_told(
    custom: Any, error: type[Exception], text: str, tmp_path: Path
) -> None:
    path = tmp_path / "network.onnx"
    path.write_text("old")
    with pytest.raises(error) as raised:
        made((3, 4, 2), hidden=SOFTSIGN).to_onnx(path, custom=custom)
    assert text in str(raised.value) and "\n" not in str(raised.value)
    assert path.read_text() == "old"


def test_parameters_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    net = made((3, 2))
    np.asarray(net.parameters)[1] = np.nan
    with pytest.raises(ValueError, match=r"layers\.0\.weights"):
        net.to_onnx(tmp_path / "network.onnx")
    assert not [*tmp_path.iterdir()]


def test_a_network_too_large_for_a_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_network, "LARGEST", 100)
    with pytest.raises(ValueError, match=r"sizes \(5, 5\) need .* GiB, expected less than"):
        made((5, 5)).to_onnx(tmp_path / "network.onnx")
    assert not [*tmp_path.iterdir()]


def test_without_onnx_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'gpubp\[onnx\]'"):
        made((3, 2)).to_onnx(tmp_path / "network.onnx")


def test_a_path_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match="path is 3"):
        made((3, 2)).to_onnx(3)
