"""Class weights are sample weights that depend on the class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight
from small_data import assert_same_network, examples, not_converged, quick, targets

from gpubp import MLPClassifier
from gpubp.backends import Backend

X, Y = examples(60)
LABELS = (targets(3, 60)[1] > 0.3).astype(int)
EXACT = {"dtype": "float64", "batch_size": "auto", "shuffle": False, "alpha": 2.0}


@not_converged
@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_a_class_of_weight_three_is_its_rows_three_times(solver: str) -> None:
    model = quick(solver=solver, class_weight={0: 3, 1: 1, 2: 2}, **EXACT).fit(X, Y)
    times = np.array([3, 1, 2])[Y]
    repeated = quick(solver=solver, **EXACT).fit(X.repeat(times, axis=0), Y.repeat(times))
    assert_same_network(model, repeated)


@not_converged
def test_class_weights_run_on_every_backend(backend: Backend) -> None:
    weights, names = {"a": 3, "b": 1, "c": 2}, np.array(["a", "b", "c"])
    model = quick(class_weight=weights, backend=backend, **EXACT).fit(backend.asarray(X), names[Y])
    weighted = quick(**EXACT).fit(X, Y, sample_weight=np.array([3, 1, 2])[Y])
    assert_same_network(model, weighted)


@not_converged
def test_weights_of_rows_and_of_classes_are_multiplied() -> None:
    rows = np.linspace(0, 2, 60)
    model = quick(class_weight={0: 0.5, 1: 4.0}, **EXACT).fit(X, Y, sample_weight=rows)
    by_hand = rows * np.array([0.5, 4.0, 1.0])[Y]
    assert_same_network(model, quick(**EXACT).fit(X, Y, sample_weight=by_hand))


@not_converged
@pytest.mark.parametrize("rows", [None, np.arange(60)])
def test_balanced_gives_every_class_the_same_total_weight(rows: Any) -> None:
    model = quick(class_weight="balanced", **EXACT).fit(X, Y, sample_weight=rows)
    given = np.ones(60) if rows is None else rows
    totals = [given[label == Y].sum() for label in range(3)]
    by_hand = {label: sum(totals) / (3 * totals[label]) for label in range(3)}
    assert_same_network(model, quick(class_weight=by_hand, **EXACT).fit(X, Y, sample_weight=rows))


@not_converged
@pytest.mark.parametrize(
    "class_weight", ["balanced", [{0: 1, 1: 5}, {0: 2, 1: 1}, {0: 1, 1: 1}], [{1: 3}, {}, {0: 2}]]
)
def test_the_weights_of_a_rows_labels_are_multiplied(class_weight: Any) -> None:
    model = quick(class_weight=class_weight, **EXACT).fit(X, LABELS)
    filled = class_weight
    if isinstance(filled, list):
        filled = [{0: 1, 1: 1, **one} for one in class_weight]
    theirs = compute_sample_weight(filled, LABELS)
    assert_same_network(model, quick(**EXACT).fit(X, LABELS, sample_weight=theirs))


@not_converged
@pytest.mark.parametrize("value", [0, 1])
def test_balanced_weights_of_a_label_that_all_or_no_rows_have(value: int) -> None:
    labels = LABELS.copy()
    labels[:, 1] = value
    model = quick(class_weight="balanced", **EXACT).fit(X, labels)
    theirs = compute_sample_weight("balanced", labels)
    assert_same_network(model, quick(**EXACT).fit(X, labels, sample_weight=theirs))


@not_converged
def test_balanced_weights_find_a_rare_class() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 2))
    y = (x[:, 0] + rng.normal(size=1000) > 2.6).astype(int)  # 3 % of the rows
    settings = {"max_iter": 100, "batch_size": 100, "learning_rate_init": 0.01}
    plain, balanced = (
        quick(class_weight=weight, **settings).fit(x, y) for weight in (None, "balanced")
    )
    found = [model.predict(x)[y == 1].mean() for model in (plain, balanced)]
    assert found[0] < 0.4 and found[1] > 0.8


def test_partial_fit_takes_a_dict_and_refuses_balanced_as_sgd_classifier_does() -> None:
    model, by_hand = quick(class_weight={1: 4.0}, **EXACT), quick(**EXACT)
    for part in (slice(0, 30), slice(30, 60)):
        model.partial_fit(X[part], Y[part], classes=[0, 1, 2])
        by_hand.partial_fit(
            X[part], Y[part], sample_weight=np.array([1, 4, 1])[Y[part]], classes=[0, 1, 2]
        )
    assert_same_network(model, by_hand)
    with pytest.raises(
        ValueError, match="class_weight 'balanced' is not supported for partial_fit"
    ):
        quick(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])


@not_converged
def test_validation_scores_are_weighted_by_class() -> None:
    model = quick(class_weight={0: 10, 1: 1, 2: 0}, early_stopping=True)
    model.fit(X, Y, X_val=X, y_val=Y)
    right = model.predict(X) == Y
    by_hand = (10 * right[Y == 0].sum() + right[Y == 1].sum()) / np.dot([10, 1], np.bincount(Y)[:2])
    assert model.best_validation_score_ == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("y", "class_weight", "told"),
    [
        (Y, "balance", "'class_weight' parameter of MLPClassifier must be"),
        (Y, 2.0, "'class_weight' parameter of MLPClassifier must be"),
        (Y, {0: -1}, "each of class_weight is -1, expected a number at least 0"),
        (Y, {0: "1"}, "each of class_weight is '1', expected a number at least 0"),
        (Y, {7: 1.0}, "are not in class_weight"),
        (Y, [{0: 1}], "expected a dict or 'balanced'"),
        (Y % 2, {0: 0, 1: 0}, "class_weight is {0: 0, 1: 0}, expected a row whose"),
        (LABELS, {0: 1}, "class_weight should be a list of dicts, or the string 'balanced'"),
        (LABELS, [{0: 1}], "should match number of outputs"),
        (LABELS, [{0: 1}, 2, {}], "class_weight holds 2, expected dicts"),
    ],
)  # fmt: skip
def test_a_class_weight_that_does_not_fit_is_told(y: Any, class_weight: Any, told: str) -> None:
    model = MLPClassifier(class_weight=class_weight, max_iter=1)
    with pytest.raises(ValueError, match=told):
        model.fit(X, y)
    assert not hasattr(model, "network_")
