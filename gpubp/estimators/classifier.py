"""MLPClassifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score

from ..arrays import dense, to_host
from ..backends import Backend
from ..kernels import Activation, Cost
from ..keywords import tells_keywords, tells_keywords_of_call
from ..training.schedules import Schedule
from .availability import available_if
from .base import BaseMLP, Task
from .class_weights import ClassWeights
from .data import on_host
from .exports import ClassifierExports
from .labels import LabelEncoder, classification_task, is_multilabel
from .parameters import CLASSIFIER_CONSTRAINTS, set_parameters
from .probabilities import Probabilities
from .weights import unchanged_by_errors

__all__ = ["MLPClassifier"]


_Classifier = TypeVar("_Classifier", bound="MLPClassifier")


@tells_keywords
class MLPClassifier(ClassifierMixin, Probabilities, ClassWeights, ClassifierExports, BaseMLP):  # type: ignore[misc]
    """A multi-layer perceptron for two classes, several classes, or several labels for each row.

    For two classes the network has one output, a sigmoid. For more classes it has a softmax output. For
    labels it has one sigmoid output for each label. The loss is the cross-entropy of these outputs. `loss`
    and `output_activation` choose others.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default (100,)
        The widths of the hidden layers, or the width of the only one.
    activation : str, Activation or list of them, default "relu"
        Activation of the hidden layers: "identity", "logistic", "tanh", "relu", or another activation of
        gpubp. A list has one for each hidden layer.
    solver : str, default "adam"
        "lbfgs", "sgd", "adam", or another optimizer of gpubp: "adamw", "rmsprop", "lion".
    alpha : float, default 0.0001
        Factor of the L2 penalty: ½ alpha ‖w‖² / batch_size is added to a batch's mean loss. Biases have no
        penalty.
    batch_size : int or "auto", default "auto"
        The number of rows of a batch; "auto" is min(200, n_samples). Unused with lbfgs.
    learning_rate : str, Schedule or callable, default "constant"
        Schedule of sgd: "constant"; "invscaling", ``learning_rate_init / (t_ + 1)**power_t`` in each
        epoch; or "adaptive". "adaptive" divides the learning rate by 5 when training would stop, until it
        is 1e-6. The schedules of gpubp, by name, as objects of `gpubp.schedules`, or as a function (step,
        total, per_epoch) -> factor, are for all solvers except lbfgs, and not for partial_fit; "on_plateau"
        watches the training loss.
    learning_rate_init : float, default 0.001
        η of all solvers except lbfgs.
    power_t : float, default 0.5
        The exponent of "invscaling"; see learning_rate.
    max_iter : int, default 200
        The most epochs, or the most iterations of lbfgs.
    shuffle : bool, default True
        Whether to draw a new order of the rows for each epoch.
    random_state : int, RandomState or None, default None
        Seed or generator of the initial weights, the held-out rows and the batch order.
    tol : float, default 1e-4
        An epoch is an improvement if the loss falls, or the score rises, by at least this (see
        n_iter_no_change). lbfgs stops when no element of the gradient is larger than this.
    verbose : bool, default False
        Whether to print the loss of each epoch.
    warm_start : bool, default False
        Whether fit continues with the network of the last fit. y must then have the same classes, and
        hidden_layer_sizes must be the same. Other parameters may be changed.
    momentum : float, default 0.9
        Momentum of sgd, from 0 to 1.
    nesterovs_momentum : bool, default True
        Whether sgd uses Nesterov's momentum.
    early_stopping : bool, default False
        Whether to hold out rows, to stop by the score on them, and to restore the weights with the best
        score. If `fit` is given X_val and y_val, these are the rows.
    validation_fraction : float, default 0.1
        The share of rows that are held out; unused with X_val.
    beta_1, beta_2 : float, default 0.9 and 0.999
        β1 and β2 of adam, adamw and lion.
    epsilon : float, default 1e-8
        ε of adam, adamw and rmsprop.
    n_iter_no_change : int, default 10
        Training stops after more than this many epochs in a row without improvement. An improvement is a
        loss at least tol below the lowest before or, with early_stopping, a score at least tol above the
        highest before.
    max_fun : int, default 15000
        The most evaluations of the loss by lbfgs.
    backend : str or Backend, default "auto"
        "auto", "numpy" or "cupy".
    dtype : str or None, default "float32"
        The dtype of parameters, training and predictions, "float32" or "float64". None follows X, as
        scikit-learn does: float32 for a float32 X, else float64; a fit that goes on with a network keeps
        its dtype. lbfgs uses float32 only for a float32 X, for its line searches compare losses that hardly
        differ.
    dropout : float or list of float, default 0
        Probability with which training drops a hidden activation; a list has one for each hidden layer. Not
        available with lbfgs.
    checkpoint : Checkpoint or path-like, optional
        Where `fit` writes checkpoints, and how often, as in `gpubp.Trainer`. With warm_start, `fit` goes on
        from the newest one, and max_iter includes its epochs; that needs the same data and an int as
        random_state. Not available with lbfgs, and unused by partial_fit.
    loss : str or Cost, default "log_loss"
        "log_loss" is the cross-entropy that goes with the output activation. The others are the costs of
        gpubp, by name or as objects. "cross_entropy" has a softmax output also for two classes.
        "binary_cross_entropy" has a sigmoid for each class. All others compare the outputs with 1 for the
        row's class and 0 for the others.
    class_weight : "balanced", dict, list of dict or None, default None
        Factors of the sample weights. A dict has a factor for each class; for labels a list has a dict for
        each, such as ``{0: 1, 1: 5}``, and the factors of a row's labels are multiplied. "balanced" gives
        all classes the same total weight; it is not available in partial_fit. Validation scores have these
        weights too.
    label_smoothing : float, default 0
        ε: training brings the outputs near (1 - ε) y + ε / n_classes instead of y (for labels, n_classes is
        2); Szegedy et al. 2016.
    output_activation : str, Activation or None, default None
        Activation of the output layer. None is the softmax for more than two classes, else the sigmoid; see
        loss. `predict_proba` needs outputs from 0 to 1.
    clip_norm : float or None, default None
        A gradient with a larger norm is scaled to this norm. Not available with lbfgs.
    weight_decay : float or None, default None
        The decoupled decay of adamw and lion. None is the default of `gpubp.AdamW` or `gpubp.Lion`.
    callbacks : sequence of Callback or callable, default ()
        Callbacks of gpubp, or functions (trainer, history) that are called after each epoch. Not available
        with lbfgs.
    progress : bool, default False
        Whether `fit` shows a progress bar with the loss, the validation score and the speed, in a terminal
        or a notebook. Not available with lbfgs.
    layer_rates : sequence of float or None, default None
        A factor of the learning rate for each hidden layer and the output layer; None means 1 for each.
        With 0 a layer keeps its weights: those of the last fit with warm_start or partial_fit, or those
        that were assigned. Not available with lbfgs.

    Attributes
    ----------
    network_ : gpubp.Network
        The trained network. It may be used like any other; training goes on with the weights that it has.
    history_ : gpubp.History
        The record of the last call of fit or partial_fit. Its costs contain penalties only with lbfgs.
    classes_ : array of shape (n_classes,)
        The classes; with several labels for each row, the numbers of the columns. An array of X's library
        if scikit-learn dispatches on arrays.
    multilabel_ : bool
        Whether each row of y has several labels.
    coefs_ : list of arrays of shape (n_in, n_out)
        The weights of each layer: views of the network's parameters. The list, its items and their elements
        can be assigned. A list that is assigned before the first fit is the initial one of partial_fit, and
        of fit with warm_start.
    intercepts_ : list of arrays of shape (n_out,)
        The biases of each layer, like `coefs_`.
    loss_ : float
        The last loss, with penalties.
    loss_curve_ : list of float
        The loss of each epoch; warm starts and partial_fit append to it. Not set by lbfgs.
    best_loss_ : float or None
        The lowest loss; None with early_stopping. Not set by lbfgs.
    validation_scores_ : list of float or None
        The accuracy on the held-out rows after each epoch; None without early_stopping.
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
    MLPRegressor : Predicts numbers.

    Examples
    --------
    >>> import gpubp
    >>> from sklearn.datasets import load_breast_cancer
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = gpubp.MLPClassifier(solver="lbfgs", tol=0.01, random_state=0).fit(X / X.max(axis=0), y)
    >>> model.score(X / X.max(axis=0), y) > 0.95
    True
    """

    def __init__(
        self,
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
        loss: str | Cost = "log_loss",
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        output_activation: str | Activation | None = None,
        clip_norm: float | None = None,
        weight_decay: float | None = None,
        callbacks: Sequence[Any] = (),
        progress: bool = False,
        layer_rates: Sequence[float] | None = None,
    ) -> None:
        set_parameters(self, locals())

    _encoder: LabelEncoder
    _parameter_constraints: Mapping[str, Sequence[Any]] = CLASSIFIER_CONSTRAINTS

    def _task(self, y: Any, dtype: Any, goes_on: bool, classes: Any) -> Task:
        return classification_task(self, y, dtype, goes_on, classes)

    def _score(self, outputs: Any, targets: Any, sample_weight: Any) -> float:
        if len(self._encoder.classes) == 1 and not self.multilabel_:  # then `predict` has no choice
            right = np.ones(len(targets), bool)
        elif targets.ndim == 1:
            right = outputs.argmax(axis=1) == targets
        elif self.multilabel_ or self._encoder.n_outputs == 1:
            right = ((outputs > 0.5) == (targets > 0.5)).all(axis=1)
        else:
            right = outputs.argmax(axis=1) == targets.argmax(axis=1)
        return float(np.average(right, weights=sample_weight))

    @available_if(lambda self: self._can_go_by_batches())
    @tells_keywords_of_call
    def partial_fit(
        self: _Classifier,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> _Classifier:
        """Train for one epoch on X and y, starting with the network and optimizer state of the last call.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array of shape (n_classes,), optional
            All classes of this and later calls. The first call needs them, unless y has several labels for
            each row.
        X_val, y_val, sample_weight_val
            As in `fit`. early_stopping needs them: when the score has not risen for n_iter_no_change calls,
            the network gets the weights of the best call, and ``history_.stopped`` is "converged".

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
            If the first call has no classes, parameters exclude each other, or the data are not valid.
        DivergenceError
            If the loss is no longer finite.

        Examples
        --------
        Three parts of the rows, again and again, as of data that do not fit in memory:

        >>> import gpubp
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = gpubp.MLPClassifier((16,), learning_rate_init=0.01, random_state=0)
        >>> for k in range(60):
        ...     part = slice(k % 3, None, 3)
        ...     model = model.partial_fit(X[part], y[part], classes=[0, 1, 2])
        >>> model.t_, len(model.loss_curve_), model.score(X, y) > 0.9
        (3000, 60, True)
        """
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit, which sees a part of y alone;"
                " expected a dict, for which compute_class_weight('balanced', classes=classes, y=y) gives"
                " the numbers"
            )
        first = not hasattr(self, "network_")
        if first and classes is None and not is_multilabel(y):
            raise ValueError("classes must be passed on the first call to partial_fit.")
        validation = X_val, y_val, sample_weight_val
        with unchanged_by_errors(self):
            return self._fit(X, y, sample_weight, validation, incremental=True, classes=classes)

    def _names_of_outputs(self) -> Any:
        names = [str(name) for name in self._encoder.classes]
        if self.multilabel_:
            return [f"label {name}" for name in names]
        return names[-1:] if self.n_outputs_ == 1 else names

    def _prediction_of(self, X: Any, y: Any) -> str:
        predicted, actual = self._most_likely(self.network_.predict(X)), to_host(dense(y))
        if self.multilabel_:
            predicted, actual = (
                ["".join(f"{k} " for k in np.flatnonzero(row)).strip() or "none"
                 for row in np.atleast_2d(dense(to_host(rows)))]
                for rows in (predicted, actual)
            )  # fmt: skip
            return f"The predicted labels are {predicted[0]}; those of the target are {actual[0]}."
        return f"The classifier predicts {to_host(predicted)[0]}; the target is {actual[0]}."

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the accuracy: the (weighted) share of rows for which the prediction is y.

        With several labels for each row, all of them must be right.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        float
            The accuracy, from 0 to 1.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X has other features than that of `fit`, or holds NaN or infinity, or y does not fit it.

        Examples
        --------
        >>> import gpubp
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = gpubp.MLPClassifier((10,), solver="lbfgs", tol=0.01, random_state=0).fit(X, y)
        >>> model.score(X, y) == float((model.predict(X) == y).mean())
        True
        """
        predicted = to_host(self._most_likely(self._network_outputs(X)))
        y, weights = on_host("y", y), on_host("sample_weight", sample_weight)
        return float(accuracy_score(y, predicted, sample_weight=weights))

    @property
    def multilabel_(self) -> bool:
        """Whether each row of y has several labels."""
        return self._encoder.multilabel

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if "_encoder" in state:
            state["_encoder"] = state["_encoder"].plain()
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        encoder = state.get("_encoder")
        if isinstance(encoder, Mapping):  # older pickles have objects
            state = {**state, "_encoder": LabelEncoder(**encoder)}
        super().__setstate__(state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
