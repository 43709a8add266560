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
    hidden_layer_sizes : int or sequence of int, default (100,)
        The widths of the hidden layers, or the width of the only one; () is linear regression.
    activation : str, Activation or list of them, default "relu"
        Activation of the hidden layers. A list has one for each.
    solver : str, default "adam"
        "lbfgs", "sgd", "adam", "adamw", "rmsprop" or "lion".
    alpha : float, default 0.0001
        Factor of the L2 penalty: ½ alpha ‖w‖² / batch_size is added to a batch's mean loss. Biases have no
        penalty.
    batch_size : int or "auto", default "auto"
        The number of rows of a batch; "auto" is min(200, n_samples). Unused with lbfgs.
    learning_rate : str, Schedule or callable, default "constant"
        Schedule of the learning rate: "constant", "invscaling" or "adaptive" for sgd, and those of
        `gpubp.schedules`, as in `MLPClassifier`.
    learning_rate_init : float, default 0.001
        η of all solvers except lbfgs.
    power_t : float, default 0.5
        The exponent of "invscaling".
    max_iter : int, default 200
        The most epochs, or the most iterations of lbfgs.
    shuffle : bool, default True
        Whether to draw a new order of the rows for each epoch.
    random_state : int, RandomState or None, default None
        Seed or generator of the initial weights, the held-out rows and the batch order.
    tol : float, default 1e-4
        The least fall of the loss, or rise of the score, that is an improvement; for lbfgs, the largest
        element of the gradient at which it stops.
    verbose : bool, default False
        Whether to print the loss of each epoch.
    warm_start : bool, default False
        Whether fit continues with the network of the last fit.
    momentum : float, default 0.9
        Momentum of sgd, from 0 to 1.
    nesterovs_momentum : bool, default True
        Whether sgd uses Nesterov's momentum.
    early_stopping : bool, default False
        Whether to hold out rows, to stop by the `score` on them, and to restore the weights with the best
        score. If `fit` is given X_val and y_val, these are the rows.
    validation_fraction : float, default 0.1
        The share of rows that are held out; unused with X_val.
    beta_1, beta_2 : float, default 0.9 and 0.999
        β1 and β2 of adam, adamw and lion.
    epsilon : float, default 1e-8
        ε of adam, adamw and rmsprop.
    n_iter_no_change : int, default 10
        Training stops after more than this many epochs in a row without improvement.
    max_fun : int, default 15000
        The most evaluations of the loss by lbfgs.
    backend : str or Backend, default "auto"
        "auto", "numpy" or "cupy".
    dtype : str or None, default "float32"
        The dtype of parameters, training and predictions, "float32" or "float64"; None follows X. lbfgs
        uses float32 only for a float32 X.
    dropout : float or list of float, default 0
        Probability with which training drops a hidden activation. Not available with lbfgs.
    checkpoint : Checkpoint or path-like, optional
        Where `fit` writes checkpoints, and how often, as in `MLPClassifier`.
    output_activation : str, Activation or None, default None
        Activation of the output layer. None is the one that goes with the loss, as above; for all other
        losses it is the identity.
    quantile : float or list of float, default 0.5
        The quantile that loss "quantile" estimates (Koenker and Bassett 1978). With a list, y has one
        column, and `predict` returns a column for each quantile. They are trained together, so that they
        rarely cross, but nothing prevents it.
    clip_norm : float or None, default None
        A gradient with a larger norm is scaled to this norm. Not available with lbfgs.
    weight_decay : float or None, default None
        The decoupled decay of adamw and lion. None is the default of `gpubp.AdamW` or `gpubp.Lion`.
    callbacks : sequence of Callback or callable, default ()
        Callbacks of gpubp, or functions (trainer, history) that are called after each epoch. Not available
        with lbfgs.
    progress : bool, default False
        Whether `fit` shows a progress bar. Not available with lbfgs.
    layer_rates : sequence of float or None, default None
        A factor of the learning rate for each hidden layer and the output layer, as in `MLPClassifier`.

    Attributes
    ----------
    network_ : gpubp.Network
        The trained network. It may be used like any other; training goes on with the weights that it has.
    history_ : gpubp.History
        The record of the last call of fit or partial_fit. Its costs contain penalties only with lbfgs.
    coefs_ : list of arrays of shape (n_in, n_out)
        The weights of each layer: views of the network's parameters, which can be assigned as those of
        `MLPClassifier`.
    intercepts_ : list of arrays of shape (n_out,)
        The biases of each layer, like `coefs_`.
    loss_ : float
        The last loss, with penalties.
    loss_curve_ : list of float
        The loss of each epoch; warm starts and partial_fit append to it. Not set by lbfgs.
    best_loss_ : float or None
        The lowest loss; None with early_stopping. Not set by lbfgs.
    validation_scores_ : list of float or None
        The score on the held-out rows after each epoch; None without early_stopping.
    best_validation_score_ : float or None
        The highest of `validation_scores_`; None without early_stopping.
    n_iter_ : int
        The number of epochs or iterations of the last call.
    t_ : int
        The number of rows trained on since training began.
    n_features_in_, feature_names_in_, n_layers_, n_outputs_, out_activation_
        As in scikit-learn.

    See Also
    --------
    MLPClassifier : Says more of the parameters that both have.
    gpubp.Network : The network that both train.

    Examples
    --------
    >>> import gpubp
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = gpubp.MLPRegressor(hidden_layer_sizes=10, alpha=10, solver="lbfgs", tol=1, random_state=0)
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

        Raises
        ------
        AttributeError
            If the solver is lbfgs, which has no partial_fit.
        InvalidParameterError
            If a parameter is not valid. It is a ValueError and a TypeError.
        ValueError
            If parameters exclude each other, or the data are not valid.
        DivergenceError
            If the loss is no longer finite.

        Examples
        --------
        >>> import gpubp
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = gpubp.MLPRegressor(hidden_layer_sizes=16, learning_rate_init=0.1, random_state=0)
        >>> for k in range(40):
        ...     part = slice(k % 2, None, 2)
        ...     model = model.partial_fit(10 * X[part], y[part])
        >>> model.t_ == 20 * len(y), model.score(10 * X, y) > 0.4
        (True, True)
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

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X has other features than that of `fit`, or holds NaN or infinity.

        Examples
        --------
        A line through three points, and the 10 % and 90 % quantiles of numbers from 0 to 100:

        >>> import gpubp
        >>> model = gpubp.MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0, random_state=0)
        >>> model.fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]).predict([[10.0]]).round(2).tolist()
        [21.0]
        >>> model = gpubp.MLPRegressor("quantile", (), solver="lbfgs", quantile=[0.1, 0.9], random_state=0)
        >>> model.fit([[0.0]] * 101, range(101)).predict([[0.0]]).round(-1).tolist()
        [[10.0, 90.0]]
        """
        return in_library_of(X, self._predicted(X))

    def _predicted(self, X: Any) -> Array:
        outputs = self._network_outputs(X)
        return outputs[:, 0] if self.n_outputs_ == 1 and not self._levels else outputs

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute R² = 1 - Σ (y - a)² / Σ (y - mean y)²; with a list of quantiles, the mean of their D².

        D² is 1 - (pinball loss of a) / (pinball loss of the quantile of y); Koenker and Machado 1999.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`. With sample_weight, all sums and means are weighted.

        Returns
        -------
        float
            R² or D²; 1 is the best value.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X has other features than that of `fit`, or holds NaN or infinity, or y does not fit it.

        Examples
        --------
        R² is 1 for predictions without an error, and 0 for those that are all the mean of y:

        >>> import gpubp
        >>> X, y = [[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]
        >>> model = gpubp.MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0, random_state=0)
        >>> round(model.fit(X, y).score(X, y), 4)
        1.0
        >>> model.coefs_, model.intercepts_ = [[[0.0]]], [[3.0]]
        >>> model.score(X, y)
        0.0
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
