"""Small behaviours that are the same as in scikit-learn."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from small_data import examples, not_converged, targets

pytest.importorskip("sklearn", minversion="1.7")

import sklearn
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor

from gpubp import MLPClassifier, MLPRegressor
from gpubp.arrays import dense
from gpubp.backends import Backend

X, Y = examples(60)
LABELS = np.eye(3, dtype=int)[Y]
QUICK: dict[str, Any] = {"hidden_layer_sizes": 4, "max_iter": 3, "random_state": 0}
BOTH = pytest.mark.parametrize(
    ("ours", "theirs"), [(MLPClassifier, TheirClassifier), (MLPRegressor, TheirRegressor)]
)


@not_converged
@pytest.mark.parametrize(
    "y",
    [
        np.array(["a", "bc", "d"])[Y],
        np.array(["a", "bc", "d"], object)[Y],
        ["no", "yes"] * 30,
        Y == 1,
        Y.astype(float),
        Y.astype("int8"),
        Y * 0 + 7,
        LABELS,
        LABELS.astype(float),
        scipy.sparse.csr_matrix(LABELS),
        scipy.sparse.csc_array(LABELS),
        LABELS * 2 - 1,
    ],
    ids=lambda y: f"{type(y).__name__}-{getattr(y, 'dtype', '')}-{np.ndim(y)}",
)
def test_classes_and_predictions_are_those_of_scikit_learn_and_have_their_type(y: Any) -> None:
    ours, theirs = MLPClassifier(dtype=None, **QUICK).fit(X, y), TheirClassifier(**QUICK).fit(X, y)
    assert ours.classes_.dtype == theirs.classes_.dtype
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    found, expected = ours.predict(X), theirs.predict(X)
    assert type(found) is type(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(*(dense(labels) for labels in (found, expected)))
    assert (ours.n_outputs_, ours.out_activation_) == (theirs.n_outputs_, theirs.out_activation_)
    assert ours.predict_proba(X).shape == theirs.predict_proba(X).shape
    assert ours.predict_log_proba(X).shape == ours.predict_proba(X).shape
    assert ours.score(X, y) == theirs.score(X, y)


@not_converged
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "float16"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_without_a_dtype_the_network_follows_x(backend: Backend, dtype: str, solver: str) -> None:
    expected = dtype if dtype == "float32" else "float64"
    x = (X * 10).astype(dtype)
    model = MLPRegressor(dtype=None, backend=backend, solver=solver, **QUICK).fit(x, X[:, 0])
    assert model.network_.dtype == expected
    assert model.predict(x.astype("float64")).dtype == expected
    assert {v.dtype for v in model.coefs_ + model.intercepts_} == {np.dtype(expected)}


@not_converged
def test_without_a_dtype_the_network_follows_x_on_a_device(cuda_backend: Backend) -> None:
    for dtype, expected in (("float32", "float32"), ("float64", "float64"), ("int32", "float64")):
        x = cuda_backend.asarray((X * 10).astype(dtype))
        model = MLPClassifier(dtype=None, backend=cuda_backend, **QUICK).fit(x, Y)
        assert model.network_.dtype == expected
        assert model.predict_proba(x).dtype == expected


@not_converged
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_network_that_goes_on_keeps_its_dtype(solver: str) -> None:
    model = MLPClassifier(dtype=None, warm_start=True, solver=solver, **QUICK).fit(X, Y)
    assert model.fit(X.astype("float32"), Y).network_.dtype == "float64"
    assert model.set_params(warm_start=False).fit(X.astype("float32"), Y).predict_proba(
        X
    ).dtype == ("float32")


@not_converged
@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@BOTH
def test_a_fit_sets_the_attributes_of_scikit_learn(
    ours: Any, theirs: Any, solver: str, stops: bool
) -> None:
    y = Y if ours is MLPClassifier else X[:, 0]
    mine, other = (
        m(solver=solver, early_stopping=stops, **QUICK).fit(X, y) for m in (ours, theirs)
    )
    public = {name for name in dir(other) if name.endswith("_") and not name.startswith("_")}
    assert public <= set(dir(mine))
    more = {"network_", "history_"} | ({"multilabel_"} if ours is MLPClassifier else set())
    assert (
        more
        == {name for name in dir(mine) if name.endswith("_") and not name.startswith("_")} - public
    )
    for name in ("n_features_in_", "n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_"):
        assert getattr(mine, name) == getattr(other, name)
    for name in public:
        assert (getattr(mine, name) is None) == (getattr(other, name) is None), name
    if solver != "lbfgs":
        assert mine._no_improvement_count == other._no_improvement_count


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("y", [LABELS, Y, Y % 2], ids=["labels", "classes", "two classes"])
def test_log_probabilities_are_the_logarithms_of_the_probabilities(y: Any) -> None:
    """Also where they are saturated, as those of scikit-learn."""
    model = MLPClassifier(solver="lbfgs", tol=1e-3, random_state=0, dtype=None).fit(X, y)
    for factor in (1, 30, 1e4):
        probabilities, logarithms = (
            f(X * factor) for f in (model.predict_proba, model.predict_log_proba)
        )
        positive = probabilities > 0
        np.testing.assert_allclose(logarithms[positive], np.log(probabilities[positive]), rtol=1e-7)
        np.testing.assert_array_equal(logarithms.argmax(axis=1), probabilities.argmax(axis=1))
        assert np.isfinite(logarithms).all()
    assert not positive.all()


@not_converged
@BOTH
def test_a_number_is_the_weight_of_every_row(ours: Any, theirs: Any) -> None:
    y = Y if ours is MLPClassifier else X[:, 0]
    found = [ours(dtype=None, **QUICK).fit(X, y, sample_weight=w) for w in (2.5, np.full(60, 2.5))]
    np.testing.assert_array_equal(found[0].coefs_[0], found[1].coefs_[0])
    assert theirs(**QUICK).fit(X, y, sample_weight=2.5).n_iter_ == found[0].n_iter_


@BOTH
def test_an_estimator_describes_itself_as_in_scikit_learn(ours: Any, theirs: Any) -> None:
    given = {"alpha": 0.1, "hidden_layer_sizes": (3, 2)}
    assert repr(ours(**given)) == repr(theirs(**given))
    assert set(theirs().get_params()) <= set(ours().get_params())
    told = "This {} instance is not fitted yet. Call 'fit' with appropriate arguments before"
    with pytest.raises(NotFittedError, match=told.format(ours.__name__)):
        ours().predict(X)
    assert not hasattr(ours(), "coefs_")
    assert not hasattr(ours(), "_optimizer")
    with pytest.raises(AttributeError, match=f"{ours.__name__!r} object has no attribute 'coefs_'"):
        ours().coefs_  # noqa: B018


@not_converged
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
@BOTH
def test_a_warning_names_the_line_of_the_user(ours: Any, theirs: Any, how: str) -> None:
    first = {"classes": [0, 1, 2]} if (ours, how) == (MLPClassifier, "partial_fit") else {}
    for model in (ours, theirs):
        with pytest.warns(UserWarning, match="Got `batch_size` less than 1 or larger") as caught:
            getattr(model(batch_size=61, **QUICK), how)(X, Y, **first)
        if model is ours:
            assert {warning.filename for warning in caught} == {__file__}


@BOTH
def test_metadata_can_be_requested_as_in_scikit_learn(ours: Any, theirs: Any) -> None:
    def requests_of(model: Any) -> str:
        return re.sub(
            r", '(X_val|y_val|sample_weight_val)': None", "", str(model.get_metadata_routing())
        )

    with sklearn.config_context(enable_metadata_routing=True):
        assert requests_of(ours()) == requests_of(theirs())
        for name in ("set_fit_request", "set_partial_fit_request", "set_score_request"):
            mine, other = (getattr(m(), name)(sample_weight=True) for m in (ours, theirs))
            assert requests_of(mine) == requests_of(other)


@not_converged
def test_regressors_of_one_column_predict_one_axis() -> None:
    x, y = targets(1, 60)
    with pytest.warns(sklearn.exceptions.DataConversionWarning):
        model = MLPRegressor(**QUICK).fit(x, y[:, None])
    assert model.predict(x).shape == (60,)


@not_converged
@pytest.mark.parametrize("dispatch", [True, False])
def test_arrays_of_another_library_come_back_as_such_where_scikit_learn_dispatches(
    dispatch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    xp = pytest.importorskip("array_api_strict")
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    x, y, weights, labels = (xp.asarray(v) for v in (X, Y, np.arange(60.0), LABELS))
    with sklearn.config_context(array_api_dispatch=dispatch):
        model = MLPClassifier(early_stopping=True, **QUICK).fit(x, y, weights)
        expected = MLPClassifier(early_stopping=True, **QUICK).fit(X, Y, np.arange(60.0))
        for method in ("predict", "predict_proba", "predict_log_proba"):
            found = getattr(model, method)(x)
            assert type(found) is type(x if dispatch else X)
            np.testing.assert_array_equal(np.asarray(found), getattr(expected, method)(X))
        assert model.score(x, y, weights) == expected.score(X, Y, np.arange(60.0))
        assert type(model.classes_) is type(x if dispatch else X)
        np.testing.assert_array_equal(np.asarray(model.classes_), [0, 1, 2])
        model = MLPClassifier(**QUICK).partial_fit(x, y, classes=xp.asarray([0, 1, 2]))
        assert model.partial_fit(x, y).t_ == 120
        assert MLPClassifier(**QUICK).fit(x, labels).predict(x).shape == (60, 3)
        assert MLPClassifier(**QUICK).fit(x, np.array(["a", "b", "c"])[Y]).predict(x).dtype == "<U1"
        weighted = MLPClassifier(class_weight="balanced", warm_start=True, **QUICK)
        assert weighted.fit(x, y).fit(x, y).predict(x).shape == (60,)
        regressor = MLPRegressor(**QUICK).fit(x, x[:, 0])
        assert type(regressor.predict(x)) is type(x if dispatch else X)
        assert regressor.score(x, x[:, 0]) == MLPRegressor(**QUICK).fit(X, X[:, 0]).score(
            X, X[:, 0]
        )
