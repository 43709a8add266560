"""The estimators in scikit-learn's own tools, and with the data that its users have."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from small_data import examples, not_converged, quick, targets

pytest.importorskip("sklearn", minversion="1.4")

import joblib
import scipy.sparse
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    cross_val_predict,
    cross_validate,
    learning_curve,
    validation_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_array_api_input

from gpubp import MLPClassifier, MLPRegressor, get_backend

pytestmark = not_converged

X, Y = examples(rows=150)
X2, Y2 = examples(rows=150, classes=2)
XR, YR = targets(columns=1, rows=150)
CLASSIFIER = quick(max_iter=40, batch_size=20, learning_rate_init=0.02, backend="numpy")


def regressor(**parameters: Any) -> MLPRegressor:
    settings: dict[str, Any] = {"max_iter": 40, "learning_rate_init": 0.02, "batch_size": 20}
    shape: dict[str, Any] = {"hidden_layer_sizes": (10,), "random_state": 0, "backend": "numpy"}
    return MLPRegressor(**shape, **(settings | parameters))


CLASSIFIERS: dict[str, Any] = {
    "pipeline": make_pipeline(StandardScaler(), CLASSIFIER),
    "calibrated": CalibratedClassifierCV(CLASSIFIER, cv=2),
    "bagging": BaggingClassifier(CLASSIFIER, n_estimators=3, random_state=0),
    "boosting": AdaBoostClassifier(CLASSIFIER, n_estimators=2, random_state=0),
    "voting": VotingClassifier(
        [("ours", CLASSIFIER), ("other", LogisticRegression())], voting="soft"
    ),
    "stacking": StackingClassifier([("ours", CLASSIFIER), ("other", LogisticRegression())], cv=2),
    "one against the rest": OneVsRestClassifier(CLASSIFIER),
    "one against one": OneVsOneClassifier(CLASSIFIER),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_made_of_ours_learn(name: str) -> None:
    model = clone(CLASSIFIERS[name]).fit(X, Y)
    assert accuracy_score(Y, model.predict(X)) > 0.8


REGRESSORS: dict[str, Any] = {
    "pipeline": make_pipeline(StandardScaler(), regressor()),
    "bagging": BaggingRegressor(regressor(), n_estimators=3, random_state=0),
    "voting": VotingRegressor([("ours", regressor()), ("other", Ridge())]),
    "stacking": StackingRegressor([("ours", regressor()), ("other", Ridge())], cv=2),
    "transformed target": TransformedTargetRegressor(regressor(), transformer=StandardScaler()),
}


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_made_of_ours_learn(name: str) -> None:
    model = clone(REGRESSORS[name]).fit(XR, YR)
    assert r2_score(YR, model.predict(XR)) > 0.5


@pytest.mark.parametrize("wrapper", [MultiOutputClassifier, ClassifierChain])
def test_several_outputs_of_one_class_each(wrapper: Any) -> None:
    y = np.column_stack([Y2, 1 - Y2])
    model = wrapper(CLASSIFIER).fit(X2, y)
    assert (model.predict(X2) == y).mean() > 0.8


def test_several_numbers_one_network_each() -> None:
    y = np.column_stack([YR, -YR])
    model = MultiOutputRegressor(regressor()).fit(XR, y)
    assert r2_score(y, model.predict(XR)) > 0.5


@pytest.mark.parametrize("search", [GridSearchCV, partial(HalvingGridSearchCV, random_state=0)])
def test_searches_over_processes_find_what_one_process_finds(search: Any) -> None:
    grid = {"mlpclassifier__alpha": [1e-4, 10.0], "mlpclassifier__hidden_layer_sizes": [(5,), 8]}
    found = [search(CLASSIFIERS["pipeline"], grid, cv=2, n_jobs=jobs).fit(X, Y) for jobs in (1, 2)]
    assert found[1].best_params_ == found[0].best_params_
    np.testing.assert_allclose(
        found[1].cv_results_["mean_test_score"], found[0].cv_results_["mean_test_score"], rtol=1e-6
    )
    assert found[1].best_score_ > 0.7


def test_validation_tools_score_what_fits_by_hand_score() -> None:
    folds = [(np.arange(0, 100), np.arange(100, 150)), (np.arange(50, 150), np.arange(50))]
    by_hand = [clone(CLASSIFIER).fit(X[a], Y[a]).score(X[b], Y[b]) for a, b in folds]
    scores = cross_validate(CLASSIFIER, X, Y, cv=folds, return_estimator=True)
    np.testing.assert_allclose(scores["test_score"], by_hand)
    assert [model.n_features_in_ for model in scores["estimator"]] == [6, 6]
    curve = validation_curve(
        CLASSIFIER, X, Y, param_name="alpha", param_range=[1e-4, 1.0], cv=folds
    )
    np.testing.assert_allclose(curve[1][0], by_hand)
    _, _, scores = learning_curve(CLASSIFIER, X, Y, train_sizes=[40, 100], cv=folds)
    np.testing.assert_allclose(scores[1], by_hand)


def test_probabilities_across_folds_are_probabilities() -> None:
    probabilities = cross_val_predict(CLASSIFIER, X, Y, cv=3, method="predict_proba")
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert accuracy_score(Y, probabilities.argmax(axis=1)) > 0.7


def test_permutation_importance_finds_the_columns_that_matter() -> None:
    noise = np.random.default_rng(5).normal(size=(150, 1))
    y = (X[:, 0] > 0).astype(int)
    model = clone(CLASSIFIER).fit(np.hstack([X[:, :1], noise]), y)
    found = permutation_importance(model, np.hstack([X[:, :1], noise]), y, random_state=0)
    matters, does_not = found.importances_mean
    assert matters > 0.3
    assert does_not < 0.1


# The data that users have.


def frame(library: str) -> Any:
    module = pytest.importorskip(library)
    columns = {f"x{k}": X[:, k] for k in range(X.shape[1])}
    return module.DataFrame(columns | {"kind": np.where(X[:, 0] > 0, "up", "down")})


def pipeline() -> Any:
    encode = ColumnTransformer(
        [("kind", OneHotEncoder(), ["kind"])], remainder=StandardScaler(), sparse_threshold=0
    )
    return make_pipeline(encode, CLASSIFIER)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_train_like_their_arrays(library: str) -> None:
    table = frame(library)
    labels = np.array(["a", "b", "c"])[Y]
    model = pipeline().fit(table, labels)
    up = (X[:, 0] > 0).astype(float)
    z = StandardScaler().fit_transform(X)
    by_hand = clone(CLASSIFIER).fit(np.column_stack([1 - up, up, z]), labels)
    np.testing.assert_array_equal(
        model.predict(table), by_hand.predict(np.column_stack([1 - up, up, z]))
    )
    assert set(model.classes_) == {"a", "b", "c"}


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_the_columns_of_a_frame_are_known_by_name(library: str) -> None:
    table = frame(library)
    numbers = table.drop(columns="kind") if library == "pandas" else table.drop("kind")
    model = clone(CLASSIFIER).fit(numbers, Y)
    assert list(model.feature_names_in_) == [f"x{k}" for k in range(6)]
    other = (
        numbers.rename(columns={"x0": "y0"})
        if library == "pandas"
        else numbers.rename({"x0": "y0"})
    )
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(other)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)


@pytest.mark.parametrize("kind", ["csr_array", "csc_matrix", "coo_array"])
def test_sparse_rows_go_through_a_pipeline(kind: str) -> None:
    dense = np.where(np.abs(X) < 0.7, 0, X)
    sparse = getattr(scipy.sparse, kind)(dense)
    scaled = make_pipeline(StandardScaler(with_mean=False), CLASSIFIER)
    model, like = clone(scaled).fit(sparse, Y), clone(scaled).fit(dense, Y)
    np.testing.assert_allclose(
        model.predict_proba(sparse), like.predict_proba(dense), rtol=1e-3, atol=1e-4
    )


# Arrays of other libraries.


@pytest.mark.parametrize(
    ("library", "device"), [("array_api_strict", "CPU_DEVICE"), ("torch", "cpu")]
)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_scikit_learns_check_of_other_libraries_arrays_passes(
    kind: Any, library: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(library)
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    model = kind(max_iter=3, random_state=0, dtype=None, backend="numpy")
    settings = {"check_values": True, "check_sample_weight": True}
    check_array_api_input(kind.__name__, model, library, device, **settings)


# Metadata routing.


@pytest.fixture
def routing() -> Iterator[None]:
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize(("model", "y"), [(CLASSIFIER, Y), (regressor(), YR)])
def test_sample_weights_are_routed(model: Any, y: Any) -> None:
    x = X if y is Y else XR
    weights = np.random.default_rng(2).uniform(0, 1, len(x))
    asked = clone(model).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    folds = [(np.arange(100), np.arange(100, 150))]
    scores = cross_validate(asked, x, y, cv=folds, params={"sample_weight": weights})
    by_hand = clone(model).fit(x[:100], y[:100], sample_weight=weights[:100])
    expected = by_hand.score(x[100:], y[100:], sample_weight=weights[100:])
    np.testing.assert_allclose(scores["test_score"], [expected])
    with pytest.raises(ValueError, match="sample_weight"):  # nobody has said where they go
        cross_validate(clone(model), x, y, cv=folds, params={"sample_weight": weights})


# Processes and threads.


def _fit_one(seed: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the filters of a test are not those of its processes
        return clone(CLASSIFIER).set_params(random_state=seed).fit(X, Y)


@pytest.mark.parametrize("kind", ["loky", "threading", "multiprocessing"])
def test_fits_beside_each_other_give_what_they_give_alone(kind: str) -> None:
    with joblib.parallel_config(backend=kind, n_jobs=2):
        together = joblib.Parallel()(joblib.delayed(_fit_one)(seed) for seed in range(4))
    for seed, model in enumerate(together):
        np.testing.assert_allclose(
            model.predict_proba(X), _fit_one(seed).predict_proba(X), rtol=1e-4, atol=1e-6
        )


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_a_search_runs_on_a_dask_cluster() -> None:
    distributed = pytest.importorskip("distributed")
    settings = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
    with distributed.Client(processes=False, **settings), joblib.parallel_config(backend="dask"):
        found = GridSearchCV(CLASSIFIER, {"alpha": [1e-4, 10.0]}, cv=2).fit(X, Y)
    alone = GridSearchCV(CLASSIFIER, {"alpha": [1e-4, 10.0]}, cv=2).fit(X, Y)
    assert found.best_params_ == alone.best_params_
    np.testing.assert_allclose(found.best_score_, alone.best_score_)


def test_an_estimator_with_a_backend_is_cloned_and_sent_to_processes() -> None:
    model = quick(backend=get_backend("numpy"))
    assert clone(model).backend is model.backend
    found = cross_validate(model, X, Y, cv=2, n_jobs=2)["test_score"]
    expected = cross_validate(model.set_params(backend="numpy"), X, Y, cv=2)["test_score"]
    np.testing.assert_array_equal(found, expected)
