"""trace of the estimators: the numbers of their backprop, with the names of features and classes."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import NotFittedError
from small_data import examples, not_converged, quick, targets

from gpubp import MLPClassifier, MLPRegressor, Trace
from gpubp.estimators import inspection

X, Y = examples()
NAMES = np.array(["ant", "bee", "cat"])

pytestmark = not_converged


def same_numbers(trace: Trace, model: Any, x: Any, y: Any) -> None:
    found = model.backprop(x, y)
    assert trace.values["cost"] == pytest.approx(found.cost, rel=1e-6)
    for k in range(len(found.z)):
        np.testing.assert_allclose(trace.values[f"delta{k + 1}"], found.deltas[k][0], rtol=1e-6)
        gradient = found.weight_gradients[k]
        np.testing.assert_allclose(trace.values[f"weight_gradient{k + 1}"], gradient, rtol=1e-6)


def test_classes_are_as_they_were_given() -> None:
    model = quick(dropout=0.3, class_weight={"ant": 5.0, "bee": 1.0, "cat": 0.0}).fit(X, NAMES[Y])
    row = int(np.flatnonzero(Y == 1)[0])
    trace = model.trace(X[row], "bee", learning_rate=0.1)
    same_numbers(trace, model, X[row : row + 1], ["bee"])
    assert trace.output_names == ("ant", "bee", "cat") and trace.values["y"].tolist() == [0, 1, 0]
    predicted = model.predict(X[row : row + 1])[0]
    assert trace.prediction == f"The classifier predicts {predicted}; the target is bee."
    assert trace.notes == (
        "Dropout takes no part, as in predictions: no activation is dropped.",
        "The L2 penalty of alpha, 0.0001, is no part of this cost; training adds it.",
    )
    for x, y in ((X[row : row + 1], ["bee"]), (X[row].tolist(), np.array("bee")),
                 (scipy.sparse.csr_matrix(X[row : row + 1]), "bee")):  # fmt: skip
        assert model.trace(x, y, learning_rate=0.1).to_dict() == trace.to_dict()
    assert quick(alpha=0).fit(X, Y).trace(X[0], Y[0]).notes == ()


def test_features_have_their_names() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(X, columns=[f"feature {k}" for k in range(6)])
    model = quick().fit(frame, Y)
    trace = model.trace(frame[:1], Y[0])
    assert trace.input_names == tuple(frame.columns)
    assert trace.output_names == ("0", "1", "2")
    assert model.trace(frame.iloc[0], Y[0]).to_dict() == trace.to_dict()
    assert quick().fit(X, Y).trace(frame.iloc[0].to_numpy(), 0).input_names[0] == "x₁"


def test_two_classes_have_one_output() -> None:
    model = quick().fit(X, NAMES[np.minimum(Y, 1)])
    trace = model.trace(X[0], "ant")
    same_numbers(trace, model, X[:1], ["ant"])
    assert trace.output_names == ("bee",) and trace.values["y"].tolist() == [0]


def test_labels_of_several_columns() -> None:
    labels = np.column_stack([Y == 0, Y != 2]).astype(int)
    model = quick().fit(X, labels)
    for y in ([1, 0], np.array([[1, 0]])):
        trace = model.trace(X[0], y)
        same_numbers(trace, model, X[:1], np.array([[1, 0]]))
        assert trace.output_names == ("label 0", "label 1") and trace.values["y"].tolist() == [1, 0]
        assert trace.prediction is not None
        assert trace.prediction.endswith("; those of the target are 0.")


@pytest.mark.parametrize("columns", [1, 3])
def test_numbers_of_one_or_several_outputs(columns: int) -> None:
    x, y = targets(columns)
    model = MLPRegressor(hidden_layer_sizes=5, max_iter=3, random_state=0).fit(x, y)
    trace = model.trace(x[0], y[0])
    same_numbers(trace, model, x[:1], y[:1])
    np.testing.assert_allclose(trace.values["y"], np.ravel(y[0]), rtol=1e-6)
    assert trace.prediction is None and len(trace.output_names) == columns
    assert model.trace(x[:1].tolist(), y[:1].tolist()).to_dict() == trace.to_dict()


def test_rows_and_targets_of_other_libraries() -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = polars.DataFrame(X, schema=[f"feature {k}" for k in range(6)])
    model = MLPRegressor(hidden_layer_sizes=5, max_iter=3, random_state=0).fit(frame, X[:, :2])
    trace = model.trace(frame[:1], X[0, :2])
    assert trace.input_names == tuple(frame.columns)
    for library in (polars, pandas):
        assert model.trace(frame[:1], library.Series(X[0, :2])).to_dict() == trace.to_dict()
    model = MLPRegressor(hidden_layer_sizes=5, max_iter=3, random_state=0).fit(X, X[:, 0])
    trace = model.trace(X[0], X[0, 0])
    sparse = scipy.sparse.csr_array(X)
    for x in (polars.Series(X[0]), pandas.Series(X[0], index=[*"abcdef"]), sparse[0], sparse[[0]]):
        assert model.trace(x, [[X[0, 0]]]).to_dict() == trace.to_dict()


def test_what_is_wrong_is_told() -> None:
    model = quick().fit(X, NAMES[Y])
    regressor = MLPRegressor(hidden_layer_sizes=5, max_iter=3).fit(X, X[:, 0])
    with pytest.raises(NotFittedError):
        MLPClassifier().trace(X[0], 0)
    for call, told in (
        (lambda: model.trace(X, "ant"), "^X has 120 rows, expected one$"),
        (lambda: model.trace(X[0], "dog"), "has classes not in `self.classes_`"),
        (
            lambda: model.trace(X[0, :5], "ant"),
            "X has 5 features, but MLPClassifier is expecting 6",
        ),
        (lambda: model.trace(X[0], "ant", learning_rate=-1), "^learning_rate is -1, expected a"),
        (lambda: model.trace(np.full(6, np.nan), "ant"), "Input X contains NaN"),
        (lambda: regressor.trace(X[0], [1.0, 2.0]), "^y has 2 columns, expected shape"),
        (lambda: model.trace(3, "ant"), "^X is 3, expected the inputs of one row$"),
        (lambda: model.trace({"a": 1}, "ant"), "^X is {'a': 1}, expected the inputs of one row$"),
    ):
        with pytest.raises(ValueError, match=told):
            call()


def test_the_example_of_the_docstring_runs() -> None:
    assert doctest.testmod(inspection).failed == 0
