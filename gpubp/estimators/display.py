"""LossCurveDisplay: the picture of a fit, in the conventions of scikit-learn's displays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sklearn.utils.validation import check_is_fitted

from ..kernels.messages import shown

__all__ = ["LossCurveDisplay"]

SCORES_LABEL = "validation score"
"""The label of the second axis; a second display finds the axis by it."""


class LossCurveDisplay:
    """The loss of each iteration and, on a second axis, the validation scores; a dot is at the highest.

    `from_estimator` makes one and draws it. All parameters are stored as attributes.

    Parameters
    ----------
    loss_curve : sequence of float
        The loss of each iteration: an epoch, or an iteration of lbfgs.
    validation_scores : sequence of float or None, default None
        The validation score of each iteration; None without validation.
    estimator_name : str or None, default None
        The name in the legend.

    Attributes
    ----------
    line_ : matplotlib.lines.Line2D
        The losses.
    score_line_ : matplotlib.lines.Line2D or None
        The validation scores; None without any.
    ax_, score_ax_ : matplotlib.axes.Axes
        The axes of the losses and of the scores; `score_ax_` is None without scores.
    figure_ : matplotlib.figure.Figure
        The figure of both.

    Examples
    --------
    >>> from gpubp import LossCurveDisplay, MLPClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((10,), solver="lbfgs", tol=0.01, random_state=0).fit(X / 10, y)
    >>> display = LossCurveDisplay.from_estimator(model)
    >>> display.ax_.get_ylabel()
    'loss'
    """

    def __init__(
        self,
        *,
        loss_curve: Sequence[float],
        validation_scores: Sequence[float] | None = None,
        estimator_name: str | None = None,
    ) -> None:
        self.loss_curve, self.validation_scores = loss_curve, validation_scores
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, name: str | None = None, **kwargs: Any
    ) -> LossCurveDisplay:
        """Draw the loss curve of a fitted estimator.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
            A fitted estimator of gpubp or of scikit-learn.
        ax : matplotlib.axes.Axes, optional
            The axes to draw on; by default those of a new figure. Several curves fit in one picture.
        name : str, optional
            The name in the legend; by default the name of the estimator's class.
        **kwargs
            Arguments of matplotlib's `plot` for the line of the losses.

        Returns
        -------
        LossCurveDisplay
            The display, which has been drawn.

        Raises
        ------
        TypeError
            If the estimator has no loss curve.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        ImportError
            If matplotlib is not installed; the extra gpubp[plot] installs it.

        Examples
        --------
        Two fits in one picture:

        >>> import gpubp
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> display, small = None, {"solver": "lbfgs", "tol": 0.01, "random_state": 0}
        >>> for width in (2, 10):
        ...     model = gpubp.MLPClassifier((width,), **small).fit(X / 10, y)
        ...     display = gpubp.LossCurveDisplay.from_estimator(
        ...         model, ax=display and display.ax_, name=f"width {width}"
        ...     )
        >>> [line.get_label() for line in display.ax_.get_lines()]
        ['width 2: loss', 'width 10: loss']
        """
        if not hasattr(estimator, "fit") or not hasattr(estimator, "hidden_layer_sizes"):
            raise TypeError(
                f"estimator is {shown(estimator)}, expected a fitted MLPClassifier or MLPRegressor; of a"
                " pipeline, take its last step"
            )
        check_is_fitted(estimator)
        curve = getattr(estimator, "loss_curve_", None)
        scores = getattr(estimator, "validation_scores_", None)
        if hasattr(estimator, "history_") and not hasattr(estimator, "_optimizer"):
            # After lbfgs the other attributes are those of an earlier fit, if there are any.
            curve, scores = estimator.history_.cost, None
        if curve is None:
            raise TypeError(
                f"estimator is {shown(estimator)}, which has no loss_curve_, expected one that was"
                " trained by sgd or adam"
            )
        display = cls(
            loss_curve=curve,
            validation_scores=scores,
            estimator_name=type(estimator).__name__ if name is None else name,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> LossCurveDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            The axes to draw on; by default those of a new figure.
        name : str, optional
            The name in the legend; by default `estimator_name`.
        **kwargs
            Arguments of matplotlib's `plot` for the line of the losses.

        Returns
        -------
        LossCurveDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed; the extra gpubp[plot] installs it.

        Examples
        --------
        A record that was kept, drawn again:

        >>> import gpubp
        >>> display = gpubp.LossCurveDisplay(loss_curve=[0.9, 0.5, 0.4], validation_scores=[0.6, 0.8, 0.7])
        >>> display = display.plot(name="second run", color="black")
        >>> display.line_.get_label(), display.line_.get_color()
        ('second run: loss', 'black')
        >>> display.score_line_.get_ydata().tolist()
        [0.6, 0.8, 0.7]
        """
        if ax is None:
            ax = _new_axes()
        name = self.estimator_name if name is None else name
        of_name = "" if name is None else f"{name}: "
        epochs = range(1, len(self.loss_curve) + 1)
        (self.line_,) = ax.plot(epochs, self.loss_curve, **{"label": f"{of_name}loss", **kwargs})
        ax.set(xlabel="iteration", ylabel="loss")
        ax.xaxis.get_major_locator().set_params(integer=True)
        if _spans_decades(ax):
            ax.set_yscale("log")
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_formatter(_label_minor_tick)
        ax.grid(alpha=0.25)
        self.ax_, self.figure_ = ax, ax.figure
        self.score_ax_, self.score_line_ = None, None
        if self.validation_scores:
            self.score_ax_ = _score_axes(ax)
            (self.score_line_,) = self.score_ax_.plot(
                range(1, len(self.validation_scores) + 1),
                self.validation_scores,
                color=self.line_.get_color(),
                linestyle="--",
                marker="o",
                markevery=[_place_of_highest(self.validation_scores)],
                label=f"{of_name}{SCORES_LABEL}",
            )
        _draw_legend(ax)
        return self


