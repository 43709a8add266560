"""Read rows of streamed data, and check that they are the rows that were asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import as_array, is_sparse
from ..backends import Array, backend_of
from ..kernels.messages import shortened, shown

__all__ = ["Source", "is_source"]


def is_source(data: Any) -> bool:
    """Whether the data are to be read batch by batch."""
    if isinstance(data, np.memmap):
        return True
    array_like = (
        backend_of(data) is not None or hasattr(data, "__array__") or hasattr(data, "__dlpack__")
    )
    has_rows = hasattr(data, "shape") and hasattr(data, "__getitem__") and not is_sparse(data)
    return has_rows and (not array_like or type(data).__module__.partition(".")[0] == "h5py")


class Source:
    """Data that are read batch by batch.

    A kernel that gathers rows trusts their number. So what the data give is checked at every reading.

    Parameters
    ----------
    name : str
        The name of the data in error messages.
    data : sliceable object with a shape
        The data: a numpy.memmap, an h5py data set, or another object with a shape that can be sliced.

    Attributes
    ----------
    shape : tuple of int
        The shape that the data had at first.

    Raises
    ------
    ValueError
        If the shape is not a tuple of whole numbers.
    """

    def __init__(self, name: str, data: Any) -> None:
        self._name, self._data = name, data
        shape = data.shape
        whole = isinstance(shape, tuple | list) and all(
            isinstance(length, int | np.integer) and length >= 0 for length in shape
        )
        if not whole:
            raise ValueError(f"{name} has shape {shown(shape)}, expected a tuple of whole numbers")
        self.shape = tuple(int(length) for length in shape)

    def read(self, rows: Any) -> Array:
        """Read the rows with these rising indices.

        Neighbours are read by one slice. Other rows are read by an index array or, if the data take none,
        one by one.

        Raises
        ------
        ValueError
            If the data give something else than numbers of the shape that was asked for.
        OSError
            If the data raised an OSError, which is the cause.
        RuntimeError
            If the data raised another error, which is the cause.
        """
        first, last = int(rows[0]), int(rows[-1])
        are_neighbours = last - first == len(rows) - 1
        try:
            given = self._data[slice(first, last + 1) if are_neighbours else rows]
        except MemoryError:
            raise
        except Exception as error:
            if not are_neighbours and isinstance(error, TypeError | IndexError | KeyError):
                return np.concatenate([self.read(rows[k : k + 1]) for k in range(len(rows))])
            kind = OSError if isinstance(error, OSError) else RuntimeError
            came = f"{type(error).__name__}: {shortened(error)}"
            raise kind(f"{self._name} gave no {_listed(rows)} but an error, {came}") from error
        return self._checked(given, rows)

    def _checked(self, given: Any, rows: Any) -> Array:
        name = f"a batch of {self._name}"
        array, expected = as_array(name, given), (len(rows), *self.shape[1:])
        if array.shape != expected:
            raise ValueError(
                f"{name} has shape {array.shape}, expected {expected}, {_listed(rows)}"
            )
        return array


def _listed(rows: Any) -> str:
    first, last = int(rows[0]), int(rows[-1])
    if first == last:
        return f"row {first}"
    return f"{len(rows)} rows from row {first} to {last}"
