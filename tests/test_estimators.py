"""MLPClassifier and MLPRegressor: scikit-learn's own checks, and scikit-learn's own MLPs as an oracle."""

from __future__ import annotations

import copy
import doctest
import inspect
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.4")

import joblib
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import gpubp
from gpubp import MLPClassifier, MLPRegressor
from gpubp.backends import Backend, backend_of


@pytest.fixture(autouse=True)
def on_the_cpu(no_backend_from_the_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes "auto" is compared with NumPy arrays; the tests on devices name them."""
    monkeypatch.setenv("GPUBP_BACKEND", "numpy")


not_converged = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# scikit-learn's conventions.

FINER_THAN_FLOAT32 = "it asks for agreement to 1e-7, which float32 training cannot give"
EXPECTED_FAILURES = {
    MLPClassifier: {
        "check_sample_weight_equivalence": FINER_THAN_FLOAT32,
        "check_sample_weight_equivalence_on_dense_data": FINER_THAN_FLOAT32,
        "check_sample_weight_equivalence_on_sparse_data": FINER_THAN_FLOAT32,
    },
    MLPRegressor: {
        "check_sample_weight_equivalence": FINER_THAN_FLOAT32,
        "check_sample_weight_equivalence_on_dense_data": FINER_THAN_FLOAT32,
        "check_sample_weight_equivalence_on_sparse_data": FINER_THAN_FLOAT32,
        "check_regressor_multioutput": "it asks for float64 predictions; theirs is the network's dtype",
    },
}


def expected_failures(estimator: Any) -> dict[str, str]:
    """None in float64, the dtype of scikit-learn's own."""
    return EXPECTED_FAILURES[type(estimator)] if estimator.dtype == "float32" else {}


def with_checks() -> Any:
    estimators = [
        MLPClassifier(max_iter=30),
        MLPRegressor(max_iter=30),
        MLPClassifier(max_iter=30, dtype="float64"),
        MLPRegressor(max_iter=30, dtype="float64"),
        MLPClassifier(max_iter=15, solver="lbfgs", dtype="float64"),
        MLPRegressor(max_iter=15, solver="lbfgs", dtype="float64"),
    ]
    if "expected_failed_checks" in inspect.signature(parametrize_with_checks).parameters:
        mark = parametrize_with_checks(estimators, expected_failed_checks=expected_failures)
    else:  # scikit-learn < 1.6
        mark = parametrize_with_checks([e for e in estimators if e.dtype == "float64"])
    names, checks = mark.args  # older versions give a generator, which pytest 9 warns of
    return pytest.mark.parametrize(names, list(checks), **mark.kwargs)


@not_converged
@with_checks()
def test_keeps_the_conventions_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(MLPClassifier, TheirClassifier), (MLPRegressor, TheirRegressor)]
)
def test_parameters_and_defaults_are_those_of_scikit_learn(ours: Any, theirs: Any) -> None:
    mine, others = ours().get_params(), theirs().get_params()
    own = {"backend": "auto", "dtype": "float32", "dropout": 0.0}
    if "loss" not in others:
        own |= {"loss": "squared_error"} if ours is MLPRegressor else {}
    assert mine == {**others, **own}


# scikit-learn's MLPs as an oracle.


def examples(rows: int = 120, classes: int = 3, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6))
    return x, (x @ rng.normal(size=(6, classes))).argmax(axis=1)


def targets(columns: int, rows: int = 120) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, 6))
    y = np.tanh(x @ rng.normal(size=(6, columns)))
    return x, y[:, 0] if columns == 1 else y


def both(
    ours: Any, theirs: Any, x: Any, y: Any, weights: Any = None, **parameters: Any
) -> tuple[Any, Any]:
    """Ours in float64 and theirs, fitted to the same data from the same random_state."""
    settings = {"random_state": 3, "shuffle": False, "hidden_layer_sizes": (8, 5), **parameters}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        given = {} if weights is None else {"sample_weight": weights}
        mine = ours(dtype="float64", backend="numpy", **settings).fit(x, y, **given)
        other = theirs(**settings).fit(x, y, **given)
    return mine, other


