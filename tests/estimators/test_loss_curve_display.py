"""LossCurveDisplay draws what a fit has recorded, in the conventions of scikit-learn's displays."""

from __future__ import annotations

import doctest
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.pipeline import make_pipeline
from small_data import examples, not_converged, quick

import gpubp
from gpubp import LossCurveDisplay

pyplot = pytest.importorskip("matplotlib.pyplot")
X, Y = examples()


@pytest.fixture(autouse=True)
def no_window() -> Iterator[None]:
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


@not_converged
def test_it_draws_the_losses_and_the_validation_scores_of_a_fit() -> None:
    model = quick(early_stopping=True).fit(X, Y)
    display = LossCurveDisplay.from_estimator(model, linewidth=3)
    for line, values in (
        (display.line_, model.loss_curve_),
        (display.score_line_, model.validation_scores_),
    ):
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5])
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert display.line_.get_linewidth() == 3
    assert display.score_line_.get_markevery() == [int(np.argmax(model.validation_scores_))]
    assert display.figure_ is display.ax_.figure is display.score_ax_.figure
    assert display.score_ax_.get_ylabel() == "validation score"
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["MLPClassifier: loss", "MLPClassifier: validation score"]


@not_converged
def test_a_fit_without_validation_has_one_axis() -> None:
    model = quick(solver="lbfgs").fit(X, Y)
    display = LossCurveDisplay.from_estimator(model)
    np.testing.assert_array_equal(display.line_.get_ydata(), model.history_.cost)
    assert display.score_ax_ is None and display.score_line_ is None
    assert len(display.figure_.axes) == 1


@not_converged
def test_after_lbfgs_the_curve_is_that_of_the_last_fit() -> None:
    model = quick(early_stopping=True).fit(X, Y).set_params(solver="lbfgs", max_iter=3).fit(X, Y)
    display = LossCurveDisplay.from_estimator(model)
    np.testing.assert_array_equal(display.line_.get_ydata(), model.history_.cost)
    assert len(display.loss_curve) == 3 and display.score_line_ is None


def test_a_dot_is_at_the_highest_score_that_is_a_number() -> None:
    scores = [np.nan, 0.1, 0.3, 0.2, np.nan]
    display = LossCurveDisplay(loss_curve=[1.0] * 5, validation_scores=scores).plot()
    assert display.score_line_.get_markevery() == [2]


@not_converged
def test_several_estimators_share_the_axes_in_colours_of_their_own() -> None:
    models = [quick(early_stopping=True, solver=solver).fit(X, Y) for solver in ("adam", "sgd")]
    _, ax = pyplot.subplots()
    first, second = (
        LossCurveDisplay.from_estimator(model, ax=ax, name=model.solver) for model in models
    )
    assert first.ax_ is second.ax_ is ax
    assert first.score_ax_ is second.score_ax_
    assert len(ax.figure.axes) == 2
    assert first.line_.get_color() == first.score_line_.get_color() != second.line_.get_color()
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["adam: loss", "sgd: loss", "adam: validation score", "sgd: validation score"]


def test_losses_over_more_than_a_decade_are_on_a_logarithmic_axis() -> None:
    wide = LossCurveDisplay(loss_curve=[300.0, 20.0, 2.0]).plot()
    wide.figure_.canvas.draw()
    labels = {text.get_text() for text in wide.ax_.get_yticklabels(which="both")}
    assert wide.ax_.get_yscale() == "log"
    assert {"10", "100", "20", "40", "60"} <= labels
    assert not {"30", "50", "70", "80", "90"} & labels
    assert LossCurveDisplay(loss_curve=[9.0, 1.0]).plot().ax_.get_yscale() == "linear"
    assert LossCurveDisplay(loss_curve=[3.0, 0.0]).plot().ax_.get_yscale() == "linear"
    assert LossCurveDisplay(loss_curve=[300.0, np.nan]).plot().ax_.get_yscale() == "linear"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["made: loss", "made: validation score"]),
        ({"name": "drawn"}, ["drawn: loss", "drawn: validation score"]),
        ({"label": "mine"}, ["mine", "made: validation score"]),
    ],
    ids=str,
)
def test_a_name_or_a_label_that_plot_gets_is_in_the_legend(
    given: dict[str, Any], expected: list[str]
) -> None:
    scores = [0.1, 0.2]
    display = LossCurveDisplay(
        loss_curve=[2.0, 1.0], validation_scores=scores, estimator_name="made"
    )
    legend = display.plot(**given).ax_.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == expected


def test_scores_leave_another_axis_alone_and_iterations_are_whole_numbers() -> None:
    _, ax = pyplot.subplots()
    other = ax.twinx()
    display = LossCurveDisplay(loss_curve=[2.0, 1.0], validation_scores=[0.1, 0.2]).plot(ax)
    assert display.score_ax_ not in (ax, other)
    assert all(float(tick).is_integer() for tick in ax.get_xticks())


@not_converged
def test_scikit_learns_own_estimators_can_be_compared_in_the_same_picture() -> None:
    theirs = TheirClassifier((10,), max_iter=5, random_state=0).fit(X, Y)
    display = LossCurveDisplay.from_estimator(theirs, name="scikit-learn")
    np.testing.assert_array_equal(display.line_.get_ydata(), theirs.loss_curve_)


def pipeline() -> Any:
    return make_pipeline(quick(max_iter=1, tol=9.0)).fit(X, Y)


@not_converged
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (pipeline, "expected a fitted MLPClassifier or MLPRegressor; of a pipeline, take its last"),
        (LogisticRegression, "expected a fitted MLPClassifier or MLPRegressor"),
        (lambda: TheirClassifier(solver="lbfgs", max_iter=5).fit(X, Y), "has no loss_curve_"),
    ],
)
def test_what_has_no_loss_curve_is_told(make: Any, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        LossCurveDisplay.from_estimator(make())


def test_an_estimator_that_is_not_fitted_says_so() -> None:
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(quick())


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"needs matplotlib; pip install 'gpubp\[plot\]'"):
        LossCurveDisplay(loss_curve=[1.0]).plot()


def test_the_package_exports_it() -> None:
    assert "LossCurveDisplay" in dir(gpubp)


def test_the_example_in_its_docstring_runs() -> None:
    assert doctest.testmod(sys.modules[LossCurveDisplay.__module__]).failed == 0
