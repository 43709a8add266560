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
from .base import BaseMLP, Task
from .data import CHUNK_ROWS, check_inputs_like_fit, outputs_of

__all__ = ["MLPClassifier"]


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]
    """A multi-layer perceptron for two classes, several classes, or several labels at once.

    Two classes have one output, a sigmoid; more have softmax; labels have a sigmoid each. The loss is
    their cross-entropy.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Widths of the hidden layers, or one width.
    activation : str or Activation
        Of the hidden layers: "identity", "logistic", "tanh", "relu", or any other of gpubp's activations.
    solver : str
        "lbfgs", "sgd", "adam", or another of gpubp's optimizers: "adamw", "rmsprop", "lion".
    alpha : float
        L2 penalty: ½ alpha ‖w‖² / batch_size is added to a batch's mean loss; biases have none.
    batch_size : int or "auto"
        Rows of a batch; "auto" is min(200, n_samples). Not of lbfgs.
    learning_rate : str
        Of sgd: "constant"; "invscaling", learning_rate_init / (t_ + 1)^power_t in each epoch; or
        "adaptive", divided by 5 where training would stop otherwise, until it is 1e-6.
    learning_rate_init : float
        η of every solver but lbfgs.
    power_t : float
        See learning_rate.
    max_iter : int
        Most epochs, or iterations of lbfgs.
    shuffle : bool
        Draw a new order of the rows for each epoch.
    random_state : int, RandomState or None
        Of initial weights, held-out rows and batch order.
    tol : float
        How far the loss has to fall, or the score to rise, to count as improvement (see
        n_iter_no_change). lbfgs stops where no element of the gradient is larger.
    verbose : bool
        Print the loss of each epoch.
    warm_start : bool
        Let fit go on with the network that it has.
    momentum : float
        Of sgd, from 0 to below 1.
    nesterovs_momentum : bool
        Of sgd.
    early_stopping : bool
        Hold rows out, stop by the score on them, and keep the weights that scored best.
    validation_fraction : float
        The share of rows held out.
    beta_1, beta_2 : float
        Of adam, adamw and lion.
    epsilon : float
        Of adam, adamw and rmsprop.
    n_iter_no_change : int
        Training stops when, in more than so many epochs on end, the loss has not fallen to tol below its
        lowest, or, with early_stopping, the score has not risen to tol above its highest.
    max_fun : int
        Most evaluations of the loss by lbfgs.
    backend : str or Backend
        "auto", "numpy" or "cupy".
    dtype : str
        Of parameters and training, "float32" or "float64"; lbfgs always computes in float64.
    dropout : float
        Probability with which training drops each hidden activation; not with lbfgs.

    Attributes
    ----------
    network_ : gpubp.Network
        What is trained.
    history_ : gpubp.History
        Of the last call of fit or partial_fit. Its costs leave penalties out, except those of lbfgs.
    classes_ : array of shape (n_classes,)
        The classes; with several labels at once, their column numbers.
    coefs_ : list of arrays of shape (n_in, n_out)
        Each layer's weights: views of the network's parameters.
    intercepts_ : list of arrays of shape (n_out,)
        Each layer's biases: views of the network's parameters.
    loss_ : float
        The last loss, with penalties.
    loss_curve_ : list of float
        The loss of each epoch; it goes on over warm starts and partial_fit. Not of lbfgs.
    best_loss_ : float or None
        The lowest loss; None with early_stopping. Not of lbfgs.
    validation_scores_ : list of float or None
        Accuracies on the held-out rows; None without early_stopping.
    best_validation_score_ : float or None
        The highest of them; None without early_stopping.
    n_iter_ : int
        Epochs or iterations of the last call.
    t_ : int
        Rows trained on since training began.
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
        """Give the classes: those given, those known before, or those present in y."""
        if not goes_on and classes is None:
            return present
        known = self.classes_ if goes_on else np.unique(np.asarray(classes))
        if classes is not None and not np.array_equal(np.unique(np.asarray(classes)), known):
            raise ValueError(f"classes is {classes!r}, expected those of the first call, {known}")
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
        """Train for one epoch over X and y, with network and optimizer as the last call left them.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array of shape (n_classes,), optional
            All classes that will ever come. The first call needs it, unless y has several labels at once.

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
        """Predict the likeliest class of each row, or labels.

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_labels)
            Classes, or labels 0 and 1. They are where X is, except that classes which are not numbers are
            on the host.
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

        Returns
        -------
        array of shape (n_samples, n_classes)
            Ordered as classes_, where X is.
        """
        outputs = self._outputs(X)
        if self.n_outputs_ > 1:
            return outputs
        xp = namespace(outputs)
        return xp.concatenate([1 - outputs, outputs], axis=1)[:, : len(self.classes_)]

    def predict_log_proba(self, X: Any) -> Array:
        """Compute the logarithm of `predict_proba`, from z: it is finite where the probability is 0."""
        check_is_fitted(self)
        X = check_inputs_like_fit(self, X, self.network_.dtype)
        parts = []
        for first in range(0, X.shape[0], CHUNK_ROWS):
            z = self.network_.forward(dense(X[first : first + CHUNK_ROWS])).z[-1]
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
        """Compute the (weighted) share of rows whose prediction is y, in all labels if there are more."""
        predicted, weights = to_host(self.predict(X)), to_host(sample_weight)
        return float(accuracy_score(to_host(y), predicted, sample_weight=weights))

    def _outputs(self, X: Any) -> Array:
        check_is_fitted(self)
        return outputs_of(self.network_, check_inputs_like_fit(self, X, self.network_.dtype))

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
