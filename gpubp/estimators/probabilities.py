"""Classes, labels and their probabilities, from a classifier's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from ..arrays import home_of, move, namespace, to_host
from ..backends import Array
from .availability import available_if
from .data import in_library_of
from .inspection import Inspection
from .losses import our_activation

__all__ = ["Probabilities"]


def _gives_probabilities(classifier: Any) -> bool:
    """Whether the outputs are from 0 to 1: those of the network, or of the one that `fit` would make."""
    if hasattr(classifier, "network_"):
        output = classifier.network_.layers[-1].activation
    else:
        output = our_activation(classifier.output_activation or "sigmoid")
    low, high = output.output_range
    if low < 0 or high > 1:
        raise AttributeError(
            f"probabilities are only available where outputs are from 0 to 1, not from {low:g} to"
            f" {high:g} as those of {output.name!r}"
        )
    return True


class Probabilities(Inspection):
    """The methods of MLPClassifier that predict classes, labels and probabilities."""

    def predict(self, X: Any) -> Any:
        """Predict the most likely class of each row, or its labels.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_labels)
            Classes, or labels 0 and 1, on the device of X. Classes that are not numbers are on the host. If
            the y of `fit` was a sparse matrix of labels, the labels are a CSR matrix.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X has other features than that of `fit`, or holds NaN or infinity.

        Examples
        --------
        >>> import gpubp
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> names = load_iris().target_names[y]
        >>> model = gpubp.MLPClassifier((10,), solver="lbfgs", tol=0.01, random_state=0).fit(X, names)
        >>> model.predict(X[[0, 50, 100]]).tolist()
        ['setosa', 'versicolor', 'virginica']

        With several labels for each row, a row may have all of them, or none:

        >>> labels = [[0, 0], [0, 1], [1, 0], [1, 1]]
        >>> model = gpubp.MLPClassifier((), solver="lbfgs", random_state=0)
        >>> model.fit([[0, 0], [0, 5], [5, 0], [5, 5]], labels).predict([[5, 5], [0, 0]]).tolist()
        [[1, 1], [0, 0]]
        """
        return in_library_of(X, self._most_likely(self._network_outputs(X)))

    def _most_likely(self, outputs: Array) -> Any:
        xp = namespace(outputs)
        if self.multilabel_:
            labels = (outputs > 0.5).astype(np.int64)
            return csr_matrix(to_host(labels)) if self._has_sparse_labels else labels
        chosen = xp.argmax(outputs, axis=1) if self.n_outputs_ > 1 else outputs[:, 0] > 0.5
        classes = self._encoder.classes
        chosen = xp.minimum(chosen, len(classes) - 1).astype(np.int64)
        if classes.dtype.kind in "biuf":
            return move(classes, home_of(outputs))[chosen]
        return classes[to_host(chosen)]

    @available_if(_gives_probabilities)
    def predict_proba(self, X: Any) -> Array:
        """Predict the probability of each class.

        Outputs of several classes that are computed one by one, such as sigmoids, are divided by their sum.
        The method exists if the outputs are from 0 to 1.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        array of shape (n_samples, n_classes)
            Probabilities in the order of `classes_`, on the device of X. If there is only one class, a
            second column has the probability of any other.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X has other features than that of `fit`, or holds NaN or infinity.

        Examples
        --------
        >>> import gpubp
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = gpubp.MLPClassifier((10,), solver="lbfgs", tol=0.01, random_state=0).fit(X, y)
        >>> p = model.predict_proba(X)
        >>> p.shape, bool((abs(p.sum(axis=1) - 1) < 1e-6).all())
        ((150, 3), True)
        >>> bool((p.argmax(axis=1) == model.predict(X)).all())
        True
        """
        return in_library_of(X, self._probabilities(self._network_outputs(X)))

    def _probabilities(self, outputs: Array) -> Array:
        xp = namespace(outputs)
        if self.multilabel_:
            return outputs
        if self.n_outputs_ == 1:
            return xp.concatenate([1 - outputs, outputs], axis=1)
        if self.out_activation_ != "softmax":
            total = xp.sum(outputs, axis=1, keepdims=True)
            none = total == 0  # all outputs have rounded to 0
            even = xp.full_like(outputs, 1 / self.n_outputs_)
            outputs = xp.where(none, even, outputs / xp.where(none, 1, total))
        return outputs

    @available_if(_gives_probabilities)
    def predict_log_proba(self, X: Any) -> Array:
        """Compute the logarithm of `predict_proba`.

        Where a probability rounds to 0, the logarithm is computed from z, so it is finite. For output
        activations other than softmax and the sigmoid it is -inf there.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        array of shape (n_samples, n_classes)
            Log-probabilities in the same columns, on the device of X.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X has other features than that of `fit`, or holds NaN or infinity.

        Examples
        --------
        For x = 1000 the probability of class 0 is exp(-1000). It rounds to 0, but its logarithm is there:

        >>> import gpubp
        >>> model = gpubp.MLPClassifier((), solver="lbfgs", dtype="float64", random_state=0)
        >>> model = model.fit([[-1.0], [1.0]], [0, 1])
        >>> model.coefs_, model.intercepts_ = [[[1.0]]], [[0.0]]
        >>> model.predict_proba([[1000.0]]).tolist()
        [[0.0, 1.0]]
        >>> model.predict_log_proba([[1000.0]]).tolist()
        [[-1000.0, 0.0]]
        """
        return self._from_passes(
            X, lambda computed: self._logarithms(computed.z[-1], computed.a[-1])
        )

    def _logarithms(self, z: Array, outputs: Array) -> Array:
        xp, probabilities = namespace(z), self._probabilities(outputs)
        vanished = probabilities == 0
        logarithms = xp.log(xp.where(vanished, 1, probabilities))
        if self.out_activation_ not in ("softmax", "logistic"):
            return xp.where(vanished, -xp.inf, logarithms)
        positive = z if self.out_activation_ == "softmax" else -xp.logaddexp(0, -z)
        if self.multilabel_:
            exact = positive
        elif self.n_outputs_ == 1:
            exact = xp.concatenate([-xp.logaddexp(0, z), positive], axis=1)
        else:
            shifted = positive - xp.max(positive, axis=1, keepdims=True)
            exact = shifted - xp.log(xp.sum(xp.exp(shifted), axis=1, keepdims=True))
        return xp.where(vanished, exact, logarithms)
