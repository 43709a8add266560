"""Sparse matrices that tests share: good ones, ones that contradict themselves, and ones on a device.

cupyx.scipy.sparse needs libraries of CUDA that emulated devices do not have. So `OnDevice` stands in for
its matrices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from gpubp.arrays import home_of
from gpubp.backends import Backend

__all__ = ["DAMAGED", "FORMATS", "MadeOnDevice", "OnDevice", "sparse"]

FORMATS = ("csr", "csc", "coo", "bsr", "lil", "dok", "dia")


def sparse(rows: int, columns: int, density: float = 0.2, seed: int = 0, kind: Any = None) -> Any:
    """Draw a CSR array with an empty row, unless it has one row."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < density)
    values[rows // 2] *= rows == 1
    return (kind or scipy.sparse.csr_array)(values)


class OnDevice:
    """What gpubp may read of a matrix of cupyx.scipy.sparse, in format CSR, CSC or COO.

    Its arrays are arrays of CuPy. `get` makes a SciPy matrix of them, as cupyx does.
    """

    __module__ = "cupyx.scipy.sparse._csr"
    ndim = 2
    nnz = property(lambda self: int(self.data.size))
    dtype = property(lambda self: self.data.dtype)

    def __init__(self, matrix: Any, backend: Backend) -> None:
        self.format, self.shape, self._backend, self.copies = (
            matrix.format,
            matrix.shape,
            backend,
            0,
        )
        self._kind = getattr(scipy.sparse, f"{matrix.format}_matrix")
        compressed = ("indices", "indptr")
        self._names = ("data", *(("row", "col") if matrix.format == "coo" else compressed))
        with backend.use():
            for name in self._names:
                setattr(self, name, backend.xp.asarray(getattr(matrix, name)))

    def get(self) -> Any:
        self.copies += 1  # to the host
        data, *places = (self._backend.to_numpy(getattr(self, name)) for name in self._names)
        given = (data, tuple(places)) if self.format == "coo" else (data, *places)
        return self._kind(given, shape=self.shape)

    def __len__(self) -> int:
        raise TypeError("sparse array length is ambiguous; use shape[0] or .nnz")

    def toarray(self) -> None:
        raise AssertionError("the matrix was made dense")


class MadeOnDevice(OnDevice):
    """What gpubp makes by ``cupyx.scipy.sparse.csr_matrix((data, indices, indptr), shape, copy=True)``."""

    def __init__(self, arrays: Any, shape: Any, copy: bool) -> None:
        assert copy
        matrix = scipy.sparse.csr_matrix(tuple(array.get() for array in arrays), shape)
        super().__init__(matrix, home_of(arrays[0]))

    def toarray(self) -> Any:
        return self._backend.asarray(self.get().toarray())


def _damaged(name: str, values: Any, kind: Any = scipy.sparse.csr_array) -> Any:
    """Make an 8 × 3 matrix, then replace one of its arrays, which SciPy does not check."""
    matrix = kind(np.arange(1.0, 25.0).reshape(8, 3))
    setattr(matrix, name, np.asarray(values))
    return matrix


def _changed(array: Any, index: int, value: Any) -> Any:
    changed = np.array(array)
    changed[index] = value
    return changed


def _lists(first: list[float]) -> Any:
    """Return the rows of a LIL matrix: the first row as given, then seven of three numbers."""
    lists = np.empty(8, object)
    lists[:] = [first, *([1.0, 2.0, 3.0] for _ in range(7))]
    return lists


COLUMNS, STARTS, VALUES = np.tile([0, 1, 2], 8), np.arange(0, 25, 3), np.arange(1.0, 25.0)
INDPTR = "has an indptr that does not fit its 8 rows and "

DAMAGED: dict[str, tuple[Any, str]] = {
    "a column too large": (
        _damaged("indices", _changed(COLUMNS, 7, 3)),
        "stores a number in column 3, expected columns from 0 to 2",
    ),
    "a column far too large": (
        _damaged("indices", _changed(COLUMNS, 7, 2**40 + 1)),
        "stores a number in column 1099511627777, expected columns from 0 to 2",
    ),
    "a negative column": (
        _damaged("indices", _changed(COLUMNS, 0, -1)),
        "stores a number in column -1, expected columns from 0 to 2",
    ),
    "places beyond the end": (_damaged("indptr", _changed(STARTS, 8, 25)), INDPTR),
    "places that fall": (_damaged("indptr", _changed(STARTS, 3, 13)), INDPTR),
    "a negative place": (_damaged("indptr", _changed(STARTS, 1, -3)), INDPTR),
    "places from 1 on": (_damaged("indptr", _changed(STARTS, 0, 1)), INDPTR),
    "too few places": (_damaged("indptr", STARTS[:-1]), INDPTR),
    "fewer values": (_damaged("data", VALUES[:20]), INDPTR),
    "fewer columns": (_damaged("indices", COLUMNS[:20]), INDPTR),
    "places whose differences overflow": (
        _damaged("indptr", [0, 6 * 10**18, -9 * 10**18, 5, 5, 5, 5, 5, 5]),
        INDPTR,
    ),
    "places in one number": (_damaged("indptr", 3), "has indptr of shape () and dtype int64"),
    "places that are no whole numbers": (
        _damaged("indptr", STARTS + 0.5),
        "has indptr of shape (9,) and dtype float64, expected one dimension of whole numbers",
    ),
    "columns that are no numbers": (
        _damaged("indices", COLUMNS * np.nan),
        "has indices of shape (24,) and dtype float64, expected one dimension of whole numbers",
    ),
    "columns in two dimensions": (
        _damaged("indices", COLUMNS.reshape(24, 1)),
        "has indices of shape (24, 1) and dtype int64, expected one dimension of whole numbers",
    ),
    "values without memory": (
        _damaged("data", np.empty((24, 0))),
        "has data of shape (24, 0) and dtype float64, expected one dimension",
    ),
    "nan": (
        _damaged("data", _changed(VALUES, 16, np.nan)),
        "holds nan at [5, 1], expected finite numbers",
    ),
    "inf": (
        _damaged("data", _changed(VALUES, 15, np.inf)),
        "holds inf at [5, 0], expected finite numbers",
    ),
    "too large": (
        _damaged("data", _changed(VALUES, 16, 1e300)),
        "holds 1e+300 at [5, 1], too large for float32",
    ),
    "complex": (_damaged("data", VALUES * 1j), "has dtype complex128, expected real numbers"),
    "objects": (_damaged("data", VALUES.astype(object)), "has dtype object, expected real"),
    "CSC with a row too large": (
        _damaged("indices", np.tile(_changed(np.arange(8), 7, 8), 3), scipy.sparse.csc_array),
        "cannot be converted (ValueError: ",
    ),
    "CSC whose columns start out of range and end at 0": (
        _damaged("indptr", [0, 10**9, 2 * 10**9, 0], scipy.sparse.csc_array),
        "cannot be converted (ValueError: indptr does not rise from 0)",
    ),
    "CSC with places whose differences overflow": (
        _damaged("indptr", [0, 6 * 10**18, -9 * 10**18, 5], scipy.sparse.csc_array),
        "cannot be converted (ValueError: indptr does not rise from 0)",
    ),
    "BSR whose rows start out of range and end at 0": (
        _damaged("indptr", [0] + [10**9] * 7 + [0], scipy.sparse.bsr_array),
        "cannot be converted (ValueError: indptr does not rise from 0)",
    ),
    "LIL with a row of too many numbers": (
        _damaged("data", _lists([1.0] * 100_000), scipy.sparse.lil_array),
        "cannot be converted (ValueError: the columns of a row are not as many as its numbers)",
    ),
    "COO with a column too large": (
        _damaged("col", _changed(COLUMNS, 7, 3), scipy.sparse.coo_matrix),
        "cannot be converted (ValueError: ",
    ),
}
"""Matrices of 8 rows and 3 columns, and what follows the name of the array in the message."""
