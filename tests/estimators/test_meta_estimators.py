"""The estimators within scikit-learn's meta-estimators and tools."""

from __future__ import annotations

from typing import Any

import joblib
import numpy as np
import pytest
from small_data import examples, not_converged, targets

pytest.importorskip("sklearn", minversion="1.7")

from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    cross_val_predict,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from gpubp import MLPClassifier, MLPRegressor

X, Y = examples(90)
QUICK: dict[str, Any] = {
    "max_iter": 15,
    "learning_rate_init": 0.05,
    "batch_size": 30,
    "random_state": 0,
}
pytestmark = not_converged


def classifier(**parameters: Any) -> MLPClassifier:
    return MLPClassifier((10,), **{**QUICK, **parameters})


@pytest.mark.parametrize("parallel", [pytest.param("loky", marks=pytest.mark.slow), "threading"])
def test_a_search_in_several_jobs_finds_what_one_finds(parallel: str) -> None:
    grid = {"learning_rate_init": [1e-6, 0.05], "alpha": [1e-4, 1e-2]}
    found = [
        GridSearchCV(classifier(max_iter=5), grid, cv=2, n_jobs=jobs, error_score="raise")
        for jobs in (1, 2)
    ]
    with joblib.parallel_config(parallel):
        for search in found:
            search.fit(X, Y)
    assert found[0].best_params_["learning_rate_init"] == 0.05
    for name in ("split0_test_score", "split1_test_score"):
        np.testing.assert_array_equal(*(search.cv_results_[name] for search in found))


def test_halving_gives_the_epochs_to_the_best_candidates() -> None:
    search = HalvingGridSearchCV(
        classifier(), {"learning_rate_init": [1e-6, 1e-5, 0.05]}, cv=2, factor=3, random_state=0,
        resource="max_iter", min_resources=3, max_resources=9,
    ).fit(X, Y)  # fmt: skip
    assert search.n_resources_ == [3, 9]
    assert search.best_params_ == {"learning_rate_init": 0.05, "max_iter": 9}
    assert search.best_estimator_.n_iter_ == 9


def test_columns_are_transformed_in_a_pipeline() -> None:
    columns = ColumnTransformer(
        [("scaled", StandardScaler(), [0, 1, 2]), ("unit", MinMaxScaler(), [3, 4, 5])]
    )
    pipeline = make_pipeline(columns, classifier()).fit(X, Y)
    by_hand = np.c_[
        StandardScaler().fit_transform(X[:, :3]), MinMaxScaler().fit_transform(X[:, 3:])
    ]
    np.testing.assert_array_equal(
        pipeline.predict(X), classifier().fit(by_hand, Y).predict(by_hand)
    )


def test_cross_validation_scores_clones() -> None:
    model = classifier()
    found = cross_validate(model, X, Y, cv=[(np.arange(60), np.arange(60, 90))], scoring="accuracy")
    assert found["test_score"] == [clone(model).fit(X[:60], Y[:60]).score(X[60:], Y[60:])]
    assert not hasattr(model, "network_")


def test_votes_are_the_mean_of_the_probabilities() -> None:
    models = [
        ("a", classifier()),
        ("b", classifier(random_state=1)),
        ("line", LogisticRegression()),
    ]
    vote = VotingClassifier(models, voting="soft").fit(X, Y)
    mean = np.mean([model.predict_proba(X) for model in vote.estimators_], axis=0)
    np.testing.assert_allclose(vote.predict_proba(X), mean, rtol=1e-6)
    regressors = [MLPRegressor(**{**QUICK, "random_state": seed}) for seed in (0, 1)]
    regression = VotingRegressor(list(zip("ab", regressors, strict=True))).fit(X, X[:, 0])
    mean = np.mean([model.predict(X) for model in regression.estimators_], axis=0)
    np.testing.assert_allclose(regression.predict(X), mean, rtol=1e-6)


@pytest.mark.parametrize(
    "meta",
    [
        lambda model: BaggingClassifier(model, n_estimators=3, random_state=0, n_jobs=2),
        lambda model: CalibratedClassifierCV(model, cv=2),
        lambda model: StackingClassifier([("mlp", model)], cv=2),
        OneVsRestClassifier,
    ],
    ids=["bagging", "calibration", "stacking", "one against the rest"],
)
def test_a_classifier_of_classifiers_predicts_the_classes(meta: Any) -> None:
    names = np.array(["a", "b", "c"])[Y]
    model = meta(classifier()).fit(X, names)
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(model.classes_[probabilities.argmax(axis=1)], model.predict(X))
    assert model.score(X, names) > 0.75


def test_an_estimator_for_each_output_is_one_fitted_to_it() -> None:
    x, y = targets(2, 90)
    each = MultiOutputRegressor(MLPRegressor(**QUICK)).fit(x, y)
    np.testing.assert_array_equal(
        each.predict(x)[:, 1], MLPRegressor(**QUICK).fit(x, y[:, 1]).predict(x)
    )
    classes = np.c_[Y, Y == 1]
    several = MultiOutputClassifier(classifier()).fit(X, classes)
    np.testing.assert_array_equal(several.predict(X)[:, 0], classifier().fit(X, Y).predict(X))


def test_a_target_is_transformed_there_and_back() -> None:
    x, y = targets(1, 90)
    model = TransformedTargetRegressor(MLPRegressor(**QUICK), func=np.exp, inverse_func=np.log)
    with np.errstate(invalid="ignore"):
        found = model.fit(x, y).predict(x)
    expected = MLPRegressor(**QUICK).fit(x, np.exp(y)).predict(x)
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-4)


def test_importances_and_learning_curves_see_what_was_learned() -> None:
    x = np.c_[X[:, :3], np.random.default_rng(0).normal(size=90)]
    y = (x[:, 0] > 0).astype(int)
    importances = permutation_importance(
        classifier().fit(x, y), x, y, n_repeats=3, random_state=0
    ).importances_mean
    assert importances.argmax() == 0
    sizes, train, _ = learning_curve(classifier(), x, y, train_sizes=[30, 60], cv=3)
    assert list(sizes) == [30, 60]
    assert train.shape == (2, 3)
    assert train.min() > 0.7


def test_cross_validated_probabilities_come_from_the_other_folds() -> None:
    folds = [(np.arange(45, 90), np.arange(45)), (np.arange(45), np.arange(45, 90))]
    found = cross_val_predict(classifier(), X, Y, cv=folds, method="predict_proba")
    for train, test in folds:
        expected = classifier().fit(X[train], Y[train]).predict_proba(X[test])
        np.testing.assert_array_equal(found[test], expected)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_keep_their_names(library: str) -> None:
    frames = pytest.importorskip(library)
    names = [f"feature {k}" for k in range(6)]
    frame = frames.DataFrame(dict(zip(names, X.T, strict=True)))
    classes = frames.Series(np.array(["a", "b", "c"])[Y].tolist())
    model = classifier().fit(frame, classes)
    assert list(model.feature_names_in_) == names
    np.testing.assert_array_equal(model.predict(frame), classifier().fit(X, classes).predict(X))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frames.DataFrame(dict(zip(["another", *names[1:]], X.T, strict=True))))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(X)
    pipeline = make_pipeline(StandardScaler().set_output(transform=library), classifier())
    assert list(pipeline.fit(frame, classes)[-1].feature_names_in_) == names
