"""Fitted estimators from and to scikit-learn's MLPClassifier and MLPRegressor.

What goes from one library to the other: weights, classes, features, the record of losses and scores, and
the state of the optimizer. So warm starts and partial_fit go on as they would have in the other library.
scikit-learn keeps its optimizer in private attributes and modules; no other module reads them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from sklearn import neural_network
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..arrays import to_host
from ..backends import Backend
from ..kernels.messages import shown
from ..network import Network
from ..network.arguments import check_dtype
from ..training import Trainer
from ..training.history import History
from ..training.optimizers import OPTIMIZERS
from .losses import their_name
from .parameters import THEIR_SCHEDULES
from .rates import Rate
from .record import Record
from .stochastic import trainer_of

__all__ = ["LikeScikitLearns"]

_Self = TypeVar("_Self", bound="LikeScikitLearns")

_THEIR_ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
_THEIR_SOLVERS = ("lbfgs", "sgd", "adam")
_THEIR_LOSSES = {"log_loss": "log_loss", "squared_error": "squared_error", "poisson": "poisson"}
_THEIR_LOSSES["quadratic"] = "squared_error"


class LikeScikitLearns:
    """A base class with the ways from and to scikit-learn."""

    @classmethod
    def from_sklearn(
        cls: type[_Self], fitted: Any, *, backend: str | Backend = "auto", dtype: Any = None
    ) -> _Self:
        """Make an estimator of a fitted one of scikit-learn.

        It has the parameters and the attributes of the other, and predicts the same. Warm starts and
        partial_fit go on with the other's weights and with the state of its optimizer. The state of a
        generator of random numbers is not carried.

        Parameters
        ----------
        fitted : sklearn.neural_network.MLPClassifier or MLPRegressor
            The fitted estimator, of the same kind. It is not changed.
        backend : str or Backend, default "auto"
            The parameter of the new estimator.
        dtype : {"float32", "float64"}, optional
            The parameter of the new estimator. By default it is None, and the network has the dtype of the
            other's weights, float64 unless X was float32.

        Returns
        -------
        MLPClassifier or MLPRegressor
            The fitted estimator. Its `history_` is empty.

        Raises
        ------
        TypeError
            If it is no such estimator.
        NotFittedError
            If it is not fitted.
        ValueError
            If the dtype is unknown, or the weights are not finite or do not fit each other.

        Examples
        --------
        >>> import gpubp
        >>> from sklearn import neural_network
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> fitted = neural_network.MLPClassifier((10,), solver="lbfgs", random_state=0, max_iter=1000)
        >>> model = gpubp.MLPClassifier.from_sklearn(fitted.fit(X, y))
        >>> bool(abs(model.predict_proba(X) - fitted.predict_proba(X)).max() < 1e-9)
        True
        """
        theirs = _counterpart(cls)
        if not isinstance(fitted, theirs):
            expected = f"an sklearn.neural_network.{theirs.__name__}"
            raise TypeError(f"fitted is {shown(fitted)}, expected {expected}")
        check_is_fitted(fitted)
        parameters = {name: getattr(fitted, name) for name in theirs().get_params(deep=False)}
        make: Any = cls
        made = make(**copy.deepcopy(parameters), backend=backend, dtype=dtype)
        given = fitted.coefs_[0].dtype if dtype is None else check_dtype(dtype)
        _take_over(made, fitted, np.dtype(given if given == np.float32 else np.float64))
        result: _Self = made
        return result

    def to_sklearn(self) -> Any:
        """Make a fitted estimator of scikit-learn, which needs no gpubp.

        It predicts the same, and its warm starts and partial_fit go on with the weights and the state of
        the optimizer. What scikit-learn does not have and what acts on training alone is left out: dropout,
        class_weight, label_smoothing, clip_norm, layer_rates, callbacks, progress and checkpoint.

        Returns
        -------
        sklearn.neural_network.MLPClassifier or MLPRegressor
            The fitted estimator, with copies of the weights.

        Raises
        ------
        NotFittedError
            If this estimator is not fitted.
        ValueError
            If an activation, a loss, the solver or the learning rate's schedule is none that scikit-learn
            has.

        Examples
        --------
        >>> import gpubp
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = gpubp.MLPClassifier((10,), solver="lbfgs", tol=0.01, random_state=0).fit(X, y)
        >>> theirs = model.to_sklearn()
        >>> f"{type(theirs).__module__.partition('.')[0]}.{type(theirs).__name__}"
        'sklearn.MLPClassifier'
        >>> bool((theirs.predict(X) == model.predict(X)).all())
        True
        """
        check_is_fitted(self)
        return _given_to(_counterpart(type(self)), self)


def _counterpart(kind: type) -> Any:
    return (
        neural_network.MLPClassifier
        if issubclass(kind, ClassifierMixin)
        else neural_network.MLPRegressor
    )


# From scikit-learn.


def _take_over(made: Any, fitted: Any, dtype: np.dtype[Any]) -> None:
    """Set the attributes of an estimator that has the parameters of `fitted`."""
    for name in ("n_features_in_", "feature_names_in_", "n_iter_", "t_", "n_layers_", "n_outputs_"):
        if hasattr(fitted, name):
            setattr(made, name, copy.copy(getattr(fitted, name)))
    targets = _targets_like(fitted, getattr(fitted, "classes_", None))
    task = made._task(targets, dtype, False, None)
    for name, value in task.attributes.items():
        setattr(made, name, value)
    if task.classes is not None:
        made.classes_ = fitted.classes_.copy()
        binarizer = getattr(fitted, "_label_binarizer", None)
        made._has_sparse_labels = bool(getattr(binarizer, "sparse_input_", False))
        made._class_factors = []
    sizes = (fitted.coefs_[0].shape[0], *(weights.shape[1] for weights in fitted.coefs_))
    for k, shapes in enumerate(zip(fitted.coefs_, fitted.intercepts_, strict=True)):
        found = tuple(array.shape for array in shapes)
        if found != (sizes[k : k + 2], sizes[k + 1 : k + 2]):
            raise ValueError(
                f"fitted has coefs_[{k}] and intercepts_[{k}] of shapes {found[0]} and {found[1]},"
                f" expected {sizes[k : k + 2]} and {sizes[k + 1 : k + 2]}"
            )
    network = made._network(sizes, task, dtype)
    network.parameters = _flat(network, fitted.coefs_, fitted.intercepts_)
    made.network_, made.history_, made.out_activation_ = network, History(), fitted.out_activation_
    made._network_settings = made._settings_of_network(dtype)
    made._record, made._trainer = _record_of(fitted), None
    if hasattr(fitted, "loss_curve_"):
        made._publish(made._record)
    made.loss_ = fitted.loss_
    if made.solver != "lbfgs" and hasattr(fitted, "_optimizer"):
        made._trainer = _trainer_with(made, fitted._optimizer)


def _targets_like(fitted: Any, classes: Any) -> Any:
    """Make a y like the one that the estimator was fitted on: its classes, labels, or zeros."""
    if classes is None:
        return np.zeros((2, fitted.n_outputs_))
    several_labels = fitted.out_activation_ == "logistic" and fitted.n_outputs_ > 1
    return np.eye(fitted.n_outputs_, dtype=int) if several_labels else classes


def _record_of(fitted: Any) -> Record:
    best_loss = getattr(fitted, "best_loss_", None)
    best_score = getattr(fitted, "best_validation_score_", None)
    return Record(
        loss_curve=list(getattr(fitted, "loss_curve_", [])),
        best_loss=math.inf if best_loss is None else float(best_loss),
        scores=list(getattr(fitted, "validation_scores_", None) or []),
        best_score=-math.inf if best_score is None else float(best_score),
        waited=int(getattr(fitted, "_no_improvement_count", 0)),
        seen=int(fitted.t_),
    )


def _trainer_with(made: Any, optimizer: Any) -> Trainer:
    """Make the trainer that partial_fit goes on with, in the state of scikit-learn's optimizer."""
    network = made.network_
    trainer = trainer_of(made, network, check_random_state(made.random_state), None)
    step = trainer.training_step
    state = step.take()
    if made.solver == "adam":
        moments = {"first": (optimizer.ms, made.beta_1), "second": (optimizer.vs, made.beta_2)}
        for name, (arrays, beta) in moments.items():  # the state has sums, theirs has means
            values = _flat(network, *_halves(arrays)) / (1 - beta)
            state.arrays[name] = network.backend.asarray(values.astype(network.dtype))
        state.steps_taken = int(optimizer.t)
    elif "velocity" in state.arrays:
        values = -_flat(network, *_halves(optimizer.velocities))
        state.arrays["velocity"] = network.backend.asarray(values.astype(network.dtype))
        assert isinstance(trainer.schedule, Rate)
        trainer.schedule.current = float(optimizer.learning_rate)
    with network.backend.use():
        step.restore(state)
    return trainer


