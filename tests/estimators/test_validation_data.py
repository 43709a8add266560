"""Early stopping on validation data that the user gives: X_val, y_val and sample_weight_val."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn import config_context
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_data import (
    assert_same_network,
    examples,
    not_converged,
    parameters_of,
    quick,
    targets,
)

from gpubp import MLPClassifier, MLPRegressor
from gpubp.backends import Backend

X, Y = examples(150)
TRAIN, HELD_OUT = slice(0, 100), slice(100, 150)
WEIGHTS = np.linspace(0, 1, 50)


def stopping(**parameters: Any) -> MLPClassifier:
    settings = {"early_stopping": True, "max_iter": 30, "n_iter_no_change": 3, **parameters}
    return quick(learning_rate_init=0.02, **settings)


def fit(model: Any, x: Any = X, y: Any = Y, weights: Any = None) -> Any:
    given = {"X_val": x[HELD_OUT], "y_val": y[HELD_OUT], "sample_weight_val": weights}
    return model.fit(x[TRAIN], y[TRAIN], **given)


@not_converged
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_scores_are_those_on_the_given_rows_and_the_best_epoch_is_restored(weights: Any) -> None:
    seen = []

    def remember(trainer: Any, history: Any) -> None:
        predicted = trainer.network.predict(X[HELD_OUT]).argmax(axis=1)
        score = accuracy_score(Y[HELD_OUT], predicted, sample_weight=weights)
        seen.append((score, trainer.network.parameters.copy()))

    model = fit(stopping(callbacks=[remember]), weights=weights)
    scores = [score for score, _ in seen]
    np.testing.assert_allclose(model.validation_scores_, scores)
    best = int(np.argmax(scores))
    assert model.best_validation_score_ == pytest.approx(scores[best])
    np.testing.assert_array_equal(parameters_of(model), seen[best][1])
    assert model.history_.stopped == "converged"
    assert len(scores) < 30


@not_converged
def test_a_warm_start_without_a_better_epoch_keeps_the_best_weights() -> None:
    model = fit(stopping(warm_start=True))
    best, weights = model.best_validation_score_, model.coefs_[0].copy()
    fit(model.set_params(learning_rate_init=3.0))
    assert max(model.validation_scores_) == model.best_validation_score_ == best
    assert model.score(X[HELD_OUT], Y[HELD_OUT]) == best
    np.testing.assert_array_equal(model.coefs_[0], weights)


@not_converged
def test_a_split_by_hand_gives_what_validation_fraction_gives() -> None:
    settings = {"dtype": "float64", "shuffle": False, "validation_fraction": 0.2}
    whole = stopping(**settings).fit(X, Y)
    rng = np.random.RandomState(0)  # the held-out rows are drawn after the initial weights
    rng.uniform(size=sum(part.size for part in (*whole.coefs_, *whole.intercepts_)))
    train, held_out = train_test_split(np.arange(150), random_state=rng, test_size=0.2)
    by_hand = stopping(**settings).fit(X[train], Y[train], X_val=X[held_out], y_val=Y[held_out])
    assert by_hand.validation_scores_ == whole.validation_scores_
    assert_same_network(by_hand, whole)


@not_converged
@pytest.mark.parametrize("columns", [1, 2])
def test_a_regressors_score_is_r2(columns: int) -> None:
    x, y = targets(columns, 150)
    model = MLPRegressor(hidden_layer_sizes=8, early_stopping=True, random_state=0, max_iter=20)
    fit(model, x, y, WEIGHTS)
    expected = r2_score(y[HELD_OUT], model.predict(x[HELD_OUT]), sample_weight=WEIGHTS)
    assert model.best_validation_score_ == pytest.approx(expected, abs=1e-6)


@not_converged
@pytest.mark.parametrize("form", [scipy.sparse.csr_matrix, lambda x: x.tolist()])
def test_validation_data_have_any_form_that_x_has(form: Any) -> None:
    names = np.array(["a", "b", "c"])[Y]
    plain = fit(stopping(), y=names)
    given = {"X_val": form(X[HELD_OUT]), "y_val": names[HELD_OUT].tolist()}
    other = stopping().fit(X[TRAIN], names[TRAIN], **given)
    assert other.validation_scores_ == plain.validation_scores_


@not_converged
@pytest.mark.parametrize(("dtype", "other"), [("float32", "float64"), ("float64", "float32")])
def test_validation_data_are_read_in_the_dtype_of_the_network(dtype: str, other: str) -> None:
    plain = fit(stopping(dtype=None), X.astype(dtype))
    given = {"X_val": X[HELD_OUT].astype(other), "y_val": Y[HELD_OUT]}
    model = stopping(dtype=None).fit(X[TRAIN].astype(dtype), Y[TRAIN], **given)
    assert model.network_.dtype == dtype
    assert model.validation_scores_ == plain.validation_scores_


@not_converged
def test_labels_are_right_when_all_of_a_row_are() -> None:
    y = (targets(3, 150)[1] > 0).astype(int)
    model = fit(stopping(), y=y)
    right = (model.predict(X[HELD_OUT]) == y[HELD_OUT]).all(axis=1).mean()
    assert model.best_validation_score_ == pytest.approx(right)


@not_converged
def test_validation_data_stay_on_their_device(backend: Backend) -> None:
    model = stopping(backend=backend, max_iter=3)
    given = {"X_val": backend.asarray(X[HELD_OUT]), "y_val": backend.asarray(Y[HELD_OUT])}
    model.fit(backend.asarray(X[TRAIN]), backend.asarray(Y[TRAIN]), **given)
    on_the_host = fit(stopping(max_iter=3))
    np.testing.assert_allclose(model.validation_scores_, on_the_host.validation_scores_)


@not_converged
def test_validation_data_are_routed_through_a_pipeline() -> None:
    with config_context(enable_metadata_routing=True):
        model = stopping().set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
        pipeline = make_pipeline(StandardScaler(), model, transform_input=["X_val"])
        fit(pipeline, weights=WEIGHTS)
    scaler = StandardScaler().fit(X[TRAIN])
    by_hand = fit(stopping(), scaler.transform(X), weights=WEIGHTS)
    assert pipeline[-1].validation_scores_ == by_hand.validation_scores_


def test_partial_fit_ends_with_the_weights_of_its_best_call() -> None:
    model = stopping(n_iter_no_change=2)
    given = {"X_val": X[HELD_OUT], "y_val": Y[HELD_OUT]}
    scores, weights = [], []
    for _ in range(50):
        model.partial_fit(X[TRAIN], Y[TRAIN], classes=[0, 1, 2], **given)
        scores.append(model.score(X[HELD_OUT], Y[HELD_OUT]))
        weights.append(parameters_of(model).copy())
        if model.history_.stopped == "converged":
            break
    assert 3 < len(scores) < 50
    np.testing.assert_allclose(model.validation_scores_[:-1], scores[:-1])
    assert max(scores[:-3]) >= max(model.validation_scores_[-3:])
    best = int(np.argmax(model.validation_scores_))
    np.testing.assert_array_equal(weights[-1], weights[best])
    assert not np.array_equal(weights[-2], weights[best])
    assert scores[-1] == model.best_validation_score_ == max(model.validation_scores_)


@not_converged
@pytest.mark.parametrize("first", ["fit", "partial_fit"])
@pytest.mark.parametrize("then", ["fit", "partial_fit"])
def test_training_that_goes_on_without_early_stopping_keeps_its_last_weights(
    first: str, then: str
) -> None:
    model = stopping(warm_start=True, max_iter=5, solver="sgd")
    classes = {"classes": [0, 1, 2]} if first == "partial_fit" else {}
    given = {"X_val": X[HELD_OUT], "y_val": Y[HELD_OUT], **classes}
    getattr(model, first)(X[TRAIN], Y[TRAIN], **given)
    before = model.backprop(X[TRAIN], Y[TRAIN]).cost
    model.set_params(early_stopping=False, n_iter_no_change=1, tol=9.0)
    for _ in range(4 if then == "partial_fit" else 1):
        getattr(model, then)(X[TRAIN], Y[TRAIN])
    assert model.history_.stopped == "converged"
    assert model.backprop(X[TRAIN], Y[TRAIN]).cost < before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"y_val": None}, "X_val is provided, but y_val was not provided"),
        ({"X_val": None}, "y_val is provided, but X_val was not provided"),
        ({"X_val": X[HELD_OUT, :4]}, "X has 4 features, but MLPClassifier is expecting 6"),
        ({"y_val": Y[:20]}, "inconsistent numbers of samples"),
        ({"y_val": Y[HELD_OUT] + 5}, "`y_val` has classes not in"),
        ({"y_val": Y[HELD_OUT] + 0.5}, "Unknown label type"),
        ({"y_val": np.eye(3, dtype=int)[Y[HELD_OUT]]}, "y_val is .*, expected classes, as y of"),
        ({"X_val": X[HELD_OUT] * math.nan}, "X_val and y_val do not fit X and y: Input X contains NaN"),
        ({"sample_weight_val": -WEIGHTS}, "sample_weight_val holds -"),
        ({"sample_weight_val": WEIGHTS[:9]}, r"sample_weight_val.*\(9,\), expected \(50,\)"),
        ({"sample_weight_val": WEIGHTS * math.nan}, "sample_weight_val contains NaN"),
        ({"sample_weight_val": "balanced"}, "sample_weight_val: could not convert"),
        ({"sample_weight_val": WEIGHTS * 0}, "must contain at least one non-zero number"),
        ({"X_val": None, "y_val": None, "sample_weight_val": WEIGHTS}, "sample_weight_val is given"),
    ],
)  # fmt: skip
def test_validation_data_that_do_not_fit_are_told(change: dict[str, Any], told: str) -> None:
    given = {"X_val": X[HELD_OUT], "y_val": Y[HELD_OUT], "sample_weight_val": None, **change}
    model = stopping()
    with pytest.raises(ValueError, match=told):
        model.fit(X[TRAIN], Y[TRAIN], **given)
    assert not hasattr(model, "network_")
    with pytest.raises(ValueError, match=told):
        model.partial_fit(X[TRAIN], Y[TRAIN], classes=[0, 1, 2], **given)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"early_stopping": False}, "X_val and y_val are passed to fit while at the same time"),
        ({"solver": "lbfgs"}, "X_val is given, expected None with solver 'lbfgs'"),
    ],
)
def test_validation_data_that_nothing_uses_are_refused(parameters: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        fit(stopping(**parameters))


def test_partial_fit_stops_early_only_on_given_rows() -> None:
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        stopping().partial_fit(X, Y, classes=[0, 1, 2])


@pytest.mark.parametrize(
    ("columns", "x_val", "y_val", "told"),
    [
        (2, X[:9], np.ones(9), r"y_val has shape \(9, 1\), expected \(9, 2\)"),
        (1, X[:9], np.ones((9, 2)), r"y_val has shape \(9, 2\), expected \(9, 1\)"),
        (1, X[:1], np.ones(1), "X_val has 1 row, expected at least 2"),
    ],
)
def test_a_regressors_validation_data_have_the_columns_of_y_and_two_rows(
    columns: int, x_val: Any, y_val: Any, told: str
) -> None:
    x, y = targets(columns)
    model = MLPRegressor(early_stopping=True, max_iter=1)
    with pytest.raises(ValueError, match=told):
        model.fit(x, y, X_val=x_val, y_val=y_val)
    assert not hasattr(model, "network_")


def test_rows_that_are_scored_need_a_weight_that_is_not_zero() -> None:
    model = stopping(class_weight={0: 0.0})
    with pytest.raises(ValueError, match="at least one non-zero number, also those of the rows"):
        model.fit(X, Y, X_val=X[Y == 0], y_val=Y[Y == 0])
    only_first = np.eye(1, len(X))[0]
    with pytest.raises(ValueError, match="at least one non-zero number, also those of the rows"):
        stopping().fit(X, Y, only_first)
