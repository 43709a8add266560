"""Fitted estimators from and to scikit-learn: its own predictions, and training that goes on."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import scipy.sparse

pytest.importorskip("sklearn", minversion="1.7", reason="scikit-learn is not installed")

from sklearn import neural_network
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from gpubp import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings(
    "ignore:Stochastic Optimizer", "ignore:lbfgs failed to converge"
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 5))
SETTINGS: dict[str, Any] = {"hidden_layer_sizes": (6, 4), "random_state": 0, "max_iter": 4}
SETTINGS |= {"batch_size": 30}
LABELS = (X[:, :3] > 0).astype(int)
CLASSES: dict[str, Any] = {
    "two": np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)],
    "three": np.array([7, 3, 5])[np.digitize(X[:, 0], [-0.5, 0.5])],
    "one": np.full(90, 4),
    "labels": LABELS,
    "sparse labels": scipy.sparse.csr_matrix(LABELS),
}
NUMBERS: dict[str, Any] = {
    "one": X @ np.arange(5),
    "several": X @ RNG.normal(size=(5, 2)),
    "counts": RNG.poisson(2, 90),
}


def classifier(y: Any = CLASSES["three"], x: Any = X, **settings: Any) -> Any:
    return neural_network.MLPClassifier(**SETTINGS | settings).fit(x, y)


def regressor(y: Any = NUMBERS["several"], x: Any = X, **settings: Any) -> Any:
    return neural_network.MLPRegressor(**SETTINGS | settings).fit(x, y)


def ours(theirs: Any, **options: Any) -> Any:
    kind = MLPClassifier if hasattr(theirs, "classes_") else MLPRegressor
    return kind.from_sklearn(theirs, **{"backend": "numpy"} | options)


def dense(values: Any) -> Any:
    return values.toarray() if scipy.sparse.issparse(values) else values


def check_same(found: Any, expected: Any, tolerance: float = 1e-12) -> None:
    for name in ("predict_proba",) if hasattr(expected, "classes_") else ("predict",):
        actual, right = getattr(found, name)(X), getattr(expected, name)(X)
        np.testing.assert_allclose(actual, right, rtol=tolerance, atol=tolerance)
    if hasattr(expected, "classes_"):
        assert scipy.sparse.issparse(found.predict(X)) == scipy.sparse.issparse(expected.predict(X))
        np.testing.assert_array_equal(dense(found.predict(X)), dense(expected.predict(X)))
        np.testing.assert_array_equal(found.classes_, expected.classes_)
    for name in (
        *("n_features_in_", "n_layers_", "n_outputs_", "out_activation_", "n_iter_", "t_"),
        *("loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"),
    ):
        assert hasattr(found, name) == hasattr(expected, name), name
        if getattr(expected, name, None) is not None:
            value = getattr(expected, name)
            if isinstance(value, str):
                assert getattr(found, name) == value
            else:
                np.testing.assert_allclose(getattr(found, name), value, rtol=max(tolerance, 1e-9))
    for name, value in expected.get_params().items():
        if name in found.get_params():
            assert found.get_params()[name] == value, name


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("kind", CLASSES)
def test_a_classifier_predicts_the_same_in_both_libraries(kind: str, solver: str) -> None:
    theirs = classifier(CLASSES[kind], solver=solver)
    model = ours(theirs)
    assert model.network_.dtype == np.float64
    check_same(model, theirs)
    check_same(model.to_sklearn(), theirs)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("kind", NUMBERS)
def test_a_regressor_predicts_the_same_in_both_libraries(kind: str, activation: str) -> None:
    loss = "poisson" if kind == "counts" else "squared_error"
    theirs = regressor(NUMBERS[kind], activation=activation, loss=loss)
    model = ours(theirs)
    check_same(model, theirs)
    check_same(model.to_sklearn(), theirs)


def test_float32_and_the_network() -> None:
    theirs = classifier(x=X.astype(np.float32))
    assert theirs.coefs_[0].dtype == np.float32
    model = ours(theirs)
    assert model.network_.dtype == np.float32
    check_same(model, theirs, 1e-6)
    back = model.to_sklearn()
    assert back.coefs_[0].dtype == np.float32
    np.testing.assert_array_equal(back.predict_proba(X), theirs.predict_proba(X))
    narrow = ours(classifier(), dtype="float32")
    assert narrow.network_.dtype == narrow.dtype == "float32"
    np.testing.assert_allclose(
        narrow.network_.predict(X), classifier().predict_proba(X), rtol=1e-5, atol=1e-6
    )


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adam": {"beta_1": 0.8, "beta_2": 0.99},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.01},
    "without nesterov": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.01},
    "without momentum": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.01},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("make", [classifier, regressor])
def test_partial_fit_goes_on_as_in_the_other_library(make: Any, name: str) -> None:
    theirs = make(max_iter=9, **OPTIMIZERS[name])
    y = CLASSES["three"] if make is classifier else NUMBERS["several"]
    model = ours(theirs)
    for _ in range(3):
        theirs.partial_fit(X, y)
        model.partial_fit(X, y)
    check_same(model, theirs, 1e-10)
    if theirs.solver == "sgd":
        rate = theirs._optimizer.learning_rate
        assert model._optimizer.learning_rate == pytest.approx(rate, 1e-12)
    back = model.to_sklearn()
    for _ in range(3):
        theirs.partial_fit(X, y)
        back.partial_fit(X, y)
    check_same(back, theirs, 1e-10)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_warm_starts_go_on_as_in_the_other_library(solver: str) -> None:
    """With lbfgs and relu, a line search near a kink may take another step."""
    theirs = classifier(solver=solver, activation="tanh", warm_start=True, max_iter=3)
    model, y = ours(theirs), CLASSES["three"]
    theirs.fit(X, y)
    model.fit(X, y)
    check_same(model, theirs, 1e-8)
    back = model.to_sklearn().fit(X, y)
    theirs.fit(X, y)
    check_same(back, theirs, 1e-8)


def test_the_record_of_early_stopping_is_carried() -> None:
    theirs = classifier(early_stopping=True, validation_fraction=0.3)
    assert len(theirs.validation_scores_) == 4
    model = ours(theirs)
    check_same(model, theirs)
    back = model.to_sklearn()
    check_same(back, theirs)
    back.set_params(warm_start=True).fit(X, CLASSES["three"])
    theirs.set_params(warm_start=True).fit(X, CLASSES["three"])
    check_same(back, theirs, 1e-10)


def test_names_of_features_are_carried() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(X, columns=list("abcde"))
    model = ours(regressor(x=frame))
    assert list(model.feature_names_in_) == list("abcde")
    model.predict(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[list("edcba")])
    assert list(model.to_sklearn().feature_names_in_) == list("abcde")


def test_the_other_estimator_is_left_as_it_is_and_shares_nothing() -> None:
    theirs = classifier()
    before = copy.deepcopy(vars(theirs))
    model = ours(theirs)
    model.partial_fit(X, CLASSES["three"])
    for weights, kept in zip(theirs.coefs_, before["coefs_"], strict=True):
        np.testing.assert_array_equal(weights, kept)
    assert theirs.loss_curve_ == before["loss_curve_"]
    back, expected = model.to_sklearn(), model.predict_proba(X)
    back.partial_fit(X, CLASSES["three"])
    np.testing.assert_array_equal(model.predict_proba(X), expected)


def test_what_was_made_can_be_cloned_pickled_and_inspected() -> None:
    model = ours(classifier())
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    assert not hasattr(clone(model), "network_")
    assert clone(model).fit(X, CLASSES["three"]).score(X, CLASSES["three"]) > 0
    assert len(model.history_) == 0
    assert model.backprop(X, CLASSES["three"]).cost > 0
    pickle.loads(pickle.dumps(model.to_sklearn())).predict(X)


def test_what_scikit_learn_does_not_have_but_only_training_needs_is_left_out() -> None:
    y = CLASSES["three"]
    model = MLPClassifier(
        **SETTINGS, backend="numpy", dropout=0.1, class_weight="balanced", label_smoothing=0.1
    )
    check_same(model.set_params(clip_norm=1.0).fit(X, y).to_sklearn(), model, 1e-5)
    alike = MLPRegressor(**SETTINGS, backend="numpy", activation=["sigmoid", "logistic"])
    alike.set_params(loss="quadratic").fit(X, NUMBERS["one"])
    back = alike.to_sklearn()
    assert (back.activation, back.loss) == ("logistic", "squared_error")
    np.testing.assert_allclose(back.predict(X), alike.predict(X), rtol=1e-5, atol=1e-6)
    flat = MLPRegressor(hidden_layer_sizes=(), activation="gelu", max_iter=2, backend="numpy")
    flat.fit(X, NUMBERS["one"])
    np.testing.assert_allclose(flat.to_sklearn().predict(X), flat.predict(X), rtol=1e-5, atol=1e-6)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "activation": (
        {"activation": "gelu"},
        "activation is 'gelu', expected 'identity', 'logistic',",
    ),
    "activations": (
        {"activation": ["tanh", "relu"]},
        r"activation is \['tanh', 'relu'\], expected one for all hidden layers, as scikit-learn has",
    ),
    "solver": ({"solver": "lion"}, "solver is 'lion', expected 'lbfgs', 'sgd', 'adam', as scikit"),
    "schedule": ({"learning_rate": "cosine"}, "learning_rate is 'cosine', expected 'constant',"),
    "loss": ({"loss": "huber"}, "loss is 'huber', expected 'squared_error', 'poisson', as scikit"),
    "output": (
        {"output_activation": "tanh"},
        "output_activation is 'tanh', expected None, as scik",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_scikit_learn_cannot_be_given_is_told(name: str) -> None:
    settings, told = BAD[name]
    model = MLPRegressor(**SETTINGS | settings, backend="numpy").fit(X, NUMBERS["one"])
    with pytest.raises(ValueError, match=f"^{told}"):
        model.to_sklearn()


def test_weights_that_do_not_fit_each_other_are_told() -> None:
    theirs = classifier()
    theirs.coefs_[1] = theirs.coefs_[1][:-1]
    n_out, n_in = theirs.coefs_[0].shape[1], theirs.coefs_[1].shape[0]
    told = (
        rf"^fitted has coefs_\[1\] and intercepts_\[1\] of shapes \({n_in}, .*expected \({n_out}, "
    )
    with pytest.raises(ValueError, match=told):
        ours(theirs)


def test_what_is_no_fitted_estimator_of_the_kind_is_told() -> None:
    told = r"^fitted is MLPRegressor.*, expected an sklearn.neural_network.MLPClassifier"
    with pytest.raises(TypeError, match=told):
        MLPClassifier.from_sklearn(regressor())
    with pytest.raises(TypeError, match=r"^fitted is 3, expected an sklearn.neural_network.MLPReg"):
        MLPRegressor.from_sklearn(3)
    with pytest.raises(NotFittedError):
        MLPRegressor.from_sklearn(neural_network.MLPRegressor())
    with pytest.raises(NotFittedError):
        MLPRegressor().to_sklearn()
    with pytest.raises(ValueError, match=r"^dtype is 'float16', expected 'float32' or 'float64'"):
        ours(classifier(), dtype="float16")
