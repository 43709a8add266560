"""Sparse matrices of a user: checked, converted to `SparseRows`, and brought to a network's backend.

Kernels trust the places and columns of stored numbers. So these are checked in copies that nobody else can
change.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
from scipy.sparse import coo_array, csr_array

from .arrays import home_of, is_on_host, move, namespace, to_host
from .backends import Array, Backend, SparseRows
from .kernels import PRECISIONS
from .kernels.messages import shortened
from .kernels.precision import rounded

__all__ = ["as_csr", "place", "sparse_rows"]

MOST_COLUMNS = 2**31 - 1
"""The most columns of a sparse matrix: `SparseRows` holds their numbers in int32."""


def sparse_rows(name: str, matrix: Any) -> SparseRows:
    """Convert a sparse matrix to `SparseRows` on the same device.

    A CSR matrix on a device stays there if the columns of its rows rise. Other matrices on a device are
    converted by SciPy, on the host.

    Parameters
    ----------
    name : str
        The name of the matrix in error messages.
    matrix : sparse matrix or array of shape (rows, columns)
        A matrix of SciPy or CuPy, in any format. It is not changed, and shares at most its values with the
        result. `SparseRows`, which were made here, are returned as they are.

    Returns
    -------
    SparseRows
        The rows. Numbers that the matrix stores for one place are added.

    Raises
    ------
    ValueError
        If the matrix does not hold real numbers, or stores them at places that it does not have.
    """
    if isinstance(matrix, SparseRows):
        return matrix
    home = home_of(matrix)
    try:
        csr = _csr(matrix if home.xp is np or matrix.format == "csr" else matrix.get())
        rows, columns = csr.shape
        # Copies: another thread may change the matrix.
        xp = namespace(csr)
        values, given, starts = xp.asarray(csr.data), xp.array(csr.indices), xp.array(csr.indptr)
    except MemoryError:
        raise
    except Exception as error:  # each format has other errors for places that are out of range
        came = f"{type(error).__name__}: {shortened(error)}"
        raise ValueError(
            f"{name} cannot be converted ({came}), expected a sparse matrix"
        ) from error
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{name} has dtype {shortened(values.dtype)}, expected real numbers")
    if columns > MOST_COLUMNS:
        raise ValueError(f"{name} has {columns} columns, expected {MOST_COLUMNS} at most")
    _check_dimensions(name, values, given, starts)
    starts, most = starts.astype(np.int64, copy=False), min(len(values), len(given))
    if starts.shape != (rows + 1,) or int(starts[-1]) > most or not _rise_from_0(starts):
        raise ValueError(
            f"{name} has an indptr that does not fit its {rows} rows and {most} stored numbers,"
            f" expected {rows + 1} places that rise from 0 to {most} at most"
        )
    stored = int(starts[-1])
    values, given = values[:stored], given[:stored]
    if len(given) and not 0 <= int(given.min()) <= int(given.max()) < columns:
        column = int(given[(given < 0) | (given >= columns)][0])
        raise ValueError(
            f"{name} stores a number in column {column}, expected columns from 0 to {columns - 1}"
        )
    indices = given.astype(np.int32, copy=False)
    if values.dtype == np.float16:
        values = values.astype(np.float32)  # SciPy cannot add float16
    made = SparseRows(xp.ascontiguousarray(values), indices, starts, columns)
    if not _columns_rise(made):
        made = _canonical(made.moved(to_host))
    return made.moved(lambda array: move(array, home))


def _csr(matrix: Any) -> Any:
    """Convert to CSR. SciPy's conversions trust the places in a matrix, so they get a checked copy."""
    if matrix.format == "csr":
        return matrix
    if matrix.format == "lil":
        return _csr_of_lists(matrix)
    copy = matrix.copy()
    if copy.format in ("csc", "bsr"):
        # SciPy's check passes over places that are out of range if the last one is 0, or if their
        # differences overflow.
        if not _rise_from_0(copy.indptr):
            raise ValueError("indptr does not rise from 0")
        copy.check_format(full_check=True)
    if copy.format == "coo":
        copy = coo_array((copy.data, (copy.row, copy.col)), shape=copy.shape)
    return copy.tocsr()


def _csr_of_lists(matrix: Any) -> Any:
    """Convert a LIL matrix. SciPy's conversion does not check that a row has as many columns as numbers."""
    columns, numbers = ([list(row) for row in lists] for lists in (matrix.rows, matrix.data))
    lengths = [len(row) for row in columns]
    if lengths != [len(row) for row in numbers]:
        raise ValueError("the columns of a row are not as many as its numbers")
    starts, stored = np.cumsum([0, *lengths]), sum(lengths)
    values = np.fromiter(chain.from_iterable(numbers), matrix.dtype, stored)
    indices = np.fromiter(chain.from_iterable(columns), np.int64, stored)
    return csr_array((values, indices, starts), shape=matrix.shape)


def _check_dimensions(name: str, values: Array, indices: Array, starts: Array) -> None:
    """Check that the arrays have one dimension, and that places and columns are whole numbers."""
    for field, array in (("data", values), ("indices", indices), ("indptr", starts)):
        whole = "" if field == "data" else " of whole numbers"
        if array.ndim != 1 or (whole and array.dtype.kind not in "iu"):
            raise ValueError(
                f"{name} has {field} of shape {array.shape} and dtype {shortened(array.dtype)},"
                f" expected one dimension{whole}"
            )


def _rise_from_0(starts: Array) -> bool:
    """Whether the places where rows start rise from 0. A difference of two places could overflow."""
    return bool(starts[0] == 0 and (starts[1:] >= starts[:-1]).all())


def _columns_rise(x: SparseRows) -> bool:
    rises = namespace(x.indices).diff(x.indices) > 0
    rises[x.starts[(x.starts > 0) & (x.starts < len(x.indices))] - 1] = True  # from row to row
    return bool(rises.all())


def _canonical(x: SparseRows) -> SparseRows:
    """Sort the columns of each row on the host, and add up the numbers that are stored for one place."""
    matrix = as_csr(x)
    matrix.sum_duplicates()
    starts = np.asarray(matrix.indptr, np.int64)
    return SparseRows(matrix.data, matrix.indices.astype(np.int32), starts, x.columns)


def as_csr(x: SparseRows) -> Any:
    """Copy the rows to a CSR array of SciPy or, on a device, to a CSR matrix of CuPy."""
    if is_on_host(x):
        return csr_array(x.arrays, shape=x.shape, copy=True)
    # It needs more of CUDA's libraries than gpubp does, but whoever has a sparse x on a device has it.
    from cupyx.scipy.sparse import csr_matrix  # noqa: PLC0415

    with home_of(x).use():
        return csr_matrix(x.arrays, shape=x.shape, copy=True)


def place(x: Array | SparseRows, backend: Backend, dtype: Any, precision: str | None) -> Any:
    """Bring checked rows to the backend.

    Parameters
    ----------
    x : array or SparseRows
        The rows.
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
    with home_of(x).use(), np.errstate(over="ignore"):
        # Steps check no values, and divergence tells of infinite ones.
        values = x.values.astype(dtype, copy=False)
        if precision is not None:
            values = rounded(PRECISIONS[precision], values)
    placed = SparseRows(values, x.indices, x.starts, x.columns)
    return placed.moved(lambda array: move(array, backend))
