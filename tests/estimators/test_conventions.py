"""Estimators pass scikit-learn's own checks, and have its parameters and defaults."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from small_data import not_converged

pytest.importorskip("sklearn", minversion="1.7")

from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from gpubp import MLPClassifier, MLPRegressor

FINER_THAN_FLOAT32 = {
    "check_sample_weight_equivalence_on_dense_data": "it asks for agreement to 1e-7",
    "check_sample_weight_equivalence_on_sparse_data": "it asks for agreement to 1e-7",
    "check_regressor_multioutput": "it asks for float64 predictions; theirs is the network's dtype",
}


def expected_failures(estimator: Any) -> dict[str, str]:
    """Return the checks that may fail: none if the dtype follows X, as in scikit-learn."""
    return {} if estimator.dtype is None else FINER_THAN_FLOAT32


def with_checks() -> Any:
    estimators = [
        kind(**parameters)
        for kind in (MLPClassifier, MLPRegressor)
        for parameters in (
            {"max_iter": 30, "dtype": None},
            {"max_iter": 15, "dtype": None, "solver": "lbfgs"},
            {"max_iter": 30},
        )
    ]
    mark = parametrize_with_checks(estimators, expected_failed_checks=expected_failures)
    names, checks = mark.args  # scikit-learn < 1.9 gives a generator, about which pytest 9 warns
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
    own = {
        "backend": "auto", "dtype": "float32", "dropout": 0.0, "checkpoint": None,
        "output_activation": None, "clip_norm": None, "weight_decay": None, "callbacks": (),
        "progress": False, "layer_rates": None,
    }  # fmt: skip
    if ours is MLPClassifier:
        own |= {"loss": "log_loss", "class_weight": None, "label_smoothing": 0.0}
    else:
        own |= {"quantile": 0.5}
    assert mine == {**others, **own}


@pytest.mark.parametrize(
    ("ours", "theirs"), [(MLPClassifier, TheirClassifier), (MLPRegressor, TheirRegressor)]
)
def test_methods_take_what_scikit_learns_take(ours: Any, theirs: Any) -> None:
    """Other parameters come after those of scikit-learn, and only by keyword."""
    methods = [name for name, _ in inspect.getmembers(theirs, callable) if name[0] != "_"]
    assert {"fit", "partial_fit", "predict", "score", "set_fit_request"} <= {*methods}
    for name in ("__init__", *methods):
        mine, others = (
            list(inspect.signature(getattr(kind, name)).parameters.values())
            for kind in (ours, theirs)
        )
        own = {p.name for p in mine} - {p.name for p in others}
        common = [(p.name, p.kind, p.default) for p in mine if p.name not in own]
        assert common == [(p.name, p.kind, p.default) for p in others]
        assert {p.kind for p in mine if p.name in own} <= {inspect.Parameter.KEYWORD_ONLY}
        if not name.endswith("_request"):  # whose parameters scikit-learn orders by the alphabet
            assert [p.name for p in mine[: len(others)]] == [p.name for p in others]
