"""MLPRegressor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ..arrays import dense, to_host
from ..backends import Array, Backend
from ..kernels import COSTS, Activation, Cost
from ..registry import check_name
from .base import BaseMLP, Task
from .data import check_inputs_like_fit

__all__ = ["MLPRegressor"]

# scikit-learn's names of activations and losses that have another name in gpubp.
_OUTPUT_NAMES = {"sigmoid": "logistic", "exponential": "exp"}
_LOSSES = {
    "squared_error": COSTS["quadratic"],
    **{name: cost for name, cost in COSTS.items() if cost.targets != "class"},
}


class MLPRegressor(RegressorMixin, MultiOutputMixin, BaseMLP):  # type: ignore[misc]
    """A multi-layer perceptron for regression, with one or more outputs.

    Parameters
    ----------
    loss : str or Cost, default "squared_error"
        "squared_error" is half the squared error. "poisson" has exponential outputs, for y of at least 0.
        "binary_cross_entropy" has sigmoid outputs, for y from 0 to 1. The other costs of gpubp are "huber",
        "absolute_error", "log_cosh" and "quantile". A `Cost` is also possible, for example
        ``gpubp.get_cost("quantile", quantile=0.9)``.
    **others
        The parameters of `MLPClassifier`, with the same meaning. Validation scores are R².

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
        activation: str | Activation = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
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
        dropout: float = 0.0,
        checkpoint: Any = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
            backend=backend,
            dtype=dtype,
            dropout=dropout,
            checkpoint=checkpoint,
        )
        self.loss = loss

    _y_checks: Mapping[str, Any] = {"y_numeric": True}

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not isinstance(self.loss, Cost):
            check_name("loss", self.loss, _LOSSES)

    def _task(self, y: Any, goes_on: bool, classes: Any) -> Task:
        y = dense(y)
        targets = y[:, None] if y.ndim == 1 else y
        cost = self.loss if isinstance(self.loss, Cost) else _LOSSES[self.loss]
        output = cost.canonical or "identity"
        return Task(targets, targets.shape[1], _OUTPUT_NAMES.get(output, output), cost)

    def _score(self, outputs: Any, targets: Any, sample_weight: Any) -> float:
        return float(r2_score(targets, outputs, sample_weight=sample_weight))

    @available_if(lambda self: self._can_go_by_batches())  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train for one epoch on X and y, starting with the network and optimizer state of the last call.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        self
            The estimator.
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> Array:
        """Predict y.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_outputs)
            The network's outputs, on the device of X.
        """
        check_is_fitted(self)
        outputs = self.network_.predict(check_inputs_like_fit(self, X, self.network_.dtype))
        return outputs[:, 0] if self.n_outputs_ == 1 else outputs

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute R² = 1 - Σ (y - a)² / Σ (y - mean y)².

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`. With sample_weight, all sums and means are weighted.

        Returns
        -------
        float
            R²; 1 is the best value.
        """
        predicted, weights = to_host(self.predict(X)), to_host(sample_weight)
        return float(r2_score(to_host(y), predicted, sample_weight=weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
