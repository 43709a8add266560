"""MLPClassifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted

from ..arrays import dense, home_of, move, namespace, to_host
from ..backends import Array
from ..kernels.messages import shown
from ..training.evaluation import CHUNK_ROWS
from .base import BaseMLP, Task
from .data import check_inputs_like_fit

__all__ = ["MLPClassifier"]


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]
    """A multi-layer perceptron for two classes, several classes, or several labels for each row.

    For two classes the network has one output, a sigmoid. For more classes it has a softmax output. For
    labels it has one sigmoid output for each label. The loss is the cross-entropy of these outputs.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default (100,)
        The widths of the hidden layers, or the width of the only one.
    activation : str or Activation, default "relu"
        Activation of the hidden layers: "identity", "logistic", "tanh", "relu", or another activation of
        gpubp.
    solver : str, default "adam"
        "lbfgs", "sgd", "adam", or another optimizer of gpubp: "adamw", "rmsprop", "lion".
    alpha : float, default 0.0001
        Factor of the L2 penalty: ½ alpha ‖w‖² / batch_size is added to a batch's mean loss. Biases have no
        penalty.
    batch_size : int or "auto", default "auto"
        The number of rows of a batch; "auto" is min(200, n_samples). Unused with lbfgs.
    learning_rate : str, default "constant"
        Schedule of sgd: "constant"; "invscaling", which is learning_rate_init / (t_ + 1)^power_t in each
        epoch; or "adaptive". "adaptive" divides the learning rate by 5 when training would stop, until it
        is 1e-6.
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
        Whether fit continues with the network of the last fit.
    momentum : float, default 0.9
        Momentum of sgd, from 0 to below 1.
    nesterovs_momentum : bool, default True
        Whether sgd uses Nesterov's momentum.
    early_stopping : bool, default False
        Whether to hold out rows, to stop by the score on them, and to restore the weights with the best
        score.
    validation_fraction : float, default 0.1
        The share of rows that are held out.
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
    dtype : str, default "float32"
        The dtype of parameters and training, "float32" or "float64"; lbfgs always computes in float64.
    dropout : float, default 0
        Probability with which training drops a hidden activation; not available with lbfgs.
    checkpoint : Checkpoint or path-like, optional
        Where `fit` writes checkpoints, and how often, as in `gpubp.Trainer`. With warm_start, `fit` goes on
        from the newest one, and max_iter includes its epochs; that needs the same data and an int as
        random_state. Not available with lbfgs, and unused by partial_fit.

    Attributes
    ----------
    network_ : gpubp.Network
        The trained network.
    history_ : gpubp.History
        The record of the last call of fit or partial_fit. Its costs contain penalties only with lbfgs.
    classes_ : array of shape (n_classes,)
        The classes; with several labels for each row, the numbers of the columns.
    coefs_ : list of arrays of shape (n_in, n_out)
        The weights of each layer: views of the network's parameters.
    intercepts_ : list of arrays of shape (n_out,)
        The biases of each layer: views of the network's parameters.
    loss_ : float
        The last loss, with penalties.
    loss_curve_ : list of float
        The loss of each epoch; warm starts and partial_fit append to it. Not set by lbfgs.
    best_loss_ : float or None
        The lowest loss; None with early_stopping. Not set by lbfgs.
    validation_scores_ : list of float or None
        The accuracy on the held-out rows after each epoch; None without early_stopping.
    best_validation_score_ : float or None
        The highest of validation_scores_; None without early_stopping.
    n_iter_ : int
        The number of epochs or iterations of the last call.
    t_ : int
        The number of rows trained on since training began.
    n_features_in_, feature_names_in_, n_layers_, n_outputs_, out_activation_
        As in scikit-learn.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = MLPClassifier(solver="lbfgs", random_state=0).fit(X / X.max(axis=0), y)
    >>> round(model.score(X / X.max(axis=0), y), 2)
    1.0
    """

    def _task(self, y: Any, goes_on: bool, classes: Any) -> Task:
        y = dense(to_host(y))
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if kind == "multiclass-multioutput":
            raise ValueError(
                f"y has {y.shape[1]} columns of classes, expected one, or columns of 0 and 1 (labels)"
            )
        if kind == "multilabel-indicator":
            columns = np.arange(y.shape[1])
            if goes_on and not np.array_equal(columns, self.classes_):
                raise ValueError(f"y has {y.shape[1]} labels, expected {len(self.classes_)}")
            targets = (y != 0).astype(self.dtype)
            return Task(targets, y.shape[1], "logistic", "binary_cross_entropy", columns)

        known = self._classes(np.unique(y), goes_on, classes)
        codes = np.searchsorted(known, y)
        if len(known) <= 2:
            targets = codes[:, None].astype(self.dtype)
            return Task(targets, 1, "logistic", "binary_cross_entropy", known)
        return Task(codes, len(known), "softmax", "cross_entropy", known)

    def _classes(self, present: Any, goes_on: bool, classes: Any) -> Any:
        """Return the classes: the argument `classes`, the classes of the last fit, or those in y."""
        if not goes_on and classes is None:
            return present
        known = self.classes_ if goes_on else np.unique(np.asarray(classes))
        if classes is not None and not np.array_equal(np.unique(np.asarray(classes)), known):
            raise ValueError(
                f"classes is {shown(classes)}, expected those of the first call, {known}"
            )
        unknown = sorted(set(present.tolist()) - set(known.tolist()))
        if unknown:
            raise ValueError(f"y holds the classes {unknown}, which are not in classes_, {known}")
        return known

    def _score(self, outputs: Any, targets: Any, sample_weight: Any) -> float:
        if targets.ndim == 1:
            right = outputs.argmax(axis=1) == targets
        else:
            right = ((outputs > 0.5) == (targets > 0.5)).all(axis=1)
        return float(np.average(right, weights=sample_weight))

    @available_if(lambda self: self._can_go_by_batches())  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Any:
        """Train for one epoch on X and y, starting with the network and optimizer state of the last call.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array of shape (n_classes,), optional
            All classes of this and later calls. The first call needs them, unless y has several labels for
            each row.

        Returns
        -------
        self
            The estimator.
        """
        first = not hasattr(self, "network_")
        if first and classes is None and not type_of_target(to_host(y)).startswith("multilabel"):
            raise ValueError("classes must be passed on the first call to partial_fit.")
        return self._partial_fit(X, y, sample_weight, classes)

    def predict(self, X: Any) -> Any:
        """Predict the most likely class of each row, or its labels.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_labels)
            Classes, or labels 0 and 1, on the device of X. Classes that are not numbers are on the host.
        """
        outputs = self._outputs(X)
        xp = namespace(outputs)
        if self._multilabel:
            return (outputs > 0.5).astype(np.int64)
        if self.n_outputs_ > 1:
            chosen = xp.argmax(outputs, axis=1)
        else:
            chosen = xp.minimum(outputs[:, 0] > 0.5, len(self.classes_) - 1)
        chosen = chosen.astype(np.int64)
        if self.classes_.dtype.kind in "biuf":
            return move(self.classes_, home_of(outputs))[chosen]
        return self.classes_[to_host(chosen)]

    def predict_proba(self, X: Any) -> Array:
        """Predict the probability of each class.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        array of shape (n_samples, n_classes)
            Probabilities in the order of classes_, on the device of X.
        """
        outputs = self._outputs(X)
        if self.n_outputs_ > 1:
            return outputs
        xp = namespace(outputs)
        return xp.concatenate([1 - outputs, outputs], axis=1)[:, : len(self.classes_)]

    def predict_log_proba(self, X: Any) -> Array:
        """Compute the logarithm of `predict_proba`.

        It is computed from z, so it is finite even if the probability rounds to 0.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        array of shape (n_samples, n_classes)
            Log-probabilities in the order of classes_, on the device of X.
        """
        check_is_fitted(self)
        X = check_inputs_like_fit(self, X, self.network_.dtype)
        parts = []
        for first in range(0, X.shape[0], CHUNK_ROWS):
            z = self.network_.forward(X[first : first + CHUNK_ROWS]).z[-1]
            parts.append(self._log_probabilities(z))
        return namespace(parts[0]).concatenate(parts)

    def _log_probabilities(self, z: Array) -> Array:
        xp = namespace(z)
        if self.out_activation_ == "softmax":
            shifted = z - xp.max(z, axis=1, keepdims=True)
            return shifted - xp.log(xp.sum(xp.exp(shifted), axis=1, keepdims=True))
        positive = -xp.logaddexp(0, -z)
        if self._multilabel:
            return positive
        return xp.concatenate([-xp.logaddexp(0, z), positive], axis=1)[:, : len(self.classes_)]

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
        """
        predicted, weights = to_host(self.predict(X)), to_host(sample_weight)
        return float(accuracy_score(to_host(y), predicted, sample_weight=weights))

    def _outputs(self, X: Any) -> Array:
        check_is_fitted(self)
        return self.network_.predict(check_inputs_like_fit(self, X, self.network_.dtype))

    @property
    def _multilabel(self) -> bool:
        return self.n_outputs_ > 1 and self.out_activation_ == "logistic"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.input_tags.sparse = True
        return tags

    def _more_tags(self) -> dict[str, bool]:  # scikit-learn < 1.6
        return {"multilabel": True}
