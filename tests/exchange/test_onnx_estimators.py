"""Estimators as ONNX files, and in pipelines that skl2onnx converts: ONNX Runtime predicts the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import gpubp
from gpubp import Activation, MLPClassifier, MLPRegressor
from gpubp.exchange import register_with_skl2onnx

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)).astype("float32")
CODES = (X @ RNG.normal(size=(4, 3))).argmax(axis=1)
NAMES = np.array(["rose", "Mohn\\n", "ネモフィラ"])
LABELS = np.stack([X[:, 0] > 0, X[:, 1] > 1, X[:, 2] > 0], axis=1).astype(int)
CLASSIFIERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ints": (CODES - 1, {}),
    "strings": (NAMES[CODES], {}),
    "objects": (NAMES[CODES].astype(object), {}),
    "whole floats": (2.0 * CODES, {}),
    "bools": (CODES > 0, {}),
    "two strings": (NAMES[CODES % 2], {}),
    "two classes of a softmax": (CODES > 0, {"loss": "cross_entropy"}),
    "labels": (LABELS, {}),
    "sigmoids": (CODES, {"loss": "binary_cross_entropy"}),
    "outputs that may all be 0": (
        CODES,
        {"loss": "quadratic", "output_activation": "hard_sigmoid"},
    ),
    "outputs of any size": (CODES, {"loss": "quadratic", "output_activation": "identity"}),
    "float64": (NAMES[CODES], {"dtype": "float64"}),
}
REGRESSORS: dict[str, tuple[Any, dict[str, Any]]] = {
    "one output": (X[:, 0], {}),
    "two outputs": (X[:, :2], {}),
    "poisson": (CODES, {"loss": "poisson"}),
    "quantiles": (X[:, 0], {"loss": "quantile", "quantile": [0.1, 0.5, 0.9]}),
    "float64": (X[:, 0], {"dtype": "float64"}),
}


def quick(kind: Any, **options: Any) -> Any:
    return kind(hidden_layer_sizes=(8,), max_iter=5, random_state=0, backend="numpy", **options)


def ran(model: Any, x: Any) -> list[Any]:
    """Run a model, the bytes of one or a path, after ONNX's full check."""
    onnx.checker.check_model(model, full_check=True)
    session = runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"X": x})  # type: ignore[no-any-return]


def scores_of(classifier: Any, x: Any) -> Any:
    """Probabilities, or the network's outputs if there are none."""
    if hasattr(classifier, "predict_proba"):
        return classifier.predict_proba(x)
    return classifier.network_.predict(x.astype(classifier.network_.dtype))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_gives_labels_and_probabilities(name: str, tmp_path: Path) -> None:
    y, options = CLASSIFIERS[name]
    classifier = quick(MLPClassifier, **options).fit(X, y)
    path = tmp_path / "classifier.onnx"
    classifier.to_onnx(path)
    label, scores = ran(str(path), X.astype(classifier.network_.dtype))
    np.testing.assert_array_equal(label, classifier.predict(X))
    assert label.dtype == (object if y.dtype in (NAMES.dtype, np.dtype(object)) else np.int64)
    expected = scores_of(classifier, X)
    assert scores.dtype == expected.dtype
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)
    names = [output.name for output in onnx.load(path).graph.output]
    assert names == ["label", "outputs" if name == "outputs of any size" else "probabilities"]


def test_outputs_that_have_all_rounded_to_0_give_even_probabilities(tmp_path: Path) -> None:
    y, options = CLASSIFIERS["outputs that may all be 0"]
    classifier = quick(MLPClassifier, **options).fit(X, y)
    classifier.network_.layers[-1].weights = np.zeros((3, 8))
    classifier.network_.layers[-1].biases = [-4.0, -4.0, -4.0]
    path = tmp_path / "classifier.onnx"
    classifier.to_onnx(path)
    label, probabilities = ran(str(path), X)
    np.testing.assert_array_equal(label, 0)
    np.testing.assert_allclose(probabilities, 1 / 3, rtol=1e-6)


def test_a_single_class_is_always_predicted(tmp_path: Path) -> None:
    path = tmp_path / "classifier.onnx"
    for options in ({}, {"loss": "cross_entropy"}):
        classifier = quick(MLPClassifier, **options).fit(X, np.full(len(X), 7))
        classifier.network_.layers[-1].biases = np.linspace(-9, -8, classifier.n_outputs_)
        classifier.to_onnx(path)
        label, probabilities = ran(str(path), X)
        np.testing.assert_array_equal(label, 7)
        np.testing.assert_allclose(probabilities, classifier.predict_proba(X), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_gives_a_column_for_each_output(name: str, tmp_path: Path) -> None:
    y, options = REGRESSORS[name]
    regressor = quick(MLPRegressor, **options).fit(X, y)
    path = tmp_path / "regressor.onnx"
    regressor.to_onnx(path)
    (predicted,) = ran(str(path), X.astype(regressor.network_.dtype))
    expected = regressor.predict(X).reshape(len(X), -1)
    assert predicted.dtype == expected.dtype
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=2e-6)
    assert [output.name for output in onnx.load(path).graph.output] == ["variable"]


def test_the_names_of_the_columns_are_in_the_file(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="the package pandas is not installed")
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    path = tmp_path / "regressor.onnx"
    quick(MLPRegressor).fit(frame, X[:, 0]).to_onnx(path)
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert metadata["feature_names"] == '["a", "b", "c", "d"]'


SOFTSIGN = Activation.from_functions(
    "softsign", lambda xp, z: z / (1 + abs(z)), lambda xp, z: 1 / (1 + abs(z)) ** 2
)
BUILDERS = {"softsign": lambda graph, z: graph.node("Softsign", z)}


