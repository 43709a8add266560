"""Copies of a training step's state, to restore later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..arrays import to_host
from ..backends import Array

__all__ = ["State"]


@dataclass
class State:
    """Copies of the arrays that one step passes to the next, and the number of steps taken.

    A pickled state holds NumPy arrays, also if the arrays were on a device.

    Attributes
    ----------
    steps_taken : int
        The number of steps since the optimizer's state began.
    state_of : str
        The name of the update that the optimizer's state belongs to.
    arrays : list of arrays
        The parameters, the counters, the loss scale if there is one, and the optimizer's state.
    """

    steps_taken: int = 0
    state_of: str = ""
    arrays: list[Array] = field(default_factory=list)

    def copy_from(self, arrays: Sequence[Array]) -> None:
        """Copy the arrays, into the memory of an earlier copy if there is one."""
        kinds = [(type(array), array.shape) for array in arrays]
        if kinds == [(type(copy), copy.shape) for copy in self.arrays]:
            for copy, array in zip(self.arrays, arrays, strict=True):
                copy[...] = array
        else:
            self.arrays = [array.copy() for array in arrays]

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"arrays": [to_host(array) for array in self.arrays]}
