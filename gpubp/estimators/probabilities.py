"""Probabilities of classes and labels, from a classifier's outputs."""

from __future__ import annotations

from typing import Any

from ..arrays import namespace
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
    """The methods of MLPClassifier that compute probabilities."""

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
            Probabilities in the order of classes_, on the device of X. If there is only one class, a second
            column has the probability of any other.
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