def test_estimators_take_custom_activations(tmp_path: Path) -> None:
    path = tmp_path / "regressor.onnx"
    regressor = quick(MLPRegressor, activation=SOFTSIGN).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="activation 'softsign' is custom"):
        regressor.to_onnx(path)
    regressor.to_onnx(path, custom=BUILDERS)
    (predicted,) = ran(str(path), X)
    np.testing.assert_allclose(predicted[:, 0], regressor.predict(X), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_an_estimator_that_is_not_fitted_is_not_written(kind: Any, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        kind().to_onnx(tmp_path / "model.onnx")


def test_classes_that_onnx_cannot_have_are_told(tmp_path: Path) -> None:
    classifier = quick(MLPClassifier).fit(X, np.array([1, 2**63], np.uint64)[CODES % 2])
    with pytest.raises(ValueError, match="classes_ has 9223372036854775808, expected whole"):
        classifier.to_onnx(tmp_path / "model.onnx")


@pytest.fixture
def converted() -> Any:
    """Give a function that converts by skl2onnx with gpubp's converters."""
    skl2onnx = pytest.importorskip("skl2onnx", reason="the package skl2onnx is not installed")
    register_with_skl2onnx()
    return lambda model, x, **options: skl2onnx.to_onnx(model, x, **options).SerializeToString()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_pipeline_with_a_classifier_is_converted(name: str, dtype: str, converted: Any) -> None:
    y, options = CLASSIFIERS[name]
    pipeline = make_pipeline(StandardScaler(), quick(MLPClassifier, **options)).fit(X, y)
    x = X.astype(dtype)
    label, scores = ran(converted(pipeline, x[:1], options={"zipmap": False}), x)
    np.testing.assert_array_equal(label, pipeline.predict(x))
    scaled = pipeline[0].transform(x)
    assert scores.dtype == dtype
    np.testing.assert_allclose(scores, scores_of(pipeline[1], scaled), rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", REGRESSORS)
def test_a_pipeline_with_a_regressor_is_converted(name: str, dtype: str, converted: Any) -> None:
    y, options = REGRESSORS[name]
    pipeline = make_pipeline(StandardScaler(), quick(MLPRegressor, **options)).fit(X, y)
    x = X.astype(dtype)
    (predicted,) = ran(converted(pipeline, x[:1]), x)
    expected = pipeline.predict(x).reshape(len(x), -1)
    assert predicted.dtype == dtype
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=2e-6)


def test_skl2onnxs_options_are_kept(converted: Any) -> None:
    classifier = quick(MLPClassifier).fit(X, NAMES[CODES])
    probabilities = classifier.predict_proba(X)

    def outputs(**options: Any) -> list[Any]:
        return ran(converted(classifier, X[:1], options={id(classifier): options}), X)

    label, dictionaries = outputs()
    np.testing.assert_array_equal(label, classifier.predict(X))
    for k, name in enumerate(classifier.classes_):
        assert dictionaries[0][name] == pytest.approx(probabilities[0, k], abs=1e-6)
    _, *columns = outputs(zipmap="columns")
    np.testing.assert_allclose(np.stack(columns, axis=1), probabilities, rtol=0, atol=1e-6)
    indices, _ = outputs(zipmap=False, nocl=True)
    np.testing.assert_array_equal(classifier.classes_[indices], classifier.predict(X))
    *_, classes = outputs(zipmap=False, output_class_labels=True)
    np.testing.assert_array_equal(classes, classifier.classes_)


def test_frames_with_columns_of_several_kinds_are_converted(converted: Any) -> None:
    pandas = pytest.importorskip("pandas", reason="the package pandas is not installed")
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"]).assign(kind=NAMES[CODES % 2])
    columns = make_column_transformer((StandardScaler(), ["a", "c"]), (OneHotEncoder(), ["kind"]))
    pipeline = make_pipeline(columns, quick(MLPClassifier)).fit(frame, CODES)
    session = runtime.InferenceSession(converted(pipeline, frame[:1], options={"zipmap": False}))
    given = {i.name: frame[[i.name]].to_numpy() for i in session.get_inputs()}
    np.testing.assert_array_equal(session.run(None, given)[0], pipeline.predict(frame))


def test_several_networks_fit_into_one_model(converted: Any) -> None:
    calibrated = CalibratedClassifierCV(quick(MLPClassifier), cv=2).fit(X, CODES)
    label, probabilities = ran(converted(calibrated, X[:1], options={"zipmap": False}), X)
    np.testing.assert_array_equal(label, calibrated.predict(X))
    np.testing.assert_allclose(probabilities, calibrated.predict_proba(X), rtol=0, atol=1e-6)


def test_converters_take_custom_activations(converted: Any) -> None:
    regressor = quick(MLPRegressor, activation=SOFTSIGN).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="activation 'softsign' is custom"):
        converted(regressor, X[:1])
    register_with_skl2onnx(custom={**BUILDERS, "of another network": abs})
    (predicted,) = ran(converted(regressor, X[:1]), X)
    np.testing.assert_allclose(predicted[:, 0], regressor.predict(X), rtol=0, atol=1e-6)


def test_operators_that_are_too_old_are_told(converted: Any) -> None:
    with pytest.raises(ValueError, match="target_opset is 12, expected at least 13"):
        converted(quick(MLPRegressor).fit(X, X[:, 0]), X[:1], target_opset=12)


def test_without_skl2onnx_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match="pip install skl2onnx"):
        gpubp.exchange.register_with_skl2onnx()
