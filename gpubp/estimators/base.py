"""Base class of classifier and regressor: parameters and their checks, fit, views of the weights."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from ..backends import Array, Backend
from ..data_validation import check_weights
from ..kernels import ACTIVATIONS, Activation, Cost
from ..kernels.messages import shown
from ..network import Network
from ..network.arguments import check_dtype, is_sequence
from ..registry import check_name
from ..training import Trainer
from ..training.checkpoint import as_checkpoint
from ..training.optimizers import OPTIMIZERS
from ..validation import check_flag, check_number
from .data import check_data
from .solvers import Record, fit_batches, fit_lbfgs

__all__ = ["BaseMLP", "Task"]

# For each parameter: the lowest value, the highest, whether the lowest is excluded, and whether it is
# whole.
_NUMBERS: Mapping[str, tuple[float, float, bool, bool]] = {
    "alpha": (0, math.inf, False, False),
    "learning_rate_init": (0, math.inf, True, False),
    "power_t": (0, math.inf, False, False),
    "max_iter": (1, math.inf, False, True),
    "tol": (0, math.inf, False, False),
    "momentum": (0, 1, False, False),
    "validation_fraction": (0, 1, False, False),
    "beta_1": (0, 1, False, False),
    "beta_2": (0, 1, False, False),
    "epsilon": (0, math.inf, True, False),
    "max_fun": (1, math.inf, False, True),
    "dropout": (0, 1, False, False),
}
_FLAGS = ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping")
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "learning_rate": ("constant", "invscaling", "adaptive"),
    "solver": ("lbfgs", *OPTIMIZERS),
}
# scikit-learn's names of activations that have another name in gpubp.
_ACTIVATION_NAMES = {"logistic": "sigmoid", "exp": "exponential"}
_HIDDEN = {"logistic", *(name for name, a in ACTIVATIONS.items() if not a.rowwise)}


@dataclass
class Task:
    """The targets that follow from y, and the output layer and the cost for them.

    Attributes
    ----------
    targets : array of shape (n_samples,) or (n_samples, n_outputs)
        Labels or numbers.
    n_outputs : int
        Width of the output layer.
    output : str
        scikit-learn's name of the output activation.
    cost : str or Cost
        The cost to minimise.
    classes : array of shape (n_classes,) or None
        The class of each label; None for numbers.
    """

    targets: Array
    n_outputs: int
    output: str
    cost: str | Cost
    classes: Any = None


class BaseMLP(BaseEstimator):  # type: ignore[misc]
    """Base class of MLPClassifier and MLPRegressor, which define the meaning of y."""

    network_: Network
    _record: Record
    _trainer: Trainer | None

    def __init__(
        self,
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
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.backend = backend
        self.dtype = dtype
        self.dropout = dropout
        self.checkpoint = checkpoint

    _y_checks: Mapping[str, Any] = {}

    def _task(self, y: Any, goes_on: bool, classes: Any) -> Task:
        raise NotImplementedError

    def _score(self, outputs: Any, targets: Any, sample_weight: Any) -> float:
        """Compute the score of the network's outputs for encoded targets, all on the host."""
        raise NotImplementedError

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train on X and y, starting with new weights unless warm_start.

        After an error the estimator is as it was before.

        Parameters
        ----------
        X : array, DataFrame, CSR or CSC matrix of shape (n_samples, n_features)
            Inputs. A sparse matrix is never made dense. An array on a GPU stays there.
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            Classes, labels or numbers.
        sample_weight : array of shape (n_samples,), optional
            Sample weights, not negative.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data are not valid; the message names the parameter or array.
        DivergenceError
            If the loss is no longer finite. A lower learning_rate_init may help.
        """
        with _unchanged_by_errors(self):
            return self._fit(X, y, sample_weight)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool = False, classes: Any = None
    ) -> Any:
        self._check_parameters()
        goes_on = hasattr(self, "network_") and (incremental or self.warm_start)
        dtype = "float64" if self.solver == "lbfgs" else self.dtype
        X, y = check_data(self, X, y, reset=not goes_on, dtype=dtype, **self._y_checks)
        task = self._task(y, goes_on, classes)
        weights = check_weights(sample_weight, X.shape[0])
        sizes = self._sizes(X, task, goes_on)
        rng = check_random_state(self.random_state)
        if goes_on:
            network, record = self.network_, copy.deepcopy(self._record)
        else:
            network, record = self._network(sizes, task, self.dtype), Record()
            _draw_parameters(network, rng, self.activation)
        trainer: Trainer | None = None
        if self.solver == "lbfgs":
            twin = self._network(sizes, task, "float64")
            history = fit_lbfgs(self, network, twin, X, task.targets, weights)
            self.loss_ = history.cost[-1]
        else:
            trainer = self._trainer if incremental and goes_on else None
            epochs = 1 if incremental else int(self.max_iter)
            trainer, history = fit_batches(
                self,
                network,
                X,
                task.targets,
                weights,
                rng=rng,
                record=record,
                trainer=trainer,
                epochs=epochs,
                checkpoint=None if incremental else as_checkpoint(self.checkpoint),
            )
            if history.stopped == "epochs" and not incremental:
                warnings.warn(
                    f"max_iter={self.max_iter} epochs are done and training has not converged yet",
                    ConvergenceWarning,
                    stacklevel=3,
                )
            self._publish(record)
        _check_that_training_went_well(network)
        self.network_, self.history_ = network, history
        self._record, self._trainer = record, trainer
        self.n_iter_, self.t_ = len(history), record.seen
        self.n_layers_, self.n_outputs_, self.out_activation_ = len(sizes), sizes[-1], task.output
        if task.classes is not None:
            self.classes_ = task.classes
        return self

    def _sizes(self, X: Any, task: Task, goes_on: bool) -> tuple[int, ...]:
        """The layer widths, the input first."""
        widths = (X.shape[1], *np.atleast_1d(self.hidden_layer_sizes).tolist(), task.n_outputs)
        sizes = tuple(int(width) for width in widths)
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

    def _network(self, sizes: tuple[int, ...], task: Task, dtype: Any) -> Network:
        hidden = self.activation
        return Network(
            sizes,
            hidden=_ACTIVATION_NAMES.get(hidden, hidden) if isinstance(hidden, str) else hidden,
            output=_ACTIVATION_NAMES.get(task.output, task.output),
            cost=task.cost,
            dtype=dtype,
            backend=self.backend,
            initializer="zeros",
            dropout=float(self.dropout),
        )

    def _check_parameters(self) -> None:
        for name, (low, high, open_low, whole) in _NUMBERS.items():
            check_number(name, getattr(self, name), low, high, open_low=open_low, whole=whole)
        for name in _FLAGS:
            check_flag(name, getattr(self, name))
        for name, choices in _CHOICES.items():
            check_name(name, getattr(self, name), choices)
        if not isinstance(self.activation, Activation):
            check_name("activation", self.activation, _HIDDEN)
        widths = self.hidden_layer_sizes
        if isinstance(widths, str):
            raise ValueError(
                f"hidden_layer_sizes is {shown(widths)}, expected widths such as (100,)"
            )
        for width in widths if is_sequence(widths) else [widths]:
            check_number("each of hidden_layer_sizes", width, 1, math.inf, whole=True)
        patience, batch_size = self.n_iter_no_change, self.batch_size
        if not (isinstance(patience, float) and patience == math.inf):
            check_number("n_iter_no_change", patience, 1, math.inf, whole=True)
        if not (isinstance(batch_size, str) and batch_size == "auto"):
            check_number("batch_size", batch_size, 1, math.inf, whole=True)
        check_dtype(self.dtype)
        if self.solver == "lbfgs" and self.dropout:
            raise ValueError(f"dropout is {shown(self.dropout)}, expected 0 with solver 'lbfgs'")
        if as_checkpoint(self.checkpoint) is None:
            return
        if self.solver == "lbfgs":
            raise ValueError(
                f"checkpoint is {shown(self.checkpoint)}, expected None with solver 'lbfgs'"
            )
        if self.early_stopping and self.random_state is None:
            raise ValueError(
                "random_state is None, expected a seed with checkpoint and early_stopping: a fit that"
                " goes on must hold out the same rows"
            )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def _can_go_by_batches(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError("partial_fit goes by batches, which solver 'lbfgs' does not")
        return True

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> Any:
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        with _unchanged_by_errors(self):
            return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    @property
    def coefs_(self) -> list[Array]:
        """The weights of each layer, (n_in, n_out): transposed views of the network's weights."""
        return [layer.weights.T for layer in self.network_.layers]

    @property
    def intercepts_(self) -> list[Array | None]:
        """The biases of each layer, (n_out,): the network's arrays."""
        return [layer.biases for layer in self.network_.layers]


