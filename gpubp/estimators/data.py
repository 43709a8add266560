"""Check X and y: by scikit-learn on the host, or by gpubp on their device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils._array_api import get_namespace
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    check_array,
    validate_data,
)

from ..arrays import as_array, home_of, is_on_host, is_sparse, move, to_host
from ..backends import Array
from ..data_validation import check_inputs, check_weights
from ..foreign import refusal
from ..kernels.messages import shown
from ..sources import READ_BYTES, Source, is_source, rows_at_once

__all__ = [
    "check_data",
    "check_inputs_like_fit",
    "check_sample_weight",
    "checked_blocks",
    "dtypes_of",
    "in_library_of",
    "network_dtype",
    "on_host",
]

FLOATS = (np.float64, np.float32)
"""The dtypes of networks. If the dtype follows X, an X of another dtype is converted to the first."""
MOST_COLUMNS = 3
"""The most columns that a message names."""


def check_data(
    estimator: Any, X: Any, y: Any, *, reset: bool, dtype: Any = None, **y_checks: Any
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
    dtype : dtype, optional
        The dtype of X on the host; by default the one in which the estimator computes.
    **y_checks
        Further options of scikit-learn's check of y.

    Returns
    -------
    X : array or CSR matrix of shape (n_samples, n_features)
        The inputs, on the device of X; of a sparse X on a device, its `SparseRows`.
    y : array of shape (n_samples,) or (n_samples, 2 or more)
        The targets; a single column is converted to shape (n_samples,).
    """
    X, y = as_known("X", X), as_known("y", y)
    if is_on_host(X):
        dtype = dtypes_of(estimator, not reset) if dtype is None else dtype
        y_checks |= {"multi_output": True}
        X, y = _validated(estimator, X, to_host(y), reset=reset, dtype=dtype, **y_checks)
        return X, _without_column(y)
    X, y = _with_two_axes(X), to_host(y) if is_sparse(y) else y
    if reset:
        estimator.n_features_in_ = int(X.shape[1])
        vars(estimator).pop("feature_names_in_", None)  # those of an earlier fit
    X = check_inputs(X, estimator.n_features_in_, "X")
    if is_on_host(y):
        y = check_array(y, ensure_2d=False, accept_sparse="csr", dtype=None, input_name="y")
    check_consistent_length(X, y)
    return X, _without_column(y)


def _with_two_axes(X: Any) -> Any:
    """Convert an X on a device to an array, unless it is sparse; it must have rows and columns."""
    X = X if is_sparse(X) else as_array("X", X)
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D array instead: X has shape {X.shape}, expected"
            " (n_samples, n_features)"
        )
    return X


def dtypes_of(estimator: Any, goes_on: bool = False) -> tuple[Any, ...]:
    """Return the dtypes that an estimator's networks may have.

    There is one, or there are both: the network then has the dtype of X, or float64 if X has another. lbfgs
    never computes in less than the dtype of X, for its line searches compare losses that hardly differ.
    Otherwise a fit that goes on with a network keeps its dtype, if the parameter does not say another.
    """
    dtype = estimator.dtype
    if dtype is None and goes_on:
        dtype = estimator.network_.dtype
    if dtype is None or (estimator.solver == "lbfgs" and np.dtype(dtype) == np.float32):
        return FLOATS
    return (np.dtype(dtype).type,)


def network_dtype(estimator: Any, X: Any, goes_on: bool) -> Any:
    """Return the dtype of the network of a fit on X, which may go on with the network of the last fit."""
    dtypes = dtypes_of(estimator, goes_on)
    return np.dtype(X.dtype if X.dtype in dtypes else dtypes[0])


def check_sample_weight(sample_weight: Any, X: Any, name: str = "sample_weight") -> Array | None:
    """Check sample weights for X, on their device; a number is the weight of every row."""
    sample_weight = as_known(name, sample_weight)
    if sample_weight is not None and is_on_host(sample_weight):
        try:
            sample_weight = _check_sample_weight(sample_weight, np.broadcast_to(0.0, X.shape))
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(_naming(name, str(error))) from None
    return check_weights(sample_weight, X.shape[0], name)


def _naming(name: str, told: str) -> str:
    """Make scikit-learn's message about sample weights name the argument."""
    if "sample_weight" in told:
        return told.replace("sample_weight", name)
    return f"{name}: {told}"