def assert_same_weights(mine: Any, other: Any, atol: float) -> None:
    assert mine.n_iter_ == other.n_iter_
    assert mine.t_ == other.t_
    assert mine.out_activation_ == other.out_activation_
    for ours, theirs in zip(
        mine.coefs_ + mine.intercepts_, other.coefs_ + other.intercepts_, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_takes_the_steps_of_scikit_learn(classes: int, activation: str, nesterov: bool) -> None:
    mine, other = both(
        MLPClassifier,
        TheirClassifier,
        *examples(classes=classes),
        solver="sgd",
        activation=activation,
        nesterovs_momentum=nesterov,
        learning_rate_init=0.1,
        batch_size=30,
        alpha=0.3,
        max_iter=8,
    )
    assert_same_weights(mine, other, 1e-13)
    np.testing.assert_allclose(mine.loss_curve_, other.loss_curve_, rtol=2e-3)


@pytest.mark.parametrize(
    "schedule", [{"learning_rate": "invscaling", "power_t": 0.3}, {"learning_rate": "adaptive"}]
)
def test_learning_rates_change_as_in_scikit_learn(schedule: dict[str, Any]) -> None:
    mine, other = both(
        MLPClassifier,
        TheirClassifier,
        *examples(),
        solver="sgd",
        learning_rate_init=0.2,
        momentum=0.0,
        tol=0.05,
        n_iter_no_change=1,
        batch_size=40,
        max_iter=60,
        **schedule,
    )
    assert_same_weights(mine, other, 1e-12)


def test_adam_agrees_but_for_where_epsilon_enters() -> None:
    parameters = {"activation": "tanh", "alpha": 0.1, "batch_size": 40, "max_iter": 10}
    exact = both(MLPClassifier, TheirClassifier, *examples(), epsilon=1e-15, **parameters)
    assert_same_weights(*exact, 1e-8)
    default = both(MLPClassifier, TheirClassifier, *examples(), **parameters)
    assert_same_weights(*default, 1e-3)


def test_lbfgs_agrees_with_scikit_learn() -> None:
    mine, other = both(
        MLPClassifier, TheirClassifier, *examples(), solver="lbfgs", max_iter=10, alpha=0.1
    )
    assert_same_weights(mine, other, 1e-9)
    assert mine.loss_ == pytest.approx(other.loss_, rel=1e-12)


def test_multilabel_agrees_with_scikit_learn() -> None:
    x, y = targets(4)
    mine, other = both(
        MLPClassifier, TheirClassifier, x, (y > 0).astype(int), solver="sgd", max_iter=5
    )
    assert_same_weights(mine, other, 1e-13)
    np.testing.assert_array_equal(mine.predict(x), other.predict(x))
    np.testing.assert_allclose(mine.predict_proba(x), other.predict_proba(x), atol=1e-12)
    assert mine.score(x, y > 0) == other.score(x, y > 0)


@pytest.mark.parametrize("columns", [1, 3])
def test_regression_agrees_with_scikit_learn(columns: int) -> None:
    x, y = targets(columns)
    mine, other = both(MLPRegressor, TheirRegressor, x, y, solver="sgd", max_iter=10)
    assert_same_weights(mine, other, 1e-13)
    np.testing.assert_allclose(mine.predict(x), other.predict(x), atol=1e-12)
    assert mine.score(x, y) == pytest.approx(other.score(x, y), abs=1e-12)


@pytest.mark.skipif(
    "loss" not in TheirRegressor().get_params(), reason="scikit-learn < 1.7 has no loss"
)
def test_poisson_agrees_with_scikit_learn() -> None:
    x, y = targets(1)
    mine, other = both(
        MLPRegressor, TheirRegressor, x, np.exp(y), solver="sgd", loss="poisson", max_iter=10
    )
    assert_same_weights(mine, other, 1e-13)
    assert mine.out_activation_ == "exp"


@pytest.mark.skipif(
    "sample_weight" not in inspect.signature(TheirClassifier.fit).parameters,
    reason="scikit-learn < 1.7 has no sample_weight",
)
def test_sample_weights_agree_with_scikit_learn() -> None:
    x, y = examples()
    weights = np.random.default_rng(0).uniform(0, 3, len(y))
    mine, other = both(
        MLPClassifier, TheirClassifier, x, y, weights, solver="sgd", alpha=1.0, max_iter=10
    )
    assert_same_weights(mine, other, 1e-13)


@pytest.mark.parametrize(
    ("ours", "theirs", "data"),
    [
        (MLPClassifier, TheirClassifier, examples(200)),
        (MLPClassifier, TheirClassifier, examples(200, classes=2)),
        (MLPRegressor, TheirRegressor, targets(1, 200)),
    ],
)
def test_early_stopping_holds_out_and_scores_as_scikit_learn(
    ours: Any, theirs: Any, data: tuple[Any, Any]
) -> None:
    mine, other = both(
        ours,
        theirs,
        *data,
        solver="sgd",
        learning_rate_init=0.2,
        early_stopping=True,
        n_iter_no_change=3,
        batch_size=45,
    )
    assert_same_weights(mine, other, 1e-10)
    assert mine.n_iter_ < mine.max_iter
    np.testing.assert_allclose(mine.validation_scores_, other.validation_scores_, atol=1e-10)
    assert mine.best_validation_score_ == max(mine.validation_scores_)
    assert mine.best_loss_ is None


def test_partial_fit_goes_on_as_in_scikit_learn() -> None:
    x, y = examples()
    parameters = {"solver": "sgd", "shuffle": False, "random_state": 0, "alpha": 0.5}
    mine, other = MLPClassifier(dtype="float64", **parameters), TheirClassifier(**parameters)
    for rows in (slice(0, 50), slice(50, 120), slice(0, 50), slice(90, 100)):
        mine.partial_fit(x[rows], y[rows], classes=[0, 1, 2])
        other.partial_fit(x[rows], y[rows], classes=[0, 1, 2])
    assert_same_weights(mine, other, 1e-13)
    np.testing.assert_allclose(mine.loss_curve_, other.loss_curve_, rtol=1e-12)


@not_converged
def test_accuracy_on_digits_is_no_worse_than_scikit_learns() -> None:
    x, y = load_digits(return_X_y=True)
    train_x, x, train_y, y = train_test_split(x / 16, y, random_state=0, stratify=y)
    scores = [
        model(random_state=0, max_iter=40).fit(train_x, train_y).score(x, y)
        for model in (MLPClassifier, TheirClassifier)
    ]
    assert scores[0] >= max(scores[1] - 0.015, 0.95)


@not_converged
def test_accuracy_on_breast_cancer_is_no_worse_than_scikit_learns() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    train_x, x, train_y, y = train_test_split(x, y, random_state=0, stratify=y)
    scores = [
        make_pipeline(StandardScaler(), model(random_state=0, max_iter=100))
        .fit(train_x, train_y)
        .score(x, y)
        for model in (MLPClassifier, TheirClassifier)
    ]
    assert scores[0] >= max(scores[1] - 0.01, 0.95)


@not_converged
def test_r2_on_diabetes_is_no_worse_than_scikit_learns() -> None:
    x, y = load_diabetes(return_X_y=True, scaled=False)
    x = StandardScaler().fit_transform(x)
    train_x, x, train_y, y = train_test_split(x, y, random_state=0)
    parameters = {"hidden_layer_sizes": 20, "alpha": 20.0, "random_state": 0}
    scores = [
        model(learning_rate_init=0.01, **parameters).fit(train_x, train_y).score(x, y)
        for model in (MLPRegressor, TheirRegressor)
    ]
    assert scores[0] >= scores[1] - 0.03
    assert scores[0] > 0.2


# What an estimator promises.


def quick(**parameters: Any) -> MLPClassifier:
    return MLPClassifier((10,), random_state=0, **{"max_iter": 5, "batch_size": 30, **parameters})


@not_converged
def test_a_random_state_gives_the_same_network_again() -> None:
    x, y = examples()
    first, second = quick(dropout=0.2).fit(x, y), quick(dropout=0.2).fit(x, y)
    np.testing.assert_array_equal(first.network_.parameters, second.network_.parameters)
    other = quick(dropout=0.2).set_params(random_state=1).fit(x, y)
    assert not np.array_equal(first.network_.parameters, other.network_.parameters)


@not_converged
def test_attributes_describe_the_network() -> None:
    x, y = examples()
    model = quick().fit(x, y)
    assert [w.shape for w in model.coefs_] == [(6, 10), (10, 3)]
    assert [b.shape for b in model.intercepts_] == [(10,), (3,)]
    assert np.shares_memory(model.coefs_[0], model.network_.parameters)
    assert (model.n_layers_, model.n_outputs_, model.n_features_in_) == (3, 3, 6)
    assert (model.n_iter_, model.t_, model.out_activation_) == (5, 600, "softmax")
    assert model.loss_ == model.loss_curve_[-1]
    assert model.best_loss_ == min(model.loss_curve_)
    assert len(model.history_) == 5
    assert model.validation_scores_ is None
    assert isinstance(model.network_, gpubp.Network)


@not_converged
@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw", "rmsprop", "lion", "lbfgs"])
@pytest.mark.parametrize(
    "activation", ["relu", "gelu", "silu", gpubp.get_activation("elu", alpha=0.5)]
)
def test_every_solver_and_activation_lowers_the_loss(solver: str, activation: Any) -> None:
    x, y = examples()
    model = quick(solver=solver, activation=activation, max_iter=20).fit(x, y)
    assert model.history_.cost[-1] < model.history_.cost[0]
    clone(model)


@not_converged
@pytest.mark.parametrize(
    "loss",
    ["huber", "absolute_error", "log_cosh", "quantile", "quadratic", "poisson", "binary_cross_entropy",
     gpubp.get_cost("quantile", quantile=0.9)],
)  # fmt: skip
def test_regression_takes_every_loss(loss: Any) -> None:
    x, y = targets(1)
    model = MLPRegressor(
        hidden_layer_sizes=20, loss=loss, random_state=0, max_iter=60, learning_rate_init=0.01
    )
    model = clone(model).fit(x, (y + 1) / 2)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert np.corrcoef(model.predict(x), y)[0, 1] > 0.6


@not_converged
@pytest.mark.parametrize("labels", [["no", "yes"], ["a", "b", "c"]])
def test_labels_may_be_strings(labels: list[str]) -> None:
    x, codes = examples(classes=len(labels))
    model = quick(max_iter=60, learning_rate_init=0.02).fit(x, np.array(labels)[codes])
    assert list(model.classes_) == labels
    assert set(model.predict(x)) == set(labels)
    assert model.score(x, np.array(labels, object)[codes]) > 0.9
    probabilities = model.predict_proba(x)
    assert probabilities.shape == (120, len(labels))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(np.array(labels)[probabilities.argmax(axis=1)], model.predict(x))


@not_converged
@pytest.mark.parametrize("classes", [2, 3])
def test_log_probabilities_are_finite_where_probabilities_vanish(classes: int) -> None:
    x, y = examples(classes=classes)
    model = quick().fit(x, y)
    np.testing.assert_allclose(
        model.predict_log_proba(x), np.log(model.predict_proba(x)), rtol=1e-4
    )
    far = model.predict_log_proba(x * 1e5)
    assert model.predict_proba(x * 1e5).min() == 0
    assert np.isfinite(far).all()
    assert far.min() < -1000


@not_converged
def test_labels_have_log_probabilities_each() -> None:
    x, y = targets(3)
    model = quick().fit(x, y > 0)
    np.testing.assert_allclose(
        model.predict_log_proba(x), np.log(model.predict_proba(x)), rtol=1e-4
    )


@not_converged
@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_a_weight_of_two_is_a_row_twice(solver: str) -> None:
    x, y = examples(60)
    weights = np.random.default_rng(0).integers(0, 4, len(y))
    model = quick(solver=solver, alpha=2.0, dtype="float64", batch_size="auto", shuffle=False)
    weighted = clone(model).fit(x, y, sample_weight=weights)
    repeated = clone(model).fit(x.repeat(weights, axis=0), y.repeat(weights))
    np.testing.assert_allclose(
        weighted.network_.parameters, repeated.network_.parameters, rtol=0, atol=1e-9
    )


@not_converged
def test_warm_start_goes_on_and_a_plain_fit_starts_anew() -> None:
    x, y = examples()
    warm = quick(warm_start=True).fit(x, y)
    network, cost = warm.network_, warm.loss_
    warm.fit(x, y)
    assert warm.network_ is network
    assert warm.loss_curve_[5] < cost
    assert (len(warm.loss_curve_), warm.n_iter_, warm.t_) == (10, 5, 1200)
    cold = quick().fit(x, y)
    before = cold.network_
    assert cold.fit(x, y).network_ is not before
    assert len(cold.loss_curve_) == 5


@not_converged
def test_warm_start_tells_what_must_stay_the_same() -> None:
    x, y = examples()
    model = quick(warm_start=True).fit(x, y)
    with pytest.raises(ValueError, match=r"y holds the classes \[3\], which are not in classes_"):
        model.fit(x, y + 1)
    with pytest.raises(ValueError, match=r"widths are now \(6, 7, 3\), but were \(6, 10, 3\)"):
        model.set_params(hidden_layer_sizes=7).fit(x, y)


def test_partial_fit_needs_classes_first_and_batches() -> None:
    x, y = examples()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        quick().partial_fit(x, y)
    model = quick().partial_fit(x[y < 2], y[y < 2], classes=[0, 1, 2])
    assert model.predict_proba(x).shape == (120, 3)
    model.partial_fit(x, y)
    with pytest.raises(ValueError, match="y holds the classes"):
        model.partial_fit(x, y + 1)
    with pytest.raises(ValueError, match="early_stopping"):
        quick(early_stopping=True).partial_fit(x, y, classes=[0, 1, 2])
    assert not hasattr(quick(solver="lbfgs"), "partial_fit")
    many = quick().partial_fit(x, np.eye(3, dtype=int)[y])
    assert many.predict(x).shape == (120, 3)


@pytest.mark.parametrize("copied", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
@pytest.mark.parametrize("solver", ["sgd", "adam", "rmsprop"])
def test_a_pickle_predicts_and_goes_on_like_the_original(copied: Any, solver: str) -> None:
    x, y = examples()
    model = quick(solver=solver, dropout=0.1)
    for _ in range(3):
        model.partial_fit(x, y, classes=[0, 1, 2])
    twin = copied(model)
    np.testing.assert_array_equal(twin.predict_proba(x), model.predict_proba(x))
    for m in (model, twin):
        m.partial_fit(x, y)
    np.testing.assert_array_equal(twin.network_.parameters, model.network_.parameters)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_an_estimator_read_from_a_mapped_file_goes_on(tmp_path: Path, solver: str) -> None:
    x, y = examples()
    model = quick(solver=solver).partial_fit(x, y, classes=[0, 1, 2])
    joblib.dump(model, tmp_path / "model")
    loaded = joblib.load(tmp_path / "model", mmap_mode="r")
    for m in (model, loaded):
        m.partial_fit(x, y)
    np.testing.assert_array_equal(loaded.network_.parameters, model.network_.parameters)


@not_converged
def test_a_fitted_estimator_keeps_no_training_data() -> None:
    x, y = examples(5000)
    assert len(pickle.dumps(quick(max_iter=1, batch_size=200).fit(x, y))) < 20_000


@not_converged
def test_grid_search_in_a_pipeline() -> None:
    x, y = examples()
    pipeline = make_pipeline(StandardScaler(), quick(max_iter=30))
    grid = {
        "mlpclassifier__learning_rate_init": [1e-6, 0.02],
        "mlpclassifier__activation": ["tanh"],
    }
    search = GridSearchCV(pipeline, grid, cv=3, n_jobs=1, error_score="raise").fit(x, y)
    assert search.best_params_["mlpclassifier__learning_rate_init"] == 0.02
    assert search.best_score_ > 0.8


@not_converged
@pytest.mark.parametrize("form", [scipy.sparse.csr_matrix, scipy.sparse.csc_matrix])
@pytest.mark.parametrize("parameters", [{}, {"early_stopping": True}, {"solver": "lbfgs"}])
def test_sparse_rows_train_and_predict_like_dense_ones(form: Any, parameters: Any) -> None:
    x, y = examples()
    x = x * (np.abs(x) > 0.5)
    dense, sparse = quick(**parameters).fit(x, y), quick(**parameters).fit(form(x), y)
    np.testing.assert_allclose(sparse.network_.parameters, dense.network_.parameters, atol=1e-5)
    np.testing.assert_allclose(sparse.predict_proba(form(x)), dense.predict_proba(x), atol=1e-5)
    np.testing.assert_allclose(
        sparse.predict_log_proba(form(x)), dense.predict_log_proba(x), atol=1e-4
    )


def test_it_stops_when_the_loss_stops_falling_and_warns_when_it_does_not() -> None:
    x, y = examples()
    model = quick(max_iter=500, tol=0.01, n_iter_no_change=2, learning_rate_init=0.05).fit(x, y)
    assert model.n_iter_ < 500
    assert model.history_.stopped == "converged"
    with pytest.warns(ConvergenceWarning, match="max_iter=5 epochs are done"):
        quick().fit(x, y)
    with pytest.warns(ConvergenceWarning, match="lbfgs did not converge in 2 iterations"):
        quick(solver="lbfgs", max_iter=2).fit(x, y)
    with pytest.warns(UserWarning, match="batch_size is 500, but there are 120 rows"):
        quick(max_iter=300, tol=1.0, batch_size=500).fit(x, y)


def test_verbose_prints_the_loss_of_each_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = examples()
    quick(verbose=True, max_iter=100, tol=9.0, early_stopping=True, n_iter_no_change=1).fit(x, y)
    quick(verbose=True, max_iter=100, solver="lbfgs", tol=0.1).fit(x, y)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("epoch 1, loss ")
    assert "validation score" in printed[0]
    assert printed[-1].startswith("iteration ")


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"alpha": -1}, "alpha is -1, expected a number at least 0"),
        ({"max_iter": 0}, "max_iter is 0, expected a whole number at least 1"),
        ({"momentum": 1.0}, "momentum is 1.0, expected a number at least 0 and below 1"),
        ({"beta_1": 1.5}, "beta_1 is 1.5"),
        ({"dropout": 1}, "dropout is 1"),
        ({"batch_size": "all"}, "batch_size is 'all'"),
        ({"shuffle": "yes"}, "shuffle is 'yes', expected True or False"),
        ({"n_iter_no_change": 0}, "n_iter_no_change is 0"),
        ({"activation": "rellu"}, "unknown activation 'rellu'; did you mean 'relu'?"),
        ({"activation": "softmax"}, "unknown activation 'softmax'"),
        ({"activation": ["relu"]}, r"unknown activation \['relu'\]"),
        ({"solver": "adm"}, "unknown solver 'adm'; did you mean 'adam'?"),
        ({"learning_rate": "adaptiv"}, "unknown learning_rate 'adaptiv'; did you mean 'adaptive'?"),
        ({"hidden_layer_sizes": (10, 0)}, "each of hidden_layer_sizes is 0"),
        ({"hidden_layer_sizes": "10"}, "hidden_layer_sizes is '10', expected widths"),
        ({"dtype": "float16"}, "dtype is 'float16', expected 'float32' or 'float64'"),
        ({"dtype": "double precision"}, "dtype is 'double precision'"),
        ({"backend": "torch"}, "unknown backend 'torch'"),
        ({"solver": "lbfgs", "dropout": 0.5}, "dropout is 0.5, expected 0 with solver 'lbfgs'"),
        ({"early_stopping": True, "validation_fraction": 0.005}, "is 0.005, which of 120 rows holds"),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_told_and_nothing_changes(parameters: Any, told: str) -> None:
    x, y = examples()
    model = MLPClassifier(**parameters)
    with pytest.raises(ValueError, match=told.replace("?", r"\?")):
        model.fit(x, y)
    assert not hasattr(model, "network_")
    with pytest.raises(NotFittedError):
        model.predict(x)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda x, y: (x, np.stack([y, y], axis=1)), "y has 2 columns of classes"),
        (lambda x, y: (x, y + 0.5), "Unknown label type"),
        (lambda x, y: (x[:-1], y), "inconsistent numbers of samples"),
        (lambda x, y: (x * np.nan, y), "NaN"),
    ],
)
def test_bad_data_are_told(change: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        quick().fit(*change(*examples()))


def test_bad_weights_and_losses_are_told() -> None:
    x, y = examples()
    with pytest.raises(ValueError, match="sample_weight holds -1"):
        quick().fit(x, y, sample_weight=-np.ones(120))
    with pytest.raises(
        ValueError, match="unknown loss 'squared_eror'; did you mean 'squared_error'"
    ):
        MLPRegressor("squared_eror").fit(x, y)
    with pytest.raises(ValueError, match="unknown loss 'cross_entropy'"):
        MLPRegressor("cross_entropy").fit(x, y)
    with pytest.raises(ValueError, match="y holds -1, expected no negative number"):
        MLPRegressor("poisson").fit(x, y - 1)


@not_converged
def test_divergence_is_told_and_a_warm_network_is_left_as_it_was() -> None:
    x, y = targets(1)
    model = MLPRegressor(
        hidden_layer_sizes=10, random_state=0, max_iter=3, warm_start=True, solver="sgd"
    ).fit(x, y)
    curve = list(model.loss_curve_)
    with pytest.raises(gpubp.DivergenceError, match="lower learning rate"):
        model.set_params(learning_rate_init=1e30, max_iter=50).fit(x, y)
    assert np.isfinite(model.network_.parameters).all()
    assert model.loss_curve_ == curve


def test_gpubp_imports_without_scikit_learn() -> None:
    program = (
        "import sys; sys.modules['sklearn'] = None; import gpubp\n"
        "try: gpubp.MLPClassifier\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == (
        "gpubp.MLPClassifier needs scikit-learn 1.4 or later; pip install 'gpubp[sklearn]'"
    )
    assert {"MLPClassifier", "MLPRegressor"} <= set(dir(gpubp))
    with pytest.raises(AttributeError, match="no attribute 'MLPKlassifier'"):
        gpubp.MLPKlassifier  # noqa: B018


@pytest.mark.parametrize("model", [MLPClassifier, MLPRegressor])
def test_examples_in_the_docstrings_run(model: Any) -> None:
    assert doctest.testmod(sys.modules[model.__module__]).failed == 0


# Arrays on a device.


@not_converged
@pytest.mark.parametrize(
    "parameters", [{}, {"early_stopping": True}, {"solver": "lbfgs", "max_iter": 3}]
)
def test_device_arrays_stay_on_their_device(
    cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any]
) -> None:
    x, y = examples()
    x = x.astype(np.float32)
    expected = quick(backend="numpy", **parameters).fit(x, y)
    given, brought = cuda_backend.asarray(x), cuda_backend.to_numpy

    def to_numpy(array: Any) -> Any:
        assert array.ndim < 2 or array.shape[1] != x.shape[1], "X was copied to the host"
        return brought(array)

    monkeypatch.setattr(cuda_backend, "to_numpy", to_numpy)
    model = quick(backend="cupy", **parameters).fit(given, cuda_backend.asarray(y))
    assert model.network_.backend is cuda_backend
    for method in ("predict", "predict_proba", "predict_log_proba"):
        result = getattr(model, method)(given)
        assert backend_of(result) is cuda_backend
        np.testing.assert_allclose(
            brought(result), getattr(expected, method)(x), rtol=2e-3, atol=2e-4
        )
    assert model.score(given, cuda_backend.asarray(y)) == expected.score(x, y)
    with pytest.raises(ValueError, match="X has 5 columns, expected 6"):
        model.predict(given[:, :5])


@not_converged
def test_regression_on_a_device(cuda_backend: Backend) -> None:
    x, y = (v.astype(np.float32) for v in targets(2))
    expected = MLPRegressor(hidden_layer_sizes=8, random_state=0, max_iter=4, backend="numpy").fit(
        x, y
    )
    model = MLPRegressor(hidden_layer_sizes=8, random_state=0, max_iter=4, backend="cupy")
    model.fit(cuda_backend.asarray(x), cuda_backend.asarray(y))
    result = model.predict(cuda_backend.asarray(x))
    assert backend_of(result) is cuda_backend
    np.testing.assert_allclose(cuda_backend.to_numpy(result), expected.predict(x), atol=1e-4)
    host = pickle.loads(pickle.dumps(model)).predict(x)
    np.testing.assert_allclose(host, expected.predict(x), atol=1e-4)
