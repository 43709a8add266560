"""After a fit that fails, an estimator is as it was before."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from small_data import examples, not_converged, quick, targets

from gpubp import DivergenceError, MLPClassifier, MLPRegressor
from gpubp.estimators import base

X, Y = examples()
Fail = Callable[[Any], Any]

FAILURES: dict[str, tuple[Fail, str]] = {
    "another width and bad y": (
        lambda model: model.fit(X[:, :4], Y + 0.5), "Unknown label type: continuous"
    ),
    "another width and two columns of classes": (
        lambda model: model.fit(X[:, :4], np.c_[Y, Y]), "y has 2 columns of classes"
    ),
    "another width and bad weights": (
        lambda model: model.fit(X[:, :4], Y, -np.ones(len(Y))), "sample_weight holds -1"
    ),
    "NaN in X": (lambda model: model.fit(X * np.nan, Y), "Input X contains NaN"),
    "a bad parameter": (
        lambda model: model.set_params(alpha=-1).fit(X[:, :4], Y), "'alpha' parameter of"
    ),
    "an unknown backend": (
        lambda model: model.set_params(backend="torch").fit(X, Y), "unknown backend 'torch'"
    ),
}  # fmt: skip


def contents(model: Any) -> dict[str, Any]:
    """Copies of the attributes that a fit sets."""
    return {name: copy.deepcopy(v) for name, v in vars(model).items() if name.endswith("_")}


def assert_same(model: Any, before: dict[str, Any]) -> None:
    after = contents(model)
    assert after.keys() == before.keys()
    for name, value in before.items():
        if name == "network_":
            np.testing.assert_array_equal(after[name].parameters, value.parameters)
        elif name != "history_":
            np.testing.assert_array_equal(after[name], value, err_msg=name)


@not_converged
@pytest.mark.parametrize("kind", FAILURES)
def test_a_failed_fit_leaves_a_fitted_classifier_as_it_was(kind: str) -> None:
    model = quick(backend="numpy").fit(X, Y)
    before, predicted, history = contents(model), model.predict_proba(X), model.history_
    fail, told = FAILURES[kind]
    with pytest.raises(ValueError, match=told):
        fail(model)
    assert_same(model, before)
    assert model.history_ is history
    np.testing.assert_array_equal(model.predict_proba(X), predicted)


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failed_fit_leaves_a_new_classifier_unfitted(kind: str) -> None:
    model = quick(backend="numpy")
    fail, told = FAILURES[kind]
    with pytest.raises(ValueError, match=told):
        fail(model)
    assert contents(model) == {}
    with pytest.raises(NotFittedError):
        model.predict(X)


@not_converged
@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_training_that_fails_late_leaves_a_warm_start_as_it_was(
    solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(network: Any) -> None:
        raise ValueError("the parameters are not finite")

    model = quick(backend="numpy", solver=solver, warm_start=True).fit(X, Y)
    before = contents(model)
    monkeypatch.setattr(base, "check_finite_parameters", refuse)
    with pytest.raises(ValueError, match="not finite"):
        model.fit(X, Y)
    assert_same(model, before)


@not_converged
def test_parameters_that_are_not_finite_after_training_are_told() -> None:
    def spoil(trainer: Any, history: Any) -> None:
        if len(history) == 5:
            trainer.network.parameters[-1] = np.inf

    model = quick(backend="numpy", callbacks=[spoil])
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        model.fit(X, Y)
    assert contents(model) == {}


@not_converged
def test_a_divergence_leaves_a_warm_start_as_it_was() -> None:
    x, y = targets(1)
    model = MLPRegressor(
        solver="sgd", backend="numpy", warm_start=True, random_state=0, max_iter=3, batch_size=30
    ).fit(x, y)
    before = contents(model)
    with pytest.raises(DivergenceError):
        model.set_params(learning_rate_init=1e6, max_iter=50).fit(x, y)
    assert_same(model, before)


@pytest.mark.parametrize(
    ("fail", "told"),
    [
        (lambda model: model.partial_fit(X[:, :4], Y), "features"),
        (lambda model: model.partial_fit(X, Y + 9), "`y` has classes not in"),
        (lambda model: model.partial_fit(X, Y, classes=[7, 8]), "is not the same as on last call"),
        (lambda model: model.partial_fit(X, Y, np.zeros(len(Y))), "zero"),
    ],
)
def test_a_failed_partial_fit_goes_on_as_if_it_had_not_been(fail: Fail, told: str) -> None:
    model, twin = (MLPClassifier((10,), backend="numpy", random_state=0) for _ in range(2))
    for each in (model, twin):
        each.partial_fit(X, Y, classes=[0, 1, 2])
    before = contents(model)
    with pytest.raises(ValueError, match=told):
        fail(model)
    assert_same(model, before)
    model.partial_fit(X, Y)
    twin.partial_fit(X, Y)
    np.testing.assert_array_equal(model.predict_proba(X), twin.predict_proba(X))


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ({"solver": "sgd", "learning_rate": "invscaling"}, {}),
        ({"solver": "sgd", "learning_rate": "invscaling"}, {"learning_rate_init": 0.5}),
        ({"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 9.0}, {}),
        ({}, {"beta_1": 0.1}),
        ({}, {"solver": "sgd"}),
        ({}, {"activation": "tanh"}),
    ],
    ids=str,
)
def test_a_callback_that_fails_leaves_the_learning_rate_and_the_optimizer(
    settings: dict[str, Any], changed: dict[str, Any]
) -> None:
    def fail(trainer: Any, history: Any) -> None:
        raise OSError("no room")

    model, twin = (quick(**settings) for _ in range(2))
    for each in (model, twin):
        for _ in range(3):
            each.partial_fit(X, Y, classes=[0, 1, 2])
    before = {name: model.get_params()[name] for name in changed}
    with pytest.raises(OSError, match="no room"):
        model.set_params(**changed, callbacks=[fail]).partial_fit(X, Y)
    model.set_params(**before, callbacks=())
    for _ in range(3):
        assert model._optimizer.learning_rate == twin._optimizer.learning_rate
        for each in (model, twin):
            each.partial_fit(X, Y)
        np.testing.assert_array_equal(model.predict_proba(X), twin.predict_proba(X))
