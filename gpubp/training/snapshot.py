"""What a fit can go back to."""

from __future__ import annotations

from collections.abc import Iterable

from ..backends import Array

__all__ = ["Snapshot"]


class Snapshot:
    """Copies of arrays and the steps taken until then; taken again, it is written into the same memory."""

    def __init__(self) -> None:
        self._steps_taken = 0
        self._copies: list[Array] = []

    def take(self, steps_taken: int, arrays: Iterable[Array]) -> None:
        """Copy the arrays."""
        arrays, self._steps_taken = list(arrays), steps_taken
        if len(arrays) != len(self._copies):
            self._copies = [array.copy() for array in arrays]
            return
        for copy, array in zip(self._copies, arrays, strict=True):
            copy[...] = array

    def give_back(self, arrays: Iterable[Array]) -> int:
        """Write the copies into the arrays they were taken of; the steps taken until then."""
        for array, copy in zip(arrays, self._copies, strict=True):
            array[...] = copy
        return self._steps_taken
