"""Addresses of the rows that compiled kernels read."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from ..sparse_rows import SparseRows
from ..typing import Array

__all__ = ["Source", "SparseSource", "readable"]

SOURCE_TYPES = ("float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64",
                "uint64")  # fmt: skip
"""The types that gather reads. A type's index is its number in batch.cpp."""

TYPE_NUMBERS = {np.dtype(name): number for number, name in enumerate(SOURCE_TYPES)}


class Source:
    """The address of one field of a `Rows`; the field may be a different array at each replay.

    It holds no reference to the field's array. If gather cannot read the array itself, it holds a copy.

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

    def refresh(self) -> None:
        """Update the slots from the current field, order and stride."""
        array, order = getattr(self._rows, self._field), self._rows.order
        self.slots[2] = self._rows.stride
        same_order = self.slots[1] == 0 if order is None else self._order() is order
        if same_order and self._array() is array:
            return
        copies = self._point_to(array)
        if order is not None and (order.dtype != np.int64 or not order.flags.c_contiguous):
            positions = np.ascontiguousarray(order, np.int64)
            copies.append(positions)
        else:
            positions = order
        self.slots[1] = 0 if positions is None else _address(positions)
        self._array = weakref.ref(array)
        self._order = _dead if order is None else weakref.ref(order)
        self._copies = tuple(copies)

    def _point_to(self, array: Any) -> list[Array]:
        """Write what the slots say about the field's array; return the copies that they point to."""
        read, copies = array, []
        if array.dtype not in TYPE_NUMBERS or not array.flags.c_contiguous:
            read = readable(array)
            if _address(read) != _address(array):
                copies.append(read)
        self.slots[0], self.slots[3] = _address(read), TYPE_NUMBERS[read.dtype]
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
        self.slots[0], *self.slots[3:] = map(_address, array.arrays)
        return []


def _dead() -> None:
    """Return None, like a weak reference to an array that no longer exists."""


def _address(array: Array) -> int:
    """Return the address of the elements; `array.ctypes.data` takes twice as long."""
    return int(array.__array_interface__["data"][0])


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
