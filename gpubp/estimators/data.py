"""Check X and y: by scikit-learn on the host, or by gpubp on their device."""

from __future__ import annotations

from typing import Any

from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_array

from ..arrays import as_array, is_on_host, to_host
from ..data_validation import check_inputs

try:
    from sklearn.utils.validation import validate_data
except ImportError:  # scikit-learn < 1.6

    def validate_data(estimator: Any, X: Any, y: Any = "no_validation", **options: Any) -> Any:
        """Call the estimator's method `_validate_data`, which scikit-learn had before 1.6."""
        return estimator._validate_data(X, y, **options)


__all__ = ["check_data", "check_inputs_like_fit"]


def check_data(
    estimator: Any, X: Any, y: Any, *, reset: bool, dtype: Any, **y_checks: Any
) -> tuple[Any, Any]:
    """Check X and y.

    Parameters
    ----------
    estimator : BaseMLP
        The estimator.
    X : array, DataFrame or sparse matrix of shape (n_samples, n_features)
        Inputs.
    y : array of shape (n_samples,) or (n_samples, n_outputs)
        Classes, labels or numbers.
    reset : bool
        Whether the estimator stores the number of features, and their names if X has names.
    dtype : str or type
        The dtype of X, if X is on the host.
    **y_checks
        Further options of scikit-learn's check of y.

    Returns
    -------
    X : array or CSR matrix of shape (n_samples, n_features)
        The inputs, on the device of X.
    y : array of shape (n_samples,) or (n_samples, 2 or more)
        The targets; a single column is converted to shape (n_samples,).
    """
    if is_on_host(X):
        X, y = validate_data(
            estimator, X, to_host(y), reset=reset, accept_sparse="csr", dtype=dtype,
            multi_output=True, **y_checks,
        )  # fmt: skip
        return X, _without_column(y)
    if reset:
        X = as_array("X", X)
        estimator.n_features_in_ = int(X.shape[-1])
    X = check_inputs(X, estimator.n_features_in_, "X")
    if is_on_host(y):
        y = check_array(y, ensure_2d=False, accept_sparse="csr", dtype=None, input_name="y")
    return X, _without_column(y)


def _without_column(y: Any) -> Any:
    if y.ndim == 1 or y.shape[1] > 1:
        return y
    return column_or_1d(y, warn=True) if is_on_host(y) else y[:, 0]


def check_inputs_like_fit(estimator: Any, X: Any, dtype: Any) -> Any:
    """Check that the X of a prediction has the features that `fit` has seen."""
    if not is_on_host(X):
        return check_inputs(X, estimator.n_features_in_, "X")
    return validate_data(estimator, X, reset=False, accept_sparse="csr", dtype=dtype)
