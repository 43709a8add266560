"""In float64 the estimators compute scikit-learn's numbers, to rounding."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from small_data import not_converged

pytest.importorskip("sklearn", minversion="1.7")

from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import PoissonRegressor
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.preprocessing import scale

from gpubp import DivergenceError, MLPClassifier, MLPRegressor
from gpubp.arrays import to_host
from gpubp.backends import Backend

pytestmark = not_converged

THEIRS: dict[Any, Any] = {MLPClassifier: TheirClassifier, MLPRegressor: TheirRegressor}


def standardized(load: Callable[..., Any], rows: int) -> tuple[Any, Any]:
    X, y = load(return_X_y=True)
    chosen = np.random.default_rng(0).permutation(len(y))[:rows]
    return scale(X[chosen]), y[chosen]


IRIS, WINE = standardized(load_iris, 150), standardized(load_wine, 178)
DIGITS, CANCER = standardized(load_digits, 300), standardized(load_breast_cancer, 400)
X, y = standardized(load_diabetes, 300)
DIABETES = X, y / 100
OUTPUTS = X, np.stack([y / 100, np.sin(y), X[:, 0]], axis=1)
COUNTS = X, np.stack([np.floor(y / 60), np.floor(y / 100)], axis=1)
LABELS = X, (OUTPUTS[1] > OUTPUTS[1].mean(axis=0)).astype(int)
TASKS = {
    "iris": (MLPClassifier, IRIS, {}),
    "digits": (MLPClassifier, DIGITS, {}),
    "cancer": (MLPClassifier, CANCER, {}),
    "wine": (MLPClassifier, WINE, {}),
    "labels": (MLPClassifier, LABELS, {}),
    "diabetes": (MLPRegressor, DIABETES, {}),
    "several outputs": (MLPRegressor, OUTPUTS, {}),
    "poisson": (MLPRegressor, COUNTS, {"loss": "poisson"}),
}


def pair(kind: Any, **settings: Any) -> tuple[Any, Any]:
    """Make our estimator, in float64, and theirs, with the same settings."""
    settings = {"hidden_layer_sizes": (12,), "random_state": 3, "max_iter": 25} | settings
    backend = settings.pop("backend", "numpy")
    return kind(dtype="float64", backend=backend, **settings), THEIRS[kind](**settings)


def fitted(kind: Any, data: Any, weights: Any = None, **settings: Any) -> tuple[Any, Any]:
    ours, theirs = pair(kind, **settings)
    return ours.fit(*data, sample_weight=weights), theirs.fit(*data, sample_weight=weights)


def assert_same(ours: Any, theirs: Any, X: Any, rtol: float = 1e-9) -> None:
    for name in ("n_iter_", "t_", "out_activation_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=rtol)
    for name in ("loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_"):
        expected = getattr(theirs, name, None)
        if expected is not None:
            np.testing.assert_allclose(getattr(ours, name), expected, rtol=rtol, err_msg=name)
    method = "predict_proba" if hasattr(theirs, "predict_proba") else "predict"
    found, expected = getattr(ours, method)(X), getattr(theirs, method)(X)
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * np.abs(expected).max())
    parameters = zip(
        ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
    )
    for mine, other in parameters:
        np.testing.assert_allclose(to_host(mine), other, rtol=0, atol=10 * rtol)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("task", TASKS)
def test_a_fit_gives_scikit_learns_numbers(task: str, solver: str, weighted: bool) -> None:
    kind, data, settings = TASKS[task]
    weights = np.random.default_rng(1).uniform(0, 3, len(data[1])) if weighted else None
    lbfgs = solver == "lbfgs"  # its line searches multiply differences in rounding
    ours, theirs = fitted(
        kind, data, weights, solver=solver, alpha=0.5, batch_size=64,
        max_iter=12 if lbfgs else 25, **settings,
    )  # fmt: skip
    assert_same(ours, theirs, data[0], rtol=1e-7 if lbfgs else 1e-11)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize(
    "schedule",
    [
        {"learning_rate": "invscaling", "power_t": 0.3},
        {"learning_rate": "adaptive", "tol": 1e-2, "n_iter_no_change": 2},
        {"learning_rate": "constant", "momentum": 0.0},
    ],
    ids=lambda schedule: schedule["learning_rate"],
)
def test_a_rate_that_changes_gives_scikit_learns_numbers(schedule: Any, nesterov: bool) -> None:
    ours, theirs = fitted(
        MLPClassifier,
        CANCER,
        solver="sgd",
        learning_rate_init=0.1,
        nesterovs_momentum=nesterov,
        max_iter=60,
        **schedule,
    )
    assert_same(ours, theirs, CANCER[0])


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh"])
def test_activations_without_shuffling_give_scikit_learns_numbers(activation: str) -> None:
    ours, theirs = fitted(
        MLPClassifier, WINE, activation=activation, hidden_layer_sizes=(9, 7), shuffle=False,
        batch_size=50,
    )  # fmt: skip
    assert_same(ours, theirs, WINE[0])


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize("task", ["iris", "cancer", "labels", "diabetes"])
def test_early_stopping_gives_scikit_learns_numbers(task: str, weighted: bool) -> None:
    kind, data, settings = TASKS[task]
    weights = np.random.default_rng(2).uniform(0, 3, len(data[1])) if weighted else None
    ours, theirs = fitted(
        kind, data, weights, early_stopping=True, n_iter_no_change=4, learning_rate_init=0.02,
        max_iter=200, **settings,
    )  # fmt: skip
    assert ours.n_iter_ < 200
    assert_same(ours, theirs, data[0])


def test_tol_stops_at_scikit_learns_epoch() -> None:
    ours, theirs = fitted(
        MLPRegressor, OUTPUTS, learning_rate_init=0.01, tol=2e-3, n_iter_no_change=3, max_iter=300
    )
    assert ours.n_iter_ < 300
    assert_same(ours, theirs, OUTPUTS[0])


@pytest.mark.parametrize("stops", [False, True], ids=["loss", "score"])
@pytest.mark.parametrize("tol", [0.0, 1e-4])
def test_what_stays_the_same_fails_only_with_a_tol_as_in_scikit_learn(
    tol: float, stops: bool
) -> None:
    ours, theirs = fitted(
        MLPClassifier, IRIS, solver="sgd", learning_rate_init=1e-300, shuffle=False, tol=tol,
        early_stopping=stops, n_iter_no_change=2, max_iter=9,
    )  # fmt: skip
    assert (ours.n_iter_ == 9) == (tol == 0)
    assert_same(ours, theirs, IRIS[0])


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("seed", [5, np.random.RandomState], ids=["int", "RandomState"])
def test_warm_starts_go_on_with_scikit_learns_numbers(solver: str, seed: Any) -> None:
    kind, data, _ = TASKS["wine"]
    settings = {
        "solver": solver, "warm_start": True, "max_iter": 6, "learning_rate": "invscaling",
        "batch_size": 50,
    }  # fmt: skip
    ours, theirs = pair(kind, **settings)
    for model in (ours, theirs):
        model.set_params(random_state=seed if isinstance(seed, int) else seed(5))
        for _ in range(3):
            model.fit(*data)
    assert_same(ours, theirs, data[0], rtol=1e-7 if solver == "lbfgs" else 1e-9)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("seed", [5, np.random.RandomState], ids=["int", "RandomState"])
def test_partial_fits_give_scikit_learns_numbers(solver: str, seed: Any) -> None:
    X, y = DIGITS
    ours, theirs = pair(MLPClassifier, solver=solver, learning_rate="adaptive", alpha=2.0, tol=1.0)
    for model in (ours, theirs):
        model.set_params(random_state=seed if isinstance(seed, int) else seed(5))
        model.set_params(batch_size=40, n_iter_no_change=2)
        for start in (0, 50, 100, 0, 180, 30, 60):
            rows = slice(start, start + 100)
            model.partial_fit(X[rows], y[rows], classes=np.arange(10))
    assert_same(ours, theirs, X)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_early_stopping_with_one_class_has_only_right_predictions(solver: str) -> None:
    data = IRIS[0], np.full(150, "only")
    ours, theirs = fitted(MLPClassifier, data, solver=solver, early_stopping=True)
    assert_same(ours, theirs, IRIS[0])
    assert ours.best_validation_score_ == 1


def test_a_random_state_draws_what_scikit_learn_draws() -> None:
    ours, theirs = pair(MLPClassifier, early_stopping=True, max_iter=5)
    states = np.random.RandomState(1), np.random.RandomState(1)
    for model, state in zip((ours, theirs), states, strict=True):
        model.set_params(random_state=state).fit(*IRIS)
    assert states[0].randint(2**31) == states[1].randint(2**31)


@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "sgd", "learning_rate": "invscaling", "batch_size": 40},
        {"solver": "adam", "early_stopping": True, "batch_size": 64},
        {"solver": "lbfgs"},
    ],
    ids=lambda settings: settings["solver"],
)
def test_every_backend_gives_scikit_learns_numbers(
    backend: Backend, settings: dict[str, Any]
) -> None:
    weights = np.random.default_rng(1).uniform(0, 3, 150)
    ours, theirs = fitted(
        MLPClassifier, IRIS, weights, alpha=0.5, max_iter=5, backend=backend, **settings
    )
    assert_same(ours, theirs, IRIS[0], rtol=1e-8)


def test_lbfgs_ends_at_scikit_learns_iteration_with_a_tol() -> None:
    ours, theirs = fitted(MLPClassifier, WINE, solver="lbfgs", tol=0.05, max_iter=100)
    assert ours.n_iter_ < 50
    assert_same(ours, theirs, WINE[0], rtol=1e-7)
    assert ours.history_.stopped == "converged"
    assert ours.history_.best_epoch == ours.n_iter_ - 1
    assert ours.history_.cost[-1] == ours.loss_


def test_lbfgs_with_poisson_equals_the_linear_model() -> None:
    X = np.linspace(0, 1, 100)[:, None]
    y = np.random.default_rng(0).poisson(np.exp(X[:, 0] + 1))
    linear = PoissonRegressor(alpha=0, tol=1e-7).fit(X, y)
    model = MLPRegressor(
        "poisson", (1,), "identity", solver="lbfgs", alpha=0, tol=1e-7, random_state=1,
        dtype="float64",
    ).fit(X, y)  # fmt: skip
    np.testing.assert_allclose(model.predict(X), linear.predict(X), rtol=1e-4)
    assert min(model.history_.cost) >= 0


@pytest.mark.parametrize("dtype", ["float64", "float32", None])
def test_lbfgs_sees_small_differences_of_large_numbers(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], size=(200, 3))
    ours, theirs = pair(MLPRegressor, solver="lbfgs", activation="identity")
    for model in (ours.set_params(dtype=dtype), theirs):
        model.fit(1e8 + signs, signs[:, 0])
    score = theirs.score(1e8 + signs, signs[:, 0])
    assert ours.score(1e8 + signs, signs[:, 0]) == pytest.approx(score, abs=1e-3)


@pytest.mark.parametrize(
    ("dtype", "of_X", "computed"),
    [("float32", "float64", "float64"), ("float32", "int64", "float64"),
     ("float32", "float32", "float32"), ("float64", "float32", "float64"),
     (None, "float32", "float32"), (None, "float64", "float64")],
)  # fmt: skip
@pytest.mark.parametrize("sparse", [False, True])
def test_lbfgs_computes_in_no_less_than_the_dtype_of_X(
    dtype: Any, of_X: str, computed: str, sparse: bool, backend: Backend
) -> None:
    X, y = np.round(2 * DIABETES[0]).astype(of_X), DIABETES[1]
    X = csr_array(X) if sparse else X
    model = MLPRegressor(
        "squared_error", (5,), solver="lbfgs", max_iter=3, dtype=dtype, backend=backend
    )
    assert model.fit(X, y).network_.dtype == computed
    assert model.predict(X).dtype == computed and model.transform(X).dtype == computed
    model.set_params(warm_start=True, dtype="float32", solver="adam", max_iter=1)
    assert model.fit(X, y).network_.dtype == "float32"


def test_lbfgs_goes_on_in_no_less_than_the_dtype_of_X() -> None:
    X, y = DIABETES
    ours, theirs = pair(MLPRegressor, warm_start=True, max_iter=3)
    for model in (ours.set_params(dtype=None), theirs):
        model.fit(X.astype("float32"), y).set_params(solver="lbfgs")
    ours.coefs_, ours.intercepts_ = theirs.coefs_, theirs.intercepts_
    assert_same(ours.fit(X, y), theirs.fit(X, y), X, rtol=1e-7)
    assert ours.network_.dtype == "float64"


def test_lbfgs_in_float32_ends_no_higher_than_scikit_learns() -> None:
    for kind, data in ((MLPClassifier, WINE), (MLPRegressor, DIABETES)):
        X = data[0].astype("float32")
        y = data[1].astype("float32") if kind is MLPRegressor else data[1]
        ours, theirs = pair(kind, solver="lbfgs", alpha=1.0, max_iter=500)
        ours.set_params(dtype=None).fit(X, y)
        assert 0 < ours.loss_ < 1.02 * theirs.fit(X, y).loss_
        assert ours.score(X, y) == pytest.approx(theirs.score(X, y), abs=0.02)


VERBOSE: list[tuple[Any, dict[str, Any]]] = [
    (DIABETES, {"tol": 1e-2, "n_iter_no_change": 2, "max_iter": 100}),
    (
        DIABETES,
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "n_iter_no_change": 1,
         "max_iter": 100, "learning_rate_init": 0.0005},
    ),
    (DIABETES, {"early_stopping": True, "n_iter_no_change": 2, "tol": 0.1, "max_iter": 100}),
]  # fmt: skip


@pytest.mark.parametrize(("data", "settings"), VERBOSE, ids=["tol", "adaptive", "early stopping"])
def test_verbose_prints_what_scikit_learn_prints(
    data: Any, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for model in pair(MLPRegressor, verbose=True, **settings):
        model.fit(*data)
        printed.append(capsys.readouterr().out)
    assert "Stopping." in printed[1]
    assert printed[0] == printed[1]


@pytest.mark.parametrize(
    "settings",
    [{"max_iter": 2}, {"max_iter": 2, "batch_size": 900}, {"solver": "lbfgs", "max_iter": 2},
     {"solver": "lbfgs", "max_fun": 5}],
    ids=str,
)  # fmt: skip
def test_warnings_contain_scikit_learns(settings: dict[str, Any]) -> None:
    told = []
    for model in pair(MLPClassifier, **settings):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(*IRIS)
        told.append([(warning.category, str(warning.message)) for warning in caught])
    assert len(told[0]) == len(told[1]) > 0
    for (category, ours), (expected, theirs) in zip(*told, strict=True):
        assert category is expected
        assert " ".join(theirs.split()) in " ".join(ours.split())


def test_training_that_overflows_ends_as_in_scikit_learn() -> None:
    X, y = load_iris(return_X_y=True)
    settings = {
        "hidden_layer_sizes": 100, "activation": "identity", "solver": "sgd", "max_iter": 20,
        "learning_rate_init": 1.0, "random_state": 0,
    }  # fmt: skip
    ours, theirs = pair(MLPRegressor, early_stopping=True, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert_same_after_overflow(ours.fit(X, y), theirs.fit(X, y))
        ours, theirs = pair(MLPRegressor, **settings)
        with pytest.raises(DivergenceError) as found:
            ours.fit(X, y)
        with pytest.raises(ValueError, match="non-finite parameter weights") as expected:
            theirs.fit(X, y)
    assert str(expected.value) in str(found.value)
    assert re.search(
        r": the cost became (nan|inf) in epoch \d; the estimator is as", str(found.value)
    )
    assert not hasattr(ours, "network_")


def assert_same_after_overflow(ours: Any, theirs: Any) -> None:
    assert ours.n_iter_ == theirs.n_iter_ == 20
    assert len(ours.history_.learning_rate) == len(ours.history_.seconds) == 20
    assert np.isnan(ours.validation_scores_[-1]) and np.isnan(theirs.validation_scores_[-1])
    assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_, rel=1e-9)
    for mine, other in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9)


def test_an_overflow_is_a_convergence_warning_too() -> None:
    model = MLPRegressor(
        solver="sgd", learning_rate_init=1e9, early_stopping=True, max_iter=3, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(3\) reached"):
        model.fit(*DIABETES)
    assert model.loss_curve_[1:] == pytest.approx([np.nan] * 2, nan_ok=True)
