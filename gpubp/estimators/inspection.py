"""What a fitted estimator shows of its network: z, hidden activations, gradients, and its layers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import estimator_html_repr
from sklearn.utils.validation import check_is_fitted

from ..arrays import dense, home_of, is_sparse, move, namespace, to_host
from ..backends import Array, get_backend
from ..kernels.messages import shown
from ..network import Backprop, Forward, Network
from ..network.predictor import ROWS_AT_ONCE
from ..network.streaming import is_streamed
from ..tracing import Trace, trace_network
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
    alpha: float

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

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X has other features than that of `fit`, or holds NaN or infinity.

        Examples
        --------
        The probabilities of three classes are the softmax of z:

        >>> import gpubp
        >>> from scipy.special import softmax
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = gpubp.MLPClassifier((10,), solver="lbfgs", tol=0.01, random_state=0).fit(X, y)
        >>> z = model.predict_z(X)
        >>> z.shape
        (150, 3)
        >>> bool(abs(softmax(z, axis=1) - model.predict_proba(X)).max() < 1e-5)
        True
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

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X has other features than that of `fit`, or holds NaN or infinity.

        Examples
        --------
        Five features of iris, learned for the classes, and another classifier on them:

        >>> import gpubp
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> model = gpubp.MLPClassifier((5,), "tanh", solver="lbfgs", tol=0.01, random_state=0).fit(X, y)
        >>> features = model.transform(X)
        >>> features.shape, model.get_feature_names_out().tolist()[:2]
        ((150, 5), ['mlpclassifier0', 'mlpclassifier1'])
        >>> tree = DecisionTreeClassifier(max_leaf_nodes=3, random_state=0)
        >>> tree.fit(features, y).score(features, y) > 0.9
        True
        """
        return self._from_passes(X, lambda computed: computed.a[-2])

    def backprop(self, X: Any, y: Any, sample_weight: Any = None) -> Backprop:
        """Compute the loss, every z, a and δ, and the gradients of parameters and inputs.

        The loss is the one that `fit` minimises, without the penalty of alpha and without dropout. The
        squared error of several outputs is their sum; `loss_` is the mean over them, as in scikit-learn.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`; a classifier multiplies sample_weight by the class weights of the last fit.

        Returns
        -------
        gpubp.Backprop
            The result. The gradients have the shapes of `network_`, whose weights are (n_out, n_in):
            transposed, they are those of `coefs_`.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X has other features than that of `fit`, or holds NaN or infinity, or y does not fit it.

        Examples
        --------
        A model whose outputs a are all 0. The cost is the mean of ½ (y - a)², and ∂C/∂b the mean of a - y:

        >>> import gpubp
        >>> model = gpubp.MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", random_state=0)
        >>> model = model.fit([[1.0], [2.0]], [2.0, 4.0])
        >>> model.coefs_, model.intercepts_ = [[[0.0]]], [[0.0]]
        >>> result = model.backprop([[1.0], [2.0]], [2.0, 4.0])
        >>> result.cost, result.bias_gradients[0].tolist(), result.weight_gradients[0].tolist()
        (5.0, [-3.0], [[-5.0]])
        """
        check_is_fitted(self)
        X, y = check_data(self, X, y, reset=False, dtype=self.network_.dtype, **self._y_checks)
        weights = check_sample_weight(sample_weight, X)
        targets, weights = self._targets_and_weights("y", y, weights)
        result: Backprop = self.network_.backprop(X, targets, weights)
        return result

    def trace(self, X: Any, y: Any, *, learning_rate: float | None = None) -> Trace:
        """Trace a forward and backward pass of one row: each equation with its numbers, layer by layer.

        The cost is the loss that `backprop` computes: without the L2 penalty of alpha, whose gradient
        training adds, and without dropout.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (1, n_features), or array of shape (n_features,)
            The inputs of one row; a pandas Series is a row, too.
        y : class, number, or array of shape (1,), (n_outputs,) or (1, n_outputs)
            Its target, as in `fit`: a class as it was given there, labels 0 and 1, or numbers.
        learning_rate : float, optional
            With it the trace also has one step of plain gradient descent.

        Returns
        -------
        gpubp.Trace
            The trace. `feature_names_in_` are the names of the inputs, and classes those of the outputs.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X is not one row, X or y is not like those of `fit`, or the learning rate is not above 0.

        Examples
        --------
        >>> from gpubp import MLPClassifier
        >>> model = MLPClassifier(hidden_layer_sizes=3, solver="lbfgs", tol=1, random_state=0)
        >>> trace = model.fit([[0.0], [1.0], [2.0]], ["low", "middle", "high"]).trace([1.0], "middle")
        >>> trace.output_names
        ('high', 'low', 'middle')
        """
        check_is_fitted(self)
        X = _as_rows(X, hasattr(self, "feature_names_in_"))
        if X.shape[0] != 1:
            raise ValueError(f"X has {X.shape[0]} rows, expected one")
        X, y = check_data(
            self, X, _as_target(y), reset=False, dtype=self.network_.dtype, **self._y_checks
        )
        targets, _ = self._targets_and_weights("y", y, None)
        notes = []
        if self.alpha:
            notes.append(
                f"The L2 penalty of alpha, {self.alpha:g}, is no part of this cost; training adds it."
            )
        return trace_network(
            self.network_,
            X,
            targets,
            learning_rate=learning_rate,
            input_names=getattr(self, "feature_names_in_", None),
            output_names=self._names_of_outputs(),
            prediction=self._prediction_of(X, y),
            notes=notes,
        )

    def _names_of_outputs(self) -> Any:
        """Return the names of the network's outputs; None if they have none."""
        return None

    def _prediction_of(self, X: Any, y: Any) -> str | None:
        """Say what is predicted for a row, and what its target is, in a sentence."""
        return None

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


def _as_rows(X: Any, named: bool) -> Any:
    """Make rows of the inputs of one row that have one axis; a Series of pandas keeps its names."""
    if is_sparse(X):
        return X.reshape(1, -1) if len(X.shape) == 1 else X
    if len(getattr(X, "shape", ())) == 2:
        return X
    if named and hasattr(X, "to_frame") and hasattr(X, "index"):
        return X.to_frame().T.infer_objects()
    X = X if hasattr(X, "ndim") and not hasattr(X, "to_frame") else np.asarray(X)
    if not X.ndim:
        raise ValueError(f"X is {shown(X.item())}, expected the inputs of one row")
    return X[None] if X.ndim == 1 else X


def _as_target(y: Any) -> Any:
    """Make the y of one row of a class, a number, or the numbers of several outputs."""
    if hasattr(y, "to_numpy"):  # a Series or a DataFrame
        y = y.to_numpy()
    y = y if hasattr(y, "ndim") else np.asarray(y)
    if y.shape in ((), (1, 1)):
        return y.reshape(1)
    return y[None] if y.ndim == 1 and y.shape[0] > 1 else y