@contextmanager
def _unchanged_by_errors(estimator: BaseMLP) -> Iterator[None]:
    """After an error, restore the estimator's attributes and the parameters of its network."""
    before = dict(vars(estimator))
    network = before.get("network_")
    if network is not None:
        with network.backend.use():
            kept = network.parameters.copy()
    try:
        yield
    except BaseException:
        for name in vars(estimator).keys() - before.keys():
            delattr(estimator, name)
        estimator.__dict__.update(before)
        if network is not None:
            network.parameters = kept
        raise


def _check_that_training_went_well(network: Network) -> None:
    with network.backend.use():
        finite = bool(network.backend.xp.isfinite(network.parameters).all())
    if not finite:
        raise ValueError(
            "training gave parameters that are not finite; X may hold large values that want"
            " scaling, or learning_rate_init is too high"
        )


def _draw_parameters(network: Network, rng: Any, activation: str | Activation) -> None:
    """Draw weights and biases as scikit-learn does, within Glorot and Bengio's bound."""
    values = np.zeros(network.layout.size, network.dtype)
    factor = 2.0 if activation in ("logistic", "sigmoid") else 6.0
    for weights, biases in network.layout.views(values):
        bound = math.sqrt(factor / sum(weights.shape))
        weights[...] = rng.uniform(-bound, bound, weights.shape[::-1]).T
        assert biases is not None
        biases[...] = rng.uniform(-bound, bound, len(biases))
    network.parameters = values