def _without_column(y: Any) -> Any:
    if y.ndim == 1 or y.shape[1] > 1:
        return y
    return column_or_1d(y, warn=True) if is_on_host(y) else y[:, 0]


def check_inputs_like_fit(estimator: Any, X: Any, dtype: Any) -> Any:
    """Check that the X of a prediction has the features that `fit` has seen."""
    X = as_known("X", X)
    if not is_on_host(X):
        return check_inputs(_with_two_axes(X), estimator.n_features_in_, "X")
    return _validated(estimator, X, reset=False, dtype=dtype)


def checked_blocks(estimator: Any, X: Any, size: int) -> Iterator[Array]:
    """Read an X that can be sliced in blocks of at most `size` rows, and check each like `check_inputs`.

    A message names the row of the whole X.
    """
    source = Source("X", X, 2 * READ_BYTES)
    _check_n_features(estimator, X, reset=False)
    _check_feature_names(estimator, X, reset=False)
    n_in, dtype = estimator.n_features_in_, estimator.network_.dtype
    source.check_width(n_in)
    for rows in source.parts(rows_at_once(source, size)):
        yield check_inputs(source.read(rows), n_in, "X", dtype=dtype, rows=rows)


def as_known(name: str, values: Any) -> Any:
    """Convert what is in the host's memory, but not NumPy's, to NumPy; return anything else unchanged.

    That are arrays of other libraries, and data that can be sliced, which are read as a whole.
    """
    if told := refusal(name, values):
        raise ValueError(told)
    if is_source(values) and not isinstance(values, np.ndarray):
        given = values[:] if len(values.shape) else values[()]
        return np.asarray(given.compute() if hasattr(given, "compute") else given)
    is_foreign = hasattr(values, "__dlpack__") and not isinstance(values, np.ndarray)
    return as_array(name, values) if is_foreign and is_on_host(values) else values


def on_host(name: str, values: Any) -> Any:
    """Convert an array on a device, or of another library, to NumPy; return anything else unchanged."""
    return to_host(as_known(name, values))


def in_library_of(X: Any, result: Array) -> Any:
    """Convert a result to an array of X's library on X's device, if scikit-learn dispatches on arrays.

    What is on that device is not copied. Without ``sklearn.config_context(array_api_dispatch=True)``, and
    for classes that are not numbers, the result is a NumPy or CuPy array.
    """
    dispatches = get_config()["array_api_dispatch"] and hasattr(X, "__dlpack__")
    if not dispatches or is_sparse(result) or result.dtype.kind not in "fiub":
        return result
    result = move(result, home_of(X))
    return result if isinstance(result, type(X)) else get_namespace(X)[0].from_dlpack(result)


def _validated(estimator: Any, X: Any, *y: Any, dtype: Any, **options: Any) -> Any:
    """Check X, and y, by scikit-learn; the error about NaN or infinity says which columns hold some."""
    try:
        with np.errstate(
            over="ignore"
        ):  # what does not fit float32 is an error, no warning before it
            return validate_data(estimator, X, *y, accept_sparse="csr", dtype=dtype, **options)
    except ValueError as error:
        told = str(error)
        if not told.startswith("Input X contains"):
            raise
        where = _columns_that_are_not_finite(estimator, X, dtype)
        if told.startswith("Input X contains NaN"):
            where += (
                f"; {type(estimator).__name__} does not accept missing values encoded as NaN natively,"
                " sklearn.impute.SimpleImputer fills them in"
            )
        raise ValueError(f"{told.splitlines()[0].rstrip('.')} in {where}") from None


def _columns_that_are_not_finite(estimator: Any, X: Any, dtype: Any) -> str:
    """Name the first columns of X that hold NaN or infinity, in X's own words if its columns have names."""
    names = getattr(estimator, "feature_names_in_", None) if hasattr(X, "columns") else None
    with np.errstate(over="ignore"):
        X = check_array(X, accept_sparse="coo", dtype=dtype, ensure_all_finite=False)
    if is_sparse(X):
        bad = np.unique(X.col[~np.isfinite(X.data)])
    else:
        bad = np.flatnonzero(~np.isfinite(X).all(axis=0))
    first = [shown(names[k]) if names is not None else str(k) for k in bad[:MOST_COLUMNS].tolist()]
    others = f" and {len(bad) - len(first)} more" if len(bad) > len(first) else ""
    return f"column{'s' if len(bad) > 1 else ''} {', '.join(first)}{others}"
