"""What a fitted estimator shows of its network: z, hidden activations, gradients, and its layers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import estimator_html_repr
from sklearn.utils.validation import check_is_fitted

from ..arrays import dense, home_of, move, namespace, to_host
from ..backends import Array, get_backend
from ..network import Backprop, Forward, Network
from ..network.predictor import ROWS_AT_ONCE
from ..network.streaming import is_streamed
from ..training.evaluation import CHUNK_ROWS
from .data import (
    check_data,
    check_inputs_like_fit,
    check_sample_weight,
    checked_blocks,
    dtypes_of,
    in_library_of,
)

__all__ = ["Inspection"]


class Inspection(ClassNamePrefixFeaturesOutMixin, TransformerMixin):  # type: ignore[misc]
    """Methods of both estimators that look into the network."""

    network_: Network

    def predict_z(self, X: Any) -> Array:
        """Compute z of the output layer, from which its activation computes the outputs.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        array of shape (n_samples, n_outputs)
            z, on the device of X.
        """
        return self._from_passes(X, lambda computed: computed.z[-1])

    def transform(self, X: Any) -> Array:
        """Compute the activations of the last hidden layer: features for another model.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        array of shape (n_samples, width)
            The activations, on the device of X; X itself, as the network reads it, if there is no hidden
            layer. `get_feature_names_out` names the columns.
        """
        return self._from_passes(X, lambda computed: computed.a[-2])

    def backprop(self, X: Any, y: Any, sample_weight: Any = None) -> Backprop:
        """Compute the loss, every z, a and δ, and the gradients of parameters and inputs.

        The loss is the one that `fit` minimises, without the penalty of alpha and without dropout. The
        squared error of several outputs is their sum; loss_ is the mean over them, as in scikit-learn.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`; a classifier multiplies sample_weight by the class weights of the last fit.

        Returns
        -------
        gpubp.Backprop
            The result. The gradients have the shapes of network_, whose weights are (n_out, n_in):
            transposed, they are those of coefs_.
        """
        check_is_fitted(self)
        X, y = check_data(self, X, y, reset=False, dtype=self.network_.dtype, **self._y_checks)
        weights = check_sample_weight(sample_weight, X)
        targets, weights = self._targets_and_weights("y", y, weights)
        result: Backprop = self.network_.backprop(X, targets, weights)
        return result

    def _network_outputs(self, X: Any) -> Array:
        """Compute the outputs of the network for all rows; an X that can be sliced is read in blocks."""
        check_is_fitted(self)
        network = self.network_
        if is_streamed(X):
            with network.backend.keep_kernels():
                blocks = checked_blocks(self, X, ROWS_AT_ONCE)
                return np.concatenate([to_host(network.predict(block)) for block in blocks])
        return network.predict(check_inputs_like_fit(self, X, network.dtype))

    def _from_passes(self, X: Any, part: Callable[[Forward], Array]) -> Array:
        """Compute a part of the forward pass for all rows, in chunks."""
        check_is_fitted(self)
        if is_streamed(X):
            chunks, home = checked_blocks(self, X, CHUNK_ROWS), get_backend("numpy")
        else:
            inputs = check_inputs_like_fit(self, X, self.network_.dtype)
            starts, home = range(0, inputs.shape[0], CHUNK_ROWS), home_of(inputs)
            chunks = (inputs[k : k + CHUNK_ROWS] for k in starts)
        passes = map(self.network_.forward, chunks)
        with self.network_.backend.keep_kernels():
            parts = [move(dense(part(computed)), home) for computed in passes]
        return in_library_of(X, namespace(parts[0]).concatenate(parts))

    @property
    def _n_features_out(self) -> int:
        return int(self.network_.sizes[-2])

    def _html_repr(self) -> str:
        """scikit-learn's HTML of an estimator, and a table of the layers below it."""
        network = getattr(self, "network_", None)
        layers = "" if network is None else network.summary().to_html("loss")
        return f"{estimator_html_repr(self)}{layers}"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        with suppress(TypeError):  # `fit` refuses a dtype that is not one
            tags.transformer_tags.preserves_dtype = [np.dtype(d).name for d in dtypes_of(self)]
        return tags
