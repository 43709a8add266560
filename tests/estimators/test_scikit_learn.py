"""Estimators agree with scikit-learn's MLPs."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from small_data import examples, not_converged, targets

pytest.importorskip("sklearn", minversion="1.7")

from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpubp import MLPClassifier, MLPRegressor


def both(
    ours: Any, theirs: Any, x: Any, y: Any, weights: Any = None, **parameters: Any
) -> tuple[Any, Any]:
    """Fit ours, in float64, and theirs to the same data from the same random_state."""
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
    np.testing.assert_allclose(mine.loss_curve_, other.loss_curve_, rtol=1e-12)


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


def test_poisson_agrees_with_scikit_learn() -> None:
    x, y = targets(1)
    mine, other = both(
        MLPRegressor, TheirRegressor, x, np.exp(y), solver="sgd", loss="poisson", max_iter=10
    )
    assert_same_weights(mine, other, 1e-13)
    assert mine.out_activation_ == "exp"


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


@pytest.mark.slow
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
