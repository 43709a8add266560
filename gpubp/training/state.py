"""Copies of a training step's state, to restore later."""

from __future__ import annotations

from collections.abc import Mapping
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
    arrays : dict of arrays
        The arrays by name: "parameters", "counters", "loss_scale" if there is one, and the optimizer's
        state.
    """

    steps_taken: int = 0
    state_of: str = ""
    arrays: dict[str, Array] = field(default_factory=dict)

    def copy_from(self, arrays: Mapping[str, Array]) -> None:
        """Copy the arrays, into the memory of an earlier copy if there is one."""
        if _kinds(arrays) == _kinds(self.arrays):
            for name, array in arrays.items():
                self.arrays[name][...] = array
        else:
            self.arrays = {name: array.copy() for name, array in arrays.items()}

    def __getstate__(self) -> dict[str, Any]:
        on_host = {name: to_host(array) for name, array in self.arrays.items()}
        return vars(self) | {"arrays": on_host}


def _kinds(arrays: Mapping[str, Array]) -> dict[str, Any]:
    return {name: (type(array), array.shape) for name, array in arrays.items()}
