"""Losses and output activations of both estimators: gpubp's by name, custom ones, quantiles."""

from __future__ import annotations

import pickle
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.base import clone
from sklearn.metrics import d2_pinball_score, mean_pinball_loss
from small_data import assert_same_network, examples, not_converged, quick, targets

import gpubp
from gpubp import MLPClassifier, MLPRegressor
from gpubp.backends import Backend
from gpubp.kernels import COSTS

X, Y = examples()
TWO = (Y > 0).astype(int)
LEVELS = [0.05, 0.5, 0.95]
EXACT = {"dtype": "float64", "shuffle": False}


def regressor(**parameters: Any) -> MLPRegressor:
    settings = {"max_iter": 5, "batch_size": 30, "random_state": 0, **parameters}
    return MLPRegressor(hidden_layer_sizes=(10,), **settings)


def log_ratio(xp: Any, a: Any, y: Any) -> Any:
    return xp.log1p((a - y) ** 2)


def log_ratio_derivative(xp: Any, a: Any, y: Any) -> Any:
    return 2 * (a - y) / (1 + (a - y) ** 2)


CAUCHY = gpubp.Cost.from_functions("cauchy", log_ratio, log_ratio_derivative)


OF_LABELS = [name for name, cost in COSTS.items() if cost.targets != "class"]


@not_converged
@pytest.mark.parametrize(
    ("y", "loss"),
    [
        *[pytest.param(Y, loss, id=f"three {loss}") for loss in ("log_loss", *COSTS, CAUCHY)],
        *[pytest.param(TWO, loss, id=f"two {loss}") for loss in ("log_loss", *COSTS, CAUCHY)],
        *[pytest.param(np.eye(3, dtype=int)[Y], loss, id=f"labels {loss}") for loss in OF_LABELS],
    ],
)
def test_a_classifier_learns_with_every_loss(y: Any, loss: Any) -> None:
    model = clone(quick(loss=loss, max_iter=60, learning_rate_init=0.02)).fit(X, y)
    assert model.score(X, y) > 0.85
    probabilities = model.predict_proba(X)
    assert probabilities.min() >= 0
    if y.ndim == 1:
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_array_equal(probabilities.argmax(axis=1), model.predict(X))
    np.testing.assert_allclose(
        np.exp(model.predict_log_proba(X)), probabilities, rtol=1e-3, atol=1e-7
    )


@not_converged
def test_binary_cross_entropy_of_three_classes_trains_an_output_for_each_class() -> None:
    model = quick(loss="binary_cross_entropy", **EXACT).fit(X, Y)
    labels = quick(**EXACT).fit(X, np.eye(3, dtype=int)[Y])
    assert_same_network(model, labels)
    each = labels.predict_proba(X)
    np.testing.assert_allclose(model.predict_proba(X), each / each.sum(axis=1, keepdims=True))


@not_converged
def test_cross_entropy_of_two_classes_has_a_softmax_of_two_outputs() -> None:
    model = quick(loss="cross_entropy", **EXACT).fit(X, TWO)
    z = model.predict_z(X)
    assert (model.n_outputs_, model.out_activation_) == (2, "softmax")
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], 1 / (1 + np.exp(z[:, 0] - z[:, 1])))


@not_converged
@pytest.mark.parametrize("output", [None, "identity", "logistic"])
def test_squared_error_of_classes_is_regression_on_indicators(output: Any) -> None:
    model = quick(loss="squared_error", output_activation=output, **EXACT).fit(X, Y)
    indicators = regressor(output_activation=output or "softmax", **EXACT).fit(X, np.eye(3)[Y])
    assert_same_network(model, indicators)
    np.testing.assert_array_equal(model.predict(X), indicators.predict(X).argmax(axis=1))
    assert hasattr(model, "predict_proba") == (output != "identity")
    assert hasattr(model, "predict_log_proba") == (output != "identity")


@not_converged
def test_outputs_above_1_are_no_probabilities() -> None:
    model = quick(loss="squared_error", output_activation="softplus").fit(X, Y)
    with pytest.raises(AttributeError) as caught:
        model.predict_proba(X)
    told = "outputs are from 0 to 1, not from 0 to inf as those of 'softplus'"
    assert told in str(caught.value.__cause__)