def _halves(arrays: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Cut a list of arrays for all weights, then for all biases."""
    return arrays[: len(arrays) // 2], arrays[len(arrays) // 2 :]


def _flat(network: Network, weights: Sequence[Any], biases: Sequence[Any]) -> Any:
    """Make a flat float64 array in the order of the parameters, of weights (n_in, n_out) and biases."""
    flat = np.empty(network.layout.size)
    for view, given_weights, given_biases in zip(
        network.layout.views(flat), weights, biases, strict=True
    ):
        view.weights[...] = given_weights.T
        if view.biases is not None:
            view.biases[...] = given_biases
    return flat


# To scikit-learn.


def _given_to(kind: Any, model: Any) -> Any:
    """Make a fitted estimator of scikit-learn's class `kind`."""
    theirs, network = kind(**_their_parameters(kind, model)), model.network_
    for name in ("n_features_in_", "feature_names_in_", "n_iter_", "t_", "n_layers_", "n_outputs_"):
        if hasattr(model, name):
            setattr(theirs, name, copy.copy(getattr(model, name)))
    theirs.coefs_, theirs.intercepts_ = _lists(network, to_host(network.parameters))
    theirs._best_coefs, theirs._best_intercepts = copy.deepcopy((theirs.coefs_, theirs.intercepts_))
    theirs.out_activation_, theirs.loss_ = model.out_activation_, model.loss_
    theirs._random_state = check_random_state(theirs.random_state)
    for name in ("best_loss_", "validation_scores_", "best_validation_score_", "loss_curve_"):
        if hasattr(model, name):
            setattr(theirs, name, copy.copy(getattr(model, name)))
    theirs._no_improvement_count = model._record.waited
    if hasattr(model, "classes_"):
        classes = np.array(model._encoder.classes)
        binarizer = LabelBinarizer().fit(_targets_like(model, classes))
        binarizer.sparse_input_ = model._has_sparse_labels
        theirs._label_binarizer, theirs.classes_ = binarizer, classes
    trainer = model._trainer
    if trainer is not None and type(trainer.optimizer) is OPTIMIZERS.get(theirs.solver):
        theirs._optimizer = _their_optimizer(theirs, network, trainer)
    return theirs


def _their_parameters(kind: Any, model: Any) -> dict[str, Any]:
    """Return the parameters for scikit-learn, after a check that it has them all."""
    hidden = {their_name(layer.activation) for layer in model.network_.layers[:-1]}
    if len(hidden) > 1:
        _check_theirs("activation", model.activation, ())
    activation = hidden.pop() if hidden else "relu"  # without hidden layers it is not used
    _check_theirs("activation", activation, _THEIR_ACTIVATIONS)
    _check_theirs("solver", model.solver, _THEIR_SOLVERS)
    _check_theirs("learning_rate", model.learning_rate, THEIR_SCHEDULES)
    losses = ("log_loss",) if kind is neural_network.MLPClassifier else ("squared_error", "poisson")
    loss = _THEIR_LOSSES.get(model.loss, model.loss) if isinstance(model.loss, str) else model.loss
    _check_theirs("loss", loss, losses)
    if model.output_activation is not None:
        _check_theirs("output_activation", model.output_activation, (None,))
    changed = {"activation": activation, "loss": loss}
    names = kind().get_params(deep=False)
    parameters = {name: changed.get(name, getattr(model, name)) for name in names}
    return copy.deepcopy(parameters)


def _check_theirs(name: str, value: Any, known: Sequence[Any]) -> None:
    if not any(value is one or (isinstance(value, str) and value == one) for one in known):
        expected = ", ".join(map(repr, known)) or "one for all hidden layers"
        raise ValueError(f"{name} is {shown(value)}, expected {expected}, as scikit-learn has")


def _lists(network: Network, flat: Any) -> tuple[list[Any], list[Any]]:
    """Return copies of the weights (n_in, n_out) and of the biases in a flat array."""
    views = network.layout.views(flat)
    return [w.T.copy() for w, _ in views], [np.array(b) for _, b in views]


def _their_optimizer(theirs: Any, network: Network, trainer: Trainer) -> Any:
    """Make scikit-learn's optimizer in the state of a trainer."""
    from sklearn.neural_network._stochastic_optimizers import (  # noqa: PLC0415
        AdamOptimizer,
        SGDOptimizer,
    )

    with network.backend.use():
        state = trainer.training_step.take()
    arrays = {name: to_host(array) for name, array in state.arrays.items()}
    rate, parameters = theirs.learning_rate_init, theirs.coefs_ + theirs.intercepts_

    def listed(values: Any) -> list[Any]:
        weights, biases = _lists(network, values)
        return weights + biases

    if theirs.solver == "adam":
        adam = AdamOptimizer(parameters, rate, theirs.beta_1, theirs.beta_2, theirs.epsilon)
        adam.t = state.steps_taken
        adam.ms = listed(arrays["first"] * (1 - theirs.beta_1))
        adam.vs = listed(arrays["second"] * (1 - theirs.beta_2))
        return adam
    how = theirs.learning_rate, theirs.momentum, theirs.nesterovs_momentum, theirs.power_t
    sgd = SGDOptimizer(parameters, rate, *how)
    if "velocity" in arrays:
        sgd.velocities = listed(-arrays["velocity"])
    sgd.learning_rate = getattr(trainer.schedule, "current", rate)
    return sgd
