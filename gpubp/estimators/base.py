"""Base class of classifier and regressor: fit, and the attributes that it sets."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeVar

from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from ..backends import Array
from ..kernels import Activation, Cost
from ..kernels.messages import shown
from ..keywords import tells_keywords_of_call
from ..network import Network
from ..network.arguments import is_sequence
from ..training import Trainer
from .data import check_data, check_sample_weight, in_library_of, network_dtype
from .inspection import Inspection
from .lbfgs import fit_lbfgs
from .losses import our_activation, their_name
from .parameters import THEIR_SCHEDULES, check_parameters, hidden_widths
from .record import Record
from .scikit_learn import LikeScikitLearns
from .state import HasPlainState
from .stochastic import fit_batches
from .validation_data import check_validation_data
from .weights import (
    ListsOfWeights,
    check_finite_parameters,
    draw_parameters,
    unchanged_by_errors,
)

__all__ = ["BaseMLP", "Task"]

# The parameters that a network is made with, other than the widths and the dtype.
NETWORK_PARAMETERS = (
    "activation",
    "loss",
    "output_activation",
    "quantile",
    "label_smoothing",
    "dropout",
    "backend",
)


_Model = TypeVar("_Model", bound="BaseMLP")


@dataclass
class Task:
    """The targets that follow from y, and the output layer and the cost for them.

    Attributes
    ----------
    targets : array of shape (n_samples,) or (n_samples, n_outputs)
        Labels or numbers.
    n_outputs : int
        Width of the output layer.
    output : Activation
        The output activation.
    cost : Cost
        The cost to minimise.
    attributes : dict of str to object
        What else `fit` stores on the estimator.
    loss_factor : float
        The loss that the estimator reports, without the penalty, as a part of the cost.
    classes : array of shape (n_classes,) or None
        A classifier's classes, on the host.
    """

    targets: Array
    n_outputs: int
    output: Activation
    cost: Cost
    attributes: Mapping[str, Any] = field(default_factory=dict)
    loss_factor: float = 1.0
    classes: Any = None


class BaseMLP(Inspection, ListsOfWeights, LikeScikitLearns, HasPlainState):
    """Base class of MLPClassifier and MLPRegressor, which define the meaning of y."""

    network_: Network
    _record: Record
    _trainer: Trainer | None
    _network_settings: tuple[Any, ...]

    _parameter_constraints: Mapping[str, Sequence[Any]]
    _y_checks: Mapping[str, Any] = {}

    def _task(self, y: Any, dtype: Any, goes_on: bool, classes: Any) -> Task:
        """Find the targets, the output layer and the cost for y; `dtype` is the network's."""
        raise NotImplementedError

    def _targets_and_weights(
        self, name: str, y: Any, sample_weight: Array | None
    ) -> tuple[Array, Array | None]:
        """Convert the y of this name, which is not the y of `fit`, to targets; weigh its rows."""
        raise NotImplementedError

    def _weighted_by_class(self, y: Any, sample_weight: Array | None) -> Array | None:
        """Multiply the sample weights of `fit` by class weights; a regressor has none."""
        return sample_weight

    def _score(self, outputs: Any, targets: Any, sample_weight: Any) -> float:
        """Compute the score of the network's outputs for encoded targets, all on the host."""
        raise NotImplementedError

    @tells_keywords_of_call
    def fit(
        self: _Model,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> _Model:
        """Train on X and y, starting with new weights unless warm_start.

        After an error the estimator is as it was before.

        Parameters
        ----------
        X : array, DataFrame, CSR or CSC matrix of shape (n_samples, n_features)
            Inputs. A sparse matrix is never made dense. An array on a GPU stays there.
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            Classes, labels or numbers.
        sample_weight : array of shape (n_samples,) or float, optional
            Sample weights, not negative. A number is the weight of every row.
        X_val, y_val : arrays like X and y, optional
            The rows whose score early_stopping observes, instead of a share of X and y.
        sample_weight_val : array of shape (n_validation_samples,), optional
            Sample weights of the score.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        InvalidParameterError
            If a parameter is not valid. It is a ValueError and a TypeError.
        ValueError
            If parameters exclude each other, or the data are not valid; the message names them.
        DivergenceError
            If the loss is no longer finite. A lower learning_rate_init may help.

        Examples
        --------
        >>> import gpubp
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = gpubp.MLPClassifier((10,), solver="lbfgs", tol=0.01, random_state=0).fit(X, y)
        >>> model.network_.sizes, model.classes_.tolist()
        ((4, 10, 3), [0, 1, 2])

        Early stopping by the score on rows of your own, here every second one:

        >>> model = gpubp.MLPClassifier(early_stopping=True, learning_rate_init=0.01, random_state=0)
        >>> model = model.fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
        >>> len(model.validation_scores_) == model.n_iter_
        True
        >>> model.best_validation_score_ == model.score(X[1::2], y[1::2]) > 0.9
        True
        """
        with unchanged_by_errors(self):
            return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    def _fit(
        self: _Model,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation: tuple[Any, Any, Any],
        incremental: bool = False,
        classes: Any = None,
    ) -> _Model:
        check_parameters(self)
        if incremental:
            self._check_incremental(validation)
        goes_on = hasattr(self, "network_") and (incremental or self.warm_start)
        given, (X, y) = X, check_data(self, X, y, reset=not goes_on, **self._y_checks)
        dtype = network_dtype(self, X, goes_on)
        task = self._task(y, dtype, goes_on, classes)
        sizes = self._sizes(X, task, goes_on)
        for name, value in task.attributes.items():
            setattr(self, name, value)
        if task.classes is not None:
            self.classes_ = in_library_of(given, task.classes)
        weights = self._weighted_by_class(y, check_sample_weight(sample_weight, X))
        scored = check_validation_data(self, *validation, dtype, sizes[-1])
        rng = check_random_state(self.random_state)
        if goes_on:
            network, record = self._network_going_on(task, dtype), self._record.copy()
        else:
            network, record = self._network(sizes, task, dtype), Record()
            draw_parameters(network, rng, self.activation)
            if incremental or self.warm_start:
                self._begin_with_given_weights(network)
        trainer: Trainer | None = None
        if self.solver == "lbfgs":
            history, self.loss_ = fit_lbfgs(
                self, network, X, task.targets, weights, task.loss_factor
            )
        else:
            trainer = self._trainer if incremental and goes_on else None
            trainer, history = fit_batches(
                self,
                network,
                X,
                task.targets,
                weights,
                scored,
                loss_factor=task.loss_factor,
                rng=rng,
                record=record,
                trainer=trainer,
                incremental=incremental,
            )
            if history.stopped in ("epochs", "diverged") and not incremental:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the"
                    " optimization hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=4,
                )
            self._publish(record)
        check_finite_parameters(network)
        self.__dict__.pop("_given_weights", None)
        self.network_, self.history_ = network, history
        self._network_settings = self._settings_of_network(dtype)
        self._record, self._trainer = record, trainer
        self.n_iter_, self.t_ = len(history), record.seen
        self.n_layers_, self.n_outputs_ = len(sizes), sizes[-1]
        self.out_activation_ = their_name(task.output)
        return self

    def _sizes(self, X: Any, task: Task, goes_on: bool) -> tuple[int, ...]:
        """The layer widths, the input first."""
        sizes = (int(X.shape[1]), *hidden_widths(self), task.n_outputs)
        if goes_on and self.network_.sizes != sizes:
            raise ValueError(
                f"the layer widths are now {sizes}, but were {self.network_.sizes}; warm_start and"
                " partial_fit go on with the same network"
            )
        return sizes

    def _publish(self, record: Record) -> None:
        """Set scikit-learn's attributes from the record."""
        self.loss_, self.loss_curve_ = record.loss_curve[-1], record.loss_curve
        stops = self.early_stopping
        self.best_loss_ = None if stops else record.best_loss
        self.validation_scores_ = record.scores if stops else None
        self.best_validation_score_ = record.best_score if stops else None
        self._no_improvement_count = record.waited

    def _network(self, sizes: tuple[int, ...], task: Task, dtype: Any) -> Network:
        depth, hidden = len(sizes) - 2, self.activation
        return Network(
            sizes,
            hidden=[
                our_activation(a) for a in (hidden if is_sequence(hidden) else [hidden] * depth)
            ],
            output=task.output,
            cost=task.cost,
            dtype=dtype,
            backend=self.backend,
            initializer="zeros",
            dropout=self.dropout,
        )

    def _settings_of_network(self, dtype: Any) -> tuple[Any, ...]:
        """The dtype and the parameters that a network is made with, other than the widths."""
        values: list[Any] = [getattr(self, name, None) for name in NETWORK_PARAMETERS]
        return dtype, *(tuple(value) if is_sequence(value) else value for value in values)

    def _network_going_on(self, task: Task, dtype: Any) -> Network:
        """The network of the last fit; if its settings have changed, a new one with its parameters."""
        if self._network_settings == self._settings_of_network(dtype):
            return self.network_
        network = self._network(self.network_.sizes, task, dtype)
        network.parameters = self.network_.parameters
        return network

    @property
    def _optimizer(self) -> SimpleNamespace:
        """The current learning rate, at the place where users of scikit-learn read it."""
        trainer: Any = vars(self).get("_trainer")
        if trainer is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute '_optimizer'")
        return SimpleNamespace(learning_rate=trainer.schedule.current)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _can_go_by_batches(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
            )
        return True

    def _check_incremental(self, validation: tuple[Any, Any, Any]) -> None:
        """Check what partial_fit cannot do, or only with validation data."""
        if self.early_stopping and all(given is None for given in validation):
            raise ValueError(
                "partial_fit does not support early_stopping=True without X_val and y_val"
            )
        if self.learning_rate not in THEIR_SCHEDULES:
            raise ValueError(
                f"learning_rate is {shown(self.learning_rate)}, expected 'constant', 'invscaling' or"
                " 'adaptive' with partial_fit, which does not know the number of epochs"
            )
