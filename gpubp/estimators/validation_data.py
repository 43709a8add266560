"""The validation data that a user gives to `fit`: X_val, y_val and sample_weight_val."""

from __future__ import annotations

from typing import Any, NamedTuple

from sklearn.base import is_classifier

from ..backends import Array
from ..kernels.messages import shown
from .data import check_data, check_sample_weight

__all__ = ["Rows", "check_validation_data"]


class Rows(NamedTuple):
    """Rows on which the estimator is scored.

    Attributes
    ----------
    X : array or CSR matrix of shape (n_rows, n_features)
        Inputs.
    targets : array of shape (n_rows,) or (n_rows, n_outputs)
        Targets in the network's form.
    weights : array of shape (n_rows,) or None
        Sample weights.
    """

    X: Any
    targets: Array
    weights: Array | None


def check_validation_data(
    estimator: Any, X_val: Any, y_val: Any, sample_weight_val: Any, dtype: Any, n_outputs: int
) -> Rows | None:
    """Check validation data, and convert y_val as `fit` has converted y.

    Parameters
    ----------
    estimator : BaseMLP
        The estimator, which knows its features and its classes.
    X_val, y_val, sample_weight_val
        The arguments of `fit`.
    dtype : dtype
        The dtype of the network.
    n_outputs : int
        The width of its output layer.

    Returns
    -------
    Rows or None
        The rows; None if no argument is given.

    Raises
    ------
    ValueError
        If only one of X_val and y_val is given, nothing uses them, or they do not fit X and y.
    """
    if X_val is None and y_val is None:
        if sample_weight_val is not None:
            raise ValueError("sample_weight_val is given, expected None without X_val and y_val")
        return None
    if y_val is None:
        raise ValueError("X_val is provided, but y_val was not provided.")
    if X_val is None:
        raise ValueError("y_val is provided, but X_val was not provided.")
    if estimator.solver == "lbfgs":
        raise ValueError("X_val is given, expected None with solver 'lbfgs'")
    if not estimator.early_stopping:
        raise ValueError(
            "X_val and y_val are passed to fit while at the same time early_stopping is"
            f" {shown(estimator.early_stopping)}, expected early_stopping=True"
        )
    try:
        X, y = check_data(estimator, X_val, y_val, reset=False, dtype=dtype, **estimator._y_checks)
    except ValueError as error:
        raise ValueError(f"X_val and y_val do not fit X and y: {error}") from None
    weights = check_sample_weight(sample_weight_val, X, "sample_weight_val")
    rows = Rows(X, *estimator._targets_and_weights("y_val", y, weights))
    if not is_classifier(estimator):
        _check_columns(rows, n_outputs)
    return rows


def _check_columns(rows: Rows, n_outputs: int) -> None:
    """Check that a regressor's rows have the columns of y, and are enough for its score."""
    count, columns = rows.targets.shape
    if columns != n_outputs:
        raise ValueError(f"y_val has shape {rows.targets.shape}, expected {(count, n_outputs)}")
    if count < 2:
        raise ValueError(f"X_val has {count} row, expected at least 2: R² compares rows")
