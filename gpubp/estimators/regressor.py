"""MLPRegressor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, TypeVar

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.metrics import d2_pinball_score, r2_score
from sklearn.utils.validation import check_array

from ..arrays import dense, home_of, to_host
from ..backends import Array, Backend
from ..kernels import Activation, Cost
from ..keywords import tells_keywords, tells_keywords_of_call
from ..network.arguments import is_sequence
from ..training.schedules import Schedule
from .availability import available_if
from .base import BaseMLP, Task
from .data import in_library_of, on_host
from .exports import RegressorExports
from .losses import LOSSES, our_activation, quantile_cost
from .parameters import REGRESSOR_CONSTRAINTS, set_parameters
from .weights import unchanged_by_errors

__all__ = ["MLPRegressor"]


_Regressor = TypeVar("_Regressor", bound="MLPRegressor")


@tells_keywords
class MLPRegressor(RegressorMixin, MultiOutputMixin, RegressorExports, BaseMLP):  # type: ignore[misc]
    """A multi-layer perceptron for regression, with one or more outputs.

    Parameters
    ----------
    loss : str or Cost, default "squared_error"
        "squared_error" is half the squared error. "poisson" has exponential outputs, for y of at least 0.
        "binary_cross_entropy" has sigmoid outputs, for y from 0 to 1. "cross_entropy" has a softmax output,
        for rows of probabilities. The other costs of gpubp are "huber", "absolute_error", "log_cosh" and
        "quantile". A `Cost` is also possible, for example ``gpubp.get_cost("huber", threshold=2.0)``.
    output_activation : str, Activation or None, default None
        Activation of the output layer. None is the one that goes with the loss, as above; for all other
        losses it is the identity.
    quantile : float or list of float, default 0.5
        The quantile that loss "quantile" estimates. With a list, y has one column, and `predict` returns a
        column for each quantile. They are trained together, so that they rarely cross, but nothing prevents
        it.
    **others
        The parameters of `MLPClassifier` other than class_weight and label_smoothing, with the same
        meaning. Validation scores are those of `score`.

    Attributes
    ----------
    network_, history_, coefs_, intercepts_, loss_, ...
        As in `MLPClassifier`. There is no classes_.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPRegressor(hidden_layer_sizes=10, alpha=10, solver="lbfgs", tol=1, random_state=0)
    >>> round(model.fit(X, y).score(X, y), 1)
    0.5
    """

    def __init__(
        self,
        loss: str | Cost = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str | Activation | Sequence[str | Activation] = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str | Schedule | Callable[[int, int, int], float] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        backend: str | Backend = "auto",
        dtype: Any = "float32",
        dropout: float | Sequence[float] = 0.0,
        checkpoint: Any = None,
        output_activation: str | Activation | None = None,
        quantile: float | Sequence[float] = 0.5,
        clip_norm: float | None = None,
        weight_decay: float | None = None,
        callbacks: Sequence[Any] = (),
        progress: bool = False,
        layer_rates: Sequence[float] | None = None,
    ) -> None:
        set_parameters(self, locals())

    _parameter_constraints: Mapping[str, Sequence[Any]] = REGRESSOR_CONSTRAINTS
    _y_checks: Mapping[str, Any] = {"y_numeric": True}

    def _task(self, y: Any, dtype: Any, goes_on: bool, classes: Any) -> Task:
        levels: Any = None
        if isinstance(self.loss, Cost):
            cost = self.loss
        elif self.loss == "quantile":
            cost, levels = quantile_cost(self.quantile), self.quantile
        else:
            cost = LOSSES[self.loss]
        levels = tuple(levels) if is_sequence(levels) else ()
        targets = _columns("y", y, len(levels))
        output = our_activation(self.output_activation or cost.canonical or "identity")
        # scikit-learn's squared error is the mean over the outputs, and the network's cost is their sum.
        factor = 1 / targets.shape[1] if self.loss == "squared_error" else 1.0
        return Task(targets, targets.shape[1], output, cost, {"_levels": levels}, factor)

    def _targets_and_weights(
        self, name: str, y: Any, sample_weight: Array | None
    ) -> tuple[Array, Array | None]:
        return _columns(name, y, len(self._levels)), sample_weight

    def _score(self, outputs: Any, targets: Any, sample_weight: Any) -> float:
        if not np.isfinite(outputs).all():
            return math.nan
        if not self._levels:
            return float(r2_score(targets, outputs, sample_weight=sample_weight))
        columns = zip(self._levels, targets.T, outputs.T, strict=True)
        return fmean(
            d2_pinball_score(y, a, sample_weight=sample_weight, alpha=level)
            for level, y, a in columns
        )

    @available_if(lambda self: self._can_go_by_batches())
    @tells_keywords_of_call
    def partial_fit(
        self: _Regressor,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> _Regressor:
        """Train for one epoch on X and y, starting with the network and optimizer state of the last call.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        X_val, y_val, sample_weight_val
            As in `MLPClassifier.partial_fit`.

        Returns
        -------
        self
            The estimator.
        """
        validation = X_val, y_val, sample_weight_val
        with unchanged_by_errors(self):
            return self._fit(X, y, sample_weight, validation, incremental=True)

    def predict(self, X: Any) -> Array:
        """Predict y.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_outputs)
            The network's outputs, on the device of X; with a list of quantiles, a column for each.
        """
        return in_library_of(X, self._predicted(X))

    def _predicted(self, X: Any) -> Array:
        outputs = self._network_outputs(X)
        return outputs[:, 0] if self.n_outputs_ == 1 and not self._levels else outputs

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute R² = 1 - Σ (y - a)² / Σ (y - mean y)²; with a list of quantiles, the mean of their D².

        D² is 1 - (pinball loss of a) / (pinball loss of the quantile of y).

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`. With sample_weight, all sums and means are weighted.

        Returns
        -------
        float
            R² or D²; 1 is the best value.
        """
        predicted = to_host(self._predicted(X))
        y, weights = on_host("y", y), on_host("sample_weight", sample_weight)
        if not self._levels:
            return float(r2_score(y, predicted, sample_weight=weights))
        y = check_array(y, ensure_2d=False, input_name="y")
        return self._score(predicted, _columns("y", y, len(self._levels)), weights)


def _columns(name: str, y: Any, levels: int) -> Array:
    """Convert the y of this name to columns; with several quantiles, repeat its only one for each level."""
    y = dense(y)
    columns = y[:, None] if y.ndim == 1 else y
    if not levels:
        return columns
    if columns.shape[1] > 1:
        raise ValueError(
            f"{name} has {columns.shape[1]} columns, expected one with a list of quantiles"
        )
    home = home_of(columns)
    with home.use():
        return home.xp.repeat(columns, levels, axis=1)
