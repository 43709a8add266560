"""Sparse matrices of a user: checked, converted to `SparseRows`, and brought to a network's backend.

Kernels trust the places and columns of stored numbers. So these are checked in copies that nobody else can
change.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import coo_array, csr_array

from .arrays import move
from .backends import Array, Backend, SparseRows
from .kernels import PRECISIONS
from .kernels.blocks import Scratch
from .kernels.messages import shortened
from .kernels.precision import round_numpy

__all__ = ["as_csr", "place", "sparse_rows"]


def sparse_rows(name: str, matrix: Any) -> SparseRows:
    """Convert a sparse matrix to `SparseRows` on the host.

    Parameters
    ----------
    name : str
        The name of the matrix in error messages.
    matrix : sparse matrix or array of shape (rows, columns)
        A matrix of SciPy or CuPy, in any format. It is not changed, and shares at most its values with the
        result.

    Returns
    -------
    SparseRows
        The rows. Numbers that the matrix stores for one place are added.

    Raises
    ------
    ValueError
        If the matrix does not hold real numbers, or stores them at places that it does not have.
    """
    if type(matrix).__module__.startswith("cupyx."):
        matrix = matrix.get()
    try:
        csr = _csr(matrix)
        values, given, starts = csr.data, np.array(csr.indices), np.array(csr.indptr, np.int64)
    except MemoryError:
        raise
    except Exception as error:  # each format has other errors for places that are out of range
        came = f"{type(error).__name__}: {shortened(error)}"
        raise ValueError(
            f"{name} cannot be converted ({came}), expected a sparse matrix"
        ) from error
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{name} has dtype {shortened(values.dtype)}, expected real numbers")
    rows, columns = csr.shape
    most = min(len(values), len(given))
    _check_starts(name, starts, rows, most)
    values, given = values[: starts[-1]], given[: starts[-1]]
    if len(given) and not 0 <= int(given.min()) <= int(given.max()) < columns:
        column = int(given[(given < 0) | (given >= columns)][0])
        raise ValueError(
            f"{name} stores a number in column {column}, expected columns from 0 to {columns - 1}"
        )
    made = SparseRows(np.ascontiguousarray(values), given.astype(np.int32), starts, columns)
    return made if _columns_rise(made) else _canonical(made)


def _csr(matrix: Any) -> Any:
    """Convert to CSR. SciPy's conversions trust the places in a matrix, so they get a checked copy."""
    if matrix.format == "csr":
        return matrix
    copy = matrix.copy()
    if hasattr(copy, "check_format"):
        copy.check_format(full_check=True)
    if copy.format == "coo":
        copy = coo_array((copy.data, (copy.row, copy.col)), shape=copy.shape)
    return copy.tocsr()


def _check_starts(name: str, starts: Array, rows: int, most: int) -> None:
    """Check that the places where rows start rise from 0, and end within the stored numbers."""
    right = starts.shape == (rows + 1,) and starts[0] == 0 and starts[-1] <= most
    if not right or bool((np.diff(starts) < 0).any()):
        raise ValueError(
            f"{name} has an indptr that does not fit its {rows} rows and {most} stored numbers,"
            f" expected {rows + 1} places that rise from 0 to {most} at most"
        )


def _columns_rise(x: SparseRows) -> bool:
    rises = np.diff(x.indices) > 0
    rises[x.starts[(x.starts > 0) & (x.starts < len(x.indices))] - 1] = True  # from row to row
    return bool(rises.all())


def _canonical(x: SparseRows) -> SparseRows:
    """Sort the columns of each row, and add up the numbers that are stored for one place."""
    matrix = as_csr(x)
    matrix.sum_duplicates()
    starts = np.asarray(matrix.indptr, np.int64)
    return SparseRows(matrix.data, matrix.indices.astype(np.int32), starts, x.columns)


def as_csr(x: SparseRows) -> Any:
    """Copy the rows, which are on the host, to a CSR array of SciPy."""
    return csr_array(x.arrays, shape=x.shape, copy=True)


def place(x: Array | SparseRows, backend: Backend, dtype: Any, precision: str | None) -> Any:
    """Bring checked rows to the backend.

    Parameters
    ----------
    x : array or SparseRows
        The rows. Sparse rows are on the host.
    backend : Backend
        The network's backend.
    dtype : numpy.dtype
        The network's dtype, which the values of sparse rows get.
    precision : str or None
        The network's precision. Sparse rows are rounded to it here: no verb gathers them.

    Returns
    -------
    array or SparseRows
        The rows on the backend.
    """
    if not isinstance(x, SparseRows):
        return move(x, backend)
    values = x.values.astype(dtype, copy=precision is not None)
    if precision is not None:
        round_numpy(PRECISIONS[precision], values, Scratch(dtype))()
    rounded = SparseRows(values, x.indices, x.starts, x.columns)
    return rounded.moved(lambda array: move(array, backend))
