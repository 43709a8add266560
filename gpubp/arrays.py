"""Convert and move a user's arrays, and find the device they are on."""

from __future__ import annotations

from typing import Any

import numpy as np

from .backends import Array, Backend, SparseRows, backend_of, get_backend
from .errors import BackendUnavailableError
from .foreign import refusal
from .kernels.messages import shortened, shown
from .memory import allocated

__all__ = [
    "as_array",
    "dense",
    "home_of",
    "is_on_host",
    "is_sparse",
    "move",
    "namespace",
    "take",
    "to_host",
]


def home_of(values: Any) -> Backend:
    """Return the backend of an array; NumPy's for everything that is not an array of another backend."""
    backend = backend_of(values)
    if backend is None and is_sparse(values):
        stored = values.values if isinstance(values, SparseRows) else getattr(values, "data", None)
        backend = backend_of(stored)
    return get_backend("numpy") if backend is None else backend


def namespace(array: Array) -> Any:
    """Return the array's namespace: numpy or cupy."""
    return home_of(array).xp


def is_on_host(values: Any) -> bool:
    """Whether `values` is in the host's memory, like lists, data frames and NumPy arrays."""
    return namespace(values) is np


def is_sparse(values: Any) -> bool:
    """Whether `values` is `SparseRows`, or a matrix of SciPy, CuPy or a library with the same names."""
    # The class is asked, because a matrix whose arrays do not fit each other cannot count its numbers.
    is_matrix = hasattr(values, "toarray") and hasattr(type(values), "nnz")
    return is_matrix or isinstance(values, SparseRows)


def as_array(name: str, values: Any, instead: str = "") -> Array:
    """Convert `values` to an array of real numbers on the same device.

    Parameters
    ----------
    name : str
        The name of the values in error messages.
    values : array_like
        A NumPy or CuPy array, an object with `__array__`, `__dlpack__` or `__cuda_array_interface__`, or
        nested sequences of numbers.
    instead : str, default ""
        What to do with text, for the error message.

    Returns
    -------
    array
        A NumPy or CuPy array in the machine's byte order; `values` itself if it is such an array.

    Raises
    ------
    ValueError
        If the values are masked, sparse or ragged, are not real numbers, or their library does not give
        them away.
    """
    if values is None or isinstance(values, str):
        raise ValueError(f"{name} is {shown(values)}, expected an array of real numbers")
    if isinstance(values, np.ndarray):
        if type(values) is not np.ndarray and isinstance(values, np.ma.MaskedArray):
            raise ValueError(
                f"{name} is a masked array, expected a number everywhere, as its .filled(value) has"
            )
        array = values
    elif is_sparse(values):
        raise ValueError(f"{name} is sparse, expected a dense array, as its .toarray() gives")
    elif told := refusal(name, values):
        raise ValueError(told)
    else:
        home = home_of(values)
        try:
            with home.use():
                array = _converted(values, home)
        except (MemoryError, BackendUnavailableError):
            raise
        except Exception as error:  # each library has other errors, for bfloat16 for example
            came = f"{type(error).__name__}: {shortened(error)}"
            expected = "expected an array of real numbers"
            raise ValueError(f"{name} cannot be converted ({came}), {expected}") from error
    foreign = array.dtype.isbuiltin == 2  # of the package ml_dtypes, such as JAX's bfloat16
    if foreign or array.dtype.kind not in "fiub":
        instead = instead if array.dtype.kind in "OSTU" else ""
        hint = f", as {name}.astype('float32') gives" if foreign else instead
        raise ValueError(f"{name} has dtype {shortened(array.dtype)}, expected real numbers{hint}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _converted(values: Any, home: Backend) -> Array:
    """Convert values that are neither a NumPy array nor sparse."""
    if home.xp is not np:
        return home.xp.asarray(values)
    if hasattr(values, "__dlpack_device__") and not hasattr(values, "__array__"):
        on_cpu = values.__dlpack_device__()[0] == 1
        return np.from_dlpack(values) if on_cpu else get_backend("cupy").xp.from_dlpack(values)
    return np.asarray(values)


def move(array: Array, backend: Backend) -> Array:
    """Move `array` to `backend`.

    Parameters
    ----------
    array : array_like
        An array of any backend, or an object that NumPy converts to an array.
    backend : Backend
        The backend to move it to.

    Returns
    -------
    array
        A C-contiguous array on the backend: `array` itself if it is one, else a copy.
    """
    if backend.owns(array):
        return array if array.flags.c_contiguous else backend.asarray(array)
    home = home_of(array)
    return allocated(
        lambda: backend.asarray(array if home is backend else home.to_numpy(array)),
        f"an array of shape {np.shape(array)}",
        getattr(array, "nbytes", 0),
        backend,
    )


def to_host(values: Any) -> Any:
    """Convert an array or sparse matrix on a device to NumPy or SciPy; return anything else unchanged."""
    if is_on_host(values):
        return values
    return values.get() if is_sparse(values) else home_of(values).to_numpy(values)


def take(array: Array, rows: Any) -> Array:
    """Return the rows with these indices, on the device of the array, sparse matrix or `SparseRows`."""
    home = home_of(array)
    with home.use():
        chosen = home.asarray(rows)
        return array.take(chosen) if isinstance(array, SparseRows) else array[chosen]


def dense(values: Any) -> Any:
    """Convert a sparse matrix to an array; return anything else unchanged."""
    return values.toarray() if is_sparse(values) else values