@not_converged
def test_log_loss_is_the_cross_entropy_of_the_output_activation() -> None:
    model = quick(output_activation="logistic", **EXACT).fit(X, Y)
    assert_same_network(model, quick(loss="binary_cross_entropy", **EXACT).fit(X, Y))
    model = quick(output_activation="softmax", **EXACT).fit(X, TWO)
    assert_same_network(model, quick(loss="cross_entropy", **EXACT).fit(X, TWO))


@not_converged
def test_a_softmax_of_two_classes_has_two_outputs_with_every_loss() -> None:
    settings = {"loss": "squared_error", "output_activation": "softmax", **EXACT}
    indicators = regressor(**settings).fit(X, np.eye(2)[TWO])
    assert_same_network(quick(**settings).fit(X, TWO), indicators)


@not_converged
@pytest.mark.parametrize("y", [Y, TWO, np.eye(3, dtype=int)[Y]], ids=["three", "two", "labels"])
def test_outputs_that_are_cut_off_at_0_give_probabilities_of_0(y: Any) -> None:
    model = quick(loss="squared_error", output_activation="hard_sigmoid", max_iter=40).fit(X, y)
    probabilities = model.predict_proba(1000 * X)
    if y is Y:
        z = model.predict_z(1000 * X)
        none = (z < -3).all(axis=1)
        assert none.any()
        np.testing.assert_allclose(probabilities[none], 1 / 3)
    assert (probabilities == 0).any()
    with np.errstate(divide="ignore"):
        expected = np.log(probabilities)
    np.testing.assert_allclose(model.predict_log_proba(1000 * X), expected, atol=1e-6)


@not_converged
def test_smoothed_classes_are_soft_targets() -> None:
    soft = 0.9 * np.eye(3)[Y] + 0.1 / 3
    model = quick(label_smoothing=0.1, **EXACT).fit(X, Y)
    assert_same_network(model, regressor(loss="cross_entropy", **EXACT).fit(X, soft))
    model = quick(label_smoothing=0.1, **EXACT).fit(X, TWO)
    soft = 0.9 * TWO + 0.05
    assert_same_network(model, regressor(loss="binary_cross_entropy", **EXACT).fit(X, soft))
    labels = np.eye(3, dtype=int)[Y]
    model = quick(label_smoothing=0.1, **EXACT).fit(X, labels)
    soft = 0.9 * labels + 0.05
    assert_same_network(model, regressor(loss="binary_cross_entropy", **EXACT).fit(X, soft))


@not_converged
@pytest.mark.parametrize("output", ["softplus", gpubp.get_activation("leaky_relu", slope=0.3)])
def test_a_regressor_has_the_output_activation_that_it_is_given(output: Any) -> None:
    x, y = targets(1)
    model = clone(regressor(loss="poisson", output_activation=output, max_iter=40))
    with nullcontext() if output == "softplus" else pytest.warns(UserWarning, match="defined for"):
        model.fit(x, y + 1)
    assert model.out_activation_ == getattr(output, "name", output)
    z = model.predict_z(x)[:, 0]
    by_hand = np.logaddexp(0, z) if output == "softplus" else np.where(z > 0, z, 0.3 * z)
    np.testing.assert_allclose(model.predict(x), by_hand, rtol=1e-5)


def heteroscedastic(rows: int, seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(rows, 1))
    return x, np.sin(3 * x[:, 0]) + (0.1 + 0.4 * np.abs(x[:, 0])) * rng.normal(size=rows)


def true_quantile(x: Any, level: float) -> Any:
    return np.sin(3 * x[:, 0]) + (0.1 + 0.4 * np.abs(x[:, 0])) * norm.ppf(level)


@not_converged
def test_quantiles_cover_as_many_rows_as_they_say_and_are_as_sharp_as_the_true_ones() -> None:
    x, y = heteroscedastic(2000, seed=0)
    x_new, y_new = heteroscedastic(2000, seed=1)
    model = MLPRegressor(
        "quantile", (32,), "tanh", quantile=LEVELS, batch_size=50, max_iter=60,
        learning_rate="cosine", learning_rate_init=0.01, random_state=0, tol=0.0,
    ).fit(x, y)  # fmt: skip
    predicted = model.predict(x_new)
    assert predicted.shape == (2000, 3)
    scores = []
    for level, column in zip(LEVELS, predicted.T, strict=True):
        assert (y_new <= column).mean() == pytest.approx(level, abs=0.03)
        true = mean_pinball_loss(y_new, true_quantile(x_new, level), alpha=level)
        assert mean_pinball_loss(y_new, column, alpha=level) < 1.05 * true
        scores.append(d2_pinball_score(y_new, column, alpha=level))
    assert model.score(x_new, y_new) == pytest.approx(np.mean(scores), abs=1e-6)