def _new_axes() -> Any:
    try:
        import matplotlib.pyplot as plt  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("LossCurveDisplay needs matplotlib; pip install 'gpubp[plot]'") from error
    return plt.subplots(layout="constrained")[1]


def _spans_decades(ax: Any) -> bool:
    """Whether the losses are positive, and the largest is more than ten times the smallest."""
    values = [float(v) for line in ax.get_lines() for v in line.get_ydata() if math.isfinite(v)]
    return bool(values) and min(values) > 0 and max(values) > 10 * min(values)


def _place_of_highest(scores: Sequence[float]) -> int:
    """Return the index of the highest score; NaN, of an epoch that diverged, is below all numbers."""
    return max(range(len(scores)), key=lambda k: -math.inf if math.isnan(scores[k]) else scores[k])


def _score_axes(ax: Any) -> Any:
    """Return the axes of scores that share the x axis of `ax`; make them if there are none."""
    for other in ax.get_shared_x_axes().get_siblings(ax):
        if other is not ax and other.get_ylabel() == SCORES_LABEL:
            return other
    scores = ax.twinx()
    scores.set_ylabel(SCORES_LABEL)
    return scores


def _label_minor_tick(value: float, position: int | None) -> str:
    """Label every other tick between the powers of ten, for lack of room."""
    first = round(value / 10 ** math.floor(math.log10(value)))
    return f"{value:g}" if first in (2, 4, 6) else ""


def _draw_legend(ax: Any) -> None:
    """Draw one legend for the curves of both axes, above them, where it covers none."""
    every = sorted(ax.get_shared_x_axes().get_siblings(ax), key=lambda axes: axes is not ax)
    pairs = [axes.get_legend_handles_labels() for axes in every]
    lines, labels = ([entry for pair in pairs for entry in pair[k]] for k in (0, 1))
    ax.legend(lines, labels, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
