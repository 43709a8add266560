"""Addresses of the rows that compiled kernels read."""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

import numpy as np

from ..sparse_rows import SparseRows
from ..typing import Array

__all__ = ["Source", "SparseSource", "address", "is_readable", "readable"]

SOURCE_TYPES = ("float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64",
                "uint64")  # fmt: skip
"""The types that gather reads. A type's index is its number in batch.cpp."""

TYPE_NUMBERS = {np.dtype(name): number for number, name in enumerate(SOURCE_TYPES)}


MOST_COPIED = 4096
"""The most bytes of rows without an order that are copied at each replay: to copy them to a place whose
address is known takes a third of the time that NumPy takes to tell an address."""


class Source:
    """The address of one field of a `Rows`; the field may be a different array at each replay.

    It holds no reference to the field's array. If gather cannot read the array itself, it holds a copy. Few
    rows without an order are always copied.

    Parameters
    ----------
    rows : gpubp.backends.Rows
        The arrays, their order and the stride.
    field : str
        "x", "y" or "weights".

    Attributes
    ----------
    slots : array of int64, shape (5,)
        The address of the field, that of the order, the stride, then the number of the field's type.
    """

    def __init__(self, rows: Any, field: str) -> None:
        self._rows, self._field = rows, field
        self.slots = np.zeros(5, np.int64)
        self._array: Any = _dead
        self._order: Any = _dead
        self._copies: tuple[Any, ...] = ()
        self._place: Any = None  # the copy of few rows, if the slots point to it

    def refresh(self) -> None:
        """Update the slots from the current field, order and stride."""
        rows, place = self._rows, self._place
        array, order = getattr(rows, self._field), rows.order
        self.slots[2] = rows.stride
        if place is not None:
            if order is None and array.shape == place.shape and array.dtype == place.dtype:
                place[...] = array
                return
            self._place = None
        elif self._array() is array and (
            self._order is _dead if order is None else self._order() is order
        ):
            return
        self._find(array, order)

    def _find(self, array: Any, order: Array | None) -> None:
        """Update the slots from another array or order."""
        if order is None and self._is_copied(array):
            self._place = array = np.array(array, order="C")
        copies, positions = self._point_to(array), order
        if order is not None and (order.dtype != np.int64 or not order.flags.c_contiguous):
            positions = np.ascontiguousarray(order, np.int64)
            copies.append(positions)
        self.slots[1] = 0 if positions is None else address(positions)
        self._array = weakref.ref(array)
        self._order = _dead if order is None else weakref.ref(order)
        self._copies = tuple(copies)

    def _is_copied(self, array: Any) -> bool:
        """Whether to copy the array at each replay."""
        return array.nbytes <= MOST_COPIED and array.dtype in TYPE_NUMBERS

    def _point_to(self, array: Any) -> list[Array]:
        """Write what the slots say about the field's array; return the copies that they point to."""
        read, copies = array, []
        if not is_readable(array):
            read = readable(array)
            if address(read) != address(array):
                copies.append(read)
        self.slots[0], self.slots[3] = address(read), TYPE_NUMBERS[read.dtype]
        return copies

    def release(self) -> None:
        """Drop copies, because their originals may change before the next replay."""
        if self._copies:
            self._copies = ()
            self._array = self._order = _dead


class SparseSource(Source):
    """The addresses of a field that is a `SparseRows`.

    Attributes
    ----------
    slots : array of int64, shape (5,)
        The address of the values, that of the order, the stride, then those of the indices and the starts.
    """

    def _point_to(self, array: SparseRows) -> list[Array]:
        self.slots[0], *self.slots[3:] = map(address, array.arrays)
        return []

    def _is_copied(self, array: Any) -> bool:
        return False


def _dead() -> None:
    """Return None, like a weak reference to an array that no longer exists."""


def address(array: Array) -> int:
    """Return the address of an array's elements; to ask NumPy takes four times as long as a buffer."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    except (TypeError, ValueError):  # it is read-only, not contiguous or empty
        return int(array.__array_interface__["data"][0])


def is_readable(array: Array) -> bool:
    """Whether gather can read the array itself."""
    return array.dtype in TYPE_NUMBERS and bool(array.flags.c_contiguous)


def readable(array: Array) -> Array:
    """Return the array if gather can read it, else a dense copy in one of `SOURCE_TYPES`."""
    dense = np.ascontiguousarray(array)
    if dense.dtype == np.bool_:
        return dense.view(np.uint8)
    if dense.dtype in TYPE_NUMBERS:
        return dense
    if dense.dtype.newbyteorder("=") in TYPE_NUMBERS:
        return dense.astype(dense.dtype.newbyteorder("="))
    return dense.astype(np.float32 if dense.dtype.itemsize <= 2 else np.float64)
