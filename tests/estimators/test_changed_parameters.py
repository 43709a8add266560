"""Parameters that are changed between warm starts, or between calls of partial_fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from small_data import examples, not_converged, targets

import gpubp
from gpubp import MLPClassifier, MLPRegressor
from gpubp.backends import Backend

X, Y = examples(60)
NUMBERS = targets(1, 60)[1]
QUICK: dict[str, Any] = {"hidden_layer_sizes": 4, "max_iter": 3, "random_state": 0}
KINDS = {
    "classifier": (MLPClassifier, TheirClassifier, Y),
    "regressor": (MLPRegressor, TheirRegressor, NUMBERS),
}


@not_converged
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "changed",
    [{"activation": "tanh"}, {"alpha": 1.0}, {"batch_size": 7}, {"activation": "logistic"}],
    ids=str,
)
def test_a_changed_parameter_counts_as_in_scikit_learn(
    how: str, kind: str, changed: dict[str, Any]
) -> None:
    ours, theirs, y = KINDS[kind]
    models = ours(warm_start=True, dtype=None, **QUICK), theirs(warm_start=True, **QUICK)
    first = {"classes": [0, 1, 2]} if (kind, how) == ("classifier", "partial_fit") else {}
    for model in models:
        getattr(model, how)(X, y, **first)
        for _ in range(2):
            getattr(model.set_params(**changed), how)(X, y)
    mine, other = models
    np.testing.assert_allclose(mine.loss_curve_, other.loss_curve_, rtol=1e-9)
    for found, expected in zip(mine.coefs_, other.coefs_, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


@not_converged
@pytest.mark.parametrize(
    ("before", "changed", "find", "expected"),
    [
        ({}, {"loss": "huber"}, lambda m: m.network_.cost_function.name, "huber"),
        ({}, {"loss": "poisson"}, lambda m: m.network_.layers[-1].activation.name, "exponential"),
        ({}, {"output_activation": "softplus"}, lambda m: m.predict(X).min() > 0, True),
        ({}, {"dropout": 0.5}, lambda m: m.network_.layers[0].dropout, 0.5),
        ({}, {"dtype": "float64"}, lambda m: m.predict(X).dtype, "float64"),
        ({"loss": "quantile"}, {"quantile": 0.9},
         lambda m: m.network_.cost_function.parameters["quantile"], 0.9),
    ],
    ids=lambda value: "" if callable(value) else str(value),
)  # fmt: skip
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_a_warm_start_uses_changed_parameters(
    before: Any, changed: Any, find: Any, expected: Any, how: str
) -> None:
    model = MLPRegressor(warm_start=True, **QUICK, **before)
    y = abs(NUMBERS)
    weights = getattr(model, how)(X, y).coefs_[0].copy()
    assert find(model) != expected
    getattr(model.set_params(**changed, learning_rate_init=1e-300), how)(X, y)
    assert find(model) == expected
    np.testing.assert_array_equal(model.coefs_[0], weights)


@not_converged
def test_a_warm_start_estimates_other_quantiles() -> None:
    model = MLPRegressor("quantile", quantile=[0.1, 0.2], warm_start=True, **QUICK)
    twin = MLPRegressor("quantile", quantile=[0.8, 0.9], warm_start=True, **QUICK)
    model.fit(X, NUMBERS)
    twin.partial_fit(X, NUMBERS).coefs_ = model.coefs_
    twin.intercepts_ = model.intercepts_
    for each in (model.set_params(quantile=[0.8, 0.9]), twin):
        each.fit(X, NUMBERS)
    np.testing.assert_array_equal(model.coefs_[0], twin.coefs_[0])


@not_converged
def test_a_network_whose_parameters_have_not_changed_is_kept() -> None:
    loss = gpubp.get_cost("huber", threshold=2.0)
    model = MLPRegressor(loss, activation=["tanh"], dropout=[0.0], **QUICK).partial_fit(X, NUMBERS)
    network = model.network_
    model.activation[0] = "tanh"
    assert model.partial_fit(X, NUMBERS).network_ is network
    model.activation[0] = "relu"
    assert model.partial_fit(X, NUMBERS).network_.layers[0].activation.name == "relu"


@not_converged
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_a_warm_start_moves_to_another_backend(cuda_backend: Backend, how: str) -> None:
    twins = [MLPRegressor(warm_start=True, backend="numpy", **QUICK) for _ in range(2)]
    for model in twins:
        getattr(model, how)(X, NUMBERS)
    for backend in (cuda_backend, "numpy"):
        for model in (twins[0].set_params(backend=backend), twins[1]):
            getattr(model, how)(X, NUMBERS)
    assert twins[0].network_.backend.name == "numpy"
    np.testing.assert_allclose(twins[0].predict(X), twins[1].predict(X), atol=1e-5)


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_partial_fit_uses_a_changed_learning_rate(rate: float) -> None:
    model = MLPRegressor(solver="sgd", momentum=0, alpha=0, dtype=None, **QUICK).partial_fit(
        X, NUMBERS
    )
    before, biases = model.backprop(X, NUMBERS), model.intercepts_[1].copy()
    model.set_params(learning_rate_init=rate, batch_size=60).partial_fit(X, NUMBERS)
    step = -rate * before.bias_gradients[1]
    np.testing.assert_allclose(model.intercepts_[1] - biases, step, rtol=1e-9)
    assert model._optimizer.learning_rate == rate


@not_converged
def test_probabilities_are_those_of_the_network_until_the_next_fit() -> None:
    bounded, unbounded = {"output_activation": None}, {"output_activation": "tanh"}
    model = MLPClassifier(loss="quadratic", **QUICK, **unbounded).fit(X, Y)
    model.set_params(**bounded)
    assert not hasattr(model, "predict_proba") and not hasattr(model, "predict_log_proba")
    probabilities = model.fit(X, Y).predict_proba(X)
    np.testing.assert_array_equal(model.set_params(**unbounded).predict_proba(X), probabilities)
    assert not hasattr(clone(model), "predict_proba")
