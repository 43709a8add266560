"""What MLPClassifier and MLPRegressor promise."""

from __future__ import annotations

import copy
import doctest
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_data import assert_same_network, examples, not_converged, quick, targets

pytest.importorskip("sklearn", minversion="1.7")

import joblib
import scipy.sparse
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import gpubp
from gpubp import MLPClassifier, MLPRegressor


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
def test_the_logarithm_of_a_vanished_probability_is_that_of_the_softmax() -> None:
    x, y = examples()
    model = quick().set_params(hidden_layer_sizes=()).fit(x[:, :3], y)
    model.coefs_, model.intercepts_ = [np.eye(3)], [np.zeros(3)]
    z = np.array([[0.0, -0.5, -800.0], [-900.0, 1e6, 1e6]])
    assert (model.predict_proba(z) == 0).sum() == 2
    np.testing.assert_allclose(model.predict_log_proba(z), log_softmax(z, axis=1), rtol=1e-6)


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
    assert_same_network(weighted, repeated)


@not_converged
def test_a_batch_whose_weights_are_0_changes_nothing() -> None:
    x, y = examples(60)
    settings = {"solver": "sgd", "momentum": 0.0, "alpha": 2.0, "batch_size": 20, "shuffle": False}
    weighted = quick(dtype="float64", **settings).fit(x, y, np.repeat([1.0, 0.0, 1.0], 20))
    without = quick(dtype="float64", **settings).fit(
        *(np.delete(v, range(20, 40), 0) for v in (x, y))
    )
    assert_same_network(weighted, without)
    assert np.isfinite(weighted.loss_curve_).all()


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


def test_partial_fit_knows_classes_that_it_has_not_seen() -> None:
    x, y = examples()
    model = quick().partial_fit(x[y < 2], y[y < 2], classes=[0, 1, 2])
    assert model.predict_proba(x).shape == (120, 3)
    model.partial_fit(x, y)
    assert model.t_ == 120 + (y < 2).sum()
    many = quick().partial_fit(x, np.eye(3, dtype=int)[y])
    assert many.predict(x).shape == (120, 3)


@pytest.mark.parametrize("model", [MLPClassifier, MLPRegressor])
def test_partial_fit_is_for_solvers_that_go_by_batches(model: Any) -> None:
    assert not hasattr(model(solver="lbfgs"), "partial_fit")
    with pytest.raises(AttributeError) as caught:
        model(solver="lbfgs").partial_fit  # noqa: B018
    assert "only available for stochastic optimizers. lbfgs is not" in str(caught.value.__cause__)


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
@pytest.mark.parametrize("stops", [False, True])
def test_a_fitted_estimator_keeps_no_training_data(stops: bool) -> None:
    x, y = examples(5000)
    model = quick(max_iter=1, batch_size=200, early_stopping=stops).fit(x, y)
    assert len(pickle.dumps(model)) < 20_000


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
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(5\) reached"):
        quick().fit(x, y)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge after 2 iter"):
        model = quick(solver="lbfgs", max_iter=2).fit(x, y)
    assert "REACHED LIMIT" in model.history_.stopped
    with pytest.warns(UserWarning, match="batch_size is 500, but there are 120 rows"):
        quick(max_iter=300, tol=1.0, batch_size=500).fit(x, y)


def test_verbose_prints_the_loss_of_each_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = examples()
    quick(verbose=True, max_iter=100, tol=9.0, early_stopping=True, n_iter_no_change=1).fit(x, y)
    lbfgs = quick(verbose=True, max_iter=100, solver="lbfgs", tol=0.1).fit(x, y)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("Iteration 1, loss = ")
    assert printed[1].startswith("Validation score: ")
    assert printed[-1] == f"Iteration {lbfgs.n_iter_}, loss = {lbfgs.loss_:.8f}"


@not_converged
def test_divergence_is_told_and_a_warm_network_is_left_as_it_was() -> None:
    x, y = targets(1)
    model = MLPRegressor(
        hidden_layer_sizes=10, random_state=0, max_iter=3, warm_start=True, solver="sgd"
    ).fit(x, y)
    curve = list(model.loss_curve_)
    with pytest.raises(gpubp.DivergenceError, match="lower learning_rate_init"):
        model.set_params(learning_rate_init=1e30, max_iter=50).fit(x, y)
    assert np.isfinite(model.network_.parameters).all()
    assert model.loss_curve_ == curve


@pytest.mark.slow
@pytest.mark.parametrize("model", [MLPClassifier, MLPRegressor])
def test_examples_in_the_docstrings_run(model: Any) -> None:
    assert doctest.testmod(sys.modules[model.__module__]).failed == 0