@not_converged
def test_several_quantiles_are_trained_like_several_single_ones(backend: Backend) -> None:
    x, y = heteroscedastic(60, seed=0)
    settings = {
        "loss": "quantile",
        "batch_size": 20,
        "max_iter": 3,
        "backend": backend.name,
        **EXACT,
    }
    model = pickle.loads(pickle.dumps(regressor(quantile=LEVELS, **settings).fit(x, y)))
    predicted, computed = model.predict(x), model.backprop(x, y)
    losses = [mean_pinball_loss(y, p, alpha=q) for q, p in zip(LEVELS, predicted.T, strict=True)]
    assert computed.cost == pytest.approx(sum(losses))
    below = predicted > y[:, None]
    np.testing.assert_allclose(computed.deltas[-1], (below - np.array(LEVELS)) / 60, atol=1e-15)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_quantiles_have_no_slope_where_the_prediction_is_y() -> None:
    y = np.array([0.5, 2.0, -1.0])
    model = regressor(loss="quantile", quantile=[0.1, 0.9], tol=9.0, max_iter=20, **EXACT)
    model.set_params(batch_size=3).fit(X[:3], y)
    model.coefs_, model.intercepts_[1] = [0 * w for w in model.coefs_], [0.5, 0.5]
    computed = model.backprop(X[:3], y)
    np.testing.assert_allclose(3 * computed.deltas[-1], [[0, 0], [-0.1, -0.9], [0.9, 0.1]])
    assert computed.cost == pytest.approx((0.15 + 1.35 + 1.35 + 0.15) / 3)


@not_converged
@pytest.mark.parametrize("quantile", [0.2, [0.2], np.array([0.2])], ids=repr)
def test_one_quantile_is_the_same_in_a_list_which_gives_a_column(quantile: Any) -> None:
    x, y = targets(1)
    model = regressor(loss="quantile", quantile=quantile, **EXACT).fit(x, y)
    single = regressor(loss=gpubp.get_cost("quantile", quantile=0.2), **EXACT).fit(x, y)
    assert_same_network(model, single)
    shape = (120,) if isinstance(quantile, float) else (120, 1)
    np.testing.assert_allclose(model.predict(x), single.predict(x).reshape(shape))


@not_converged
def test_a_quantile_of_several_columns_is_that_of_each() -> None:
    x, y = targets(2)
    model = regressor(loss="quantile", quantile=0.9, max_iter=200, learning_rate_init=0.01)
    assert (y <= model.fit(x, y).predict(x)).mean() == pytest.approx(0.9, abs=0.06)


@pytest.mark.parametrize(
    ("model", "y", "told"),
    [
        (quick(loss="log_los"), Y, "did you mean 'log_loss'"),
        (quick(loss="cross_entropy"), np.eye(3, dtype=int)[Y], "loss is 'cross_entropy', expected"),
        (quick(label_smoothing=1.0), Y, "'label_smoothing' parameter of MLPClassifier must be"),
        (quick(output_activation="sofmax"), Y, "did you mean 'softmax'"),
        (quick(output_activation="softmax"), np.eye(3, dtype=int)[Y], "output_activation is 'softmax'"),
        (regressor(loss="log_loss"), Y, "'log_loss' instead"),
        (regressor(loss="quantile", quantile=1.0), Y, "'quantile' parameter of MLPRegressor must be"),
        (regressor(loss="quantile", quantile=[1.0]), Y, r"or a list of them. Got \[1.0\] instead"),
        (regressor(loss="quantile", quantile=[]), Y, "expected at least one number"),
        (regressor(loss="quantile", quantile="0.5"), Y, "'quantile' parameter of MLPRegressor must be"),
        (regressor(loss="quantile", quantile=LEVELS), np.c_[Y, Y], "y has 2 columns, expected one"),
        (regressor(loss="cross_entropy"), np.c_[TWO, TWO], "y's row"),
    ],
)  # fmt: skip
def test_a_loss_that_does_not_fit_is_told(model: Any, y: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        model.fit(X, y)
    assert not hasattr(model, "network_")


def test_the_default_losses_are_those_of_scikit_learn() -> None:
    assert (MLPClassifier().loss, MLPRegressor().loss) == ("log_loss", "squared_error")
