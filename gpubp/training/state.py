"""Copies of a training step's state, to restore later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..arrays import home_of, to_host
from ..backends import Array
from ..memory import allocated

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
        if arrays.keys() == self.arrays.keys() and all(
            map(_are_alike, arrays.values(), map(self.arrays.get, arrays))
        ):
            for name, array in arrays.items():
                self.arrays[name][...] = array
        else:
            self.arrays = allocated(
                lambda: {name: array.copy() for name, array in arrays.items()},
                "a copy of the parameters and the optimizer's state",
                sum(array.nbytes for array in arrays.values()),
                home_of(next(iter(arrays.values()))),
            )

    def __getstate__(self) -> dict[str, Any]:
        on_host = {name: to_host(array) for name, array in self.arrays.items()}
        return vars(self) | {"arrays": on_host}


def _are_alike(array: Array, copy: Array) -> bool:
    return type(array) is type(copy) and array.shape == copy.shape
