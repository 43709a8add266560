"""Estimators pass scikit-learn's own checks, and have its parameters and defaults."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from small_data import not_converged

pytest.importorskip("sklearn", minversion="1.4")

from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from gpubp import MLPClassifier, MLPRegressor

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
    """Return the checks that may fail: none in float64, the dtype that scikit-learn computes in."""
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
    names, checks = mark.args  # older versions give a generator, about which pytest 9 warns
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
    own = {"backend": "auto", "dtype": "float32", "dropout": 0.0, "checkpoint": None}
    if "loss" not in others:
        own |= {"loss": "squared_error"} if ours is MLPRegressor else {}
    assert mine == {**others, **own}
