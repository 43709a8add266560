"""Errors for arrays that do not fit into memory: they say how much is needed and how much is free."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .backends import Array, Backend
from .kernels import Precision
from .kernels.columns import Columns

__all__ = ["Tally", "allocated", "no_room"]

_Made = TypeVar("_Made")


def allocated(make: Callable[[], _Made], what: str, size: int, backend: Backend) -> _Made:
    """Return the result of `make`, or raise the error of `no_room` if memory is too small for it.

    Raises
    ------
    MemoryError
        If `make` raises one.
    """
    try:
        return make()
    except MemoryError:
        pass
    # This is outside the handler, because the exception keeps the arrays of the attempt alive.
    raise no_room(what, size, backend)


def no_room(what: str, size: int, backend: Backend) -> MemoryError:
    """Make the error for arrays that do not fit into memory.

    Parameters
    ----------
    what : str
        A name for the arrays, as the subject of a sentence.
    size : int
        The bytes of its arrays.
    backend : Backend
        The backend whose memory is too small.
    """
    free = backend.free_memory()
    had = "" if free is None else f", and {_mib(free)} are free"
    return MemoryError(
        f"{what} has no room in memory, on {backend.name}: it needs at least {_mib(size)}{had}"
    )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


class Tally:
    """Stands in for a backend's `empty`, `columns` and `operands`: it adds up sizes, and makes no array.

    Parameters
    ----------
    backend : Backend
        The backend that it stands in for.

    Attributes
    ----------
    size : int
        The bytes of all arrays so far.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend, self.size = backend, 0

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        """Add the size of this array; return one of its shape and dtype that takes no memory."""
        array = np.broadcast_to(np.empty((), dtype), shape)
        self.size += array.nbytes
        return array

    def columns(self, rows: int, n: int, dtype: Any) -> Columns:
        """Add the size of this matrix; return one that takes no memory."""
        return Columns(self.empty((n, Columns.leading_for(rows, dtype)), dtype), rows)

    def operands(self, shape: tuple[int, ...], precision: Precision) -> Array:
        """Add the size of this array of matmul operands, as `empty` does."""
        return self.empty(shape, self._backend.operands((0,), precision).dtype)
