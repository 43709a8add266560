"""The state of a training step, to go back to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backends import Array, backend_of

__all__ = ["State"]


@dataclass
class State:
    """Copies of the arrays that last from one step to the next, and the number of steps taken.

    A pickled state holds NumPy arrays, wherever the arrays were.

    Attributes
    ----------
    steps_taken : int
        The steps that the optimizer had taken.
    state_of : str
        The name of the update that kept the optimizer's state.
    arrays : list of arrays
        The parameters, the counters, the loss scale if there is one, and the optimizer's state.
    """

    steps_taken: int = 0
    state_of: str = ""
    arrays: list[Array] = field(default_factory=list)

    def copy_from(self, arrays: Sequence[Array]) -> None:
        """Copy the arrays, into the memory of an earlier copy where there is one."""
        kinds = [(type(array), array.shape) for array in arrays]
        if kinds == [(type(copy), copy.shape) for copy in self.arrays]:
            for copy, array in zip(self.arrays, arrays, strict=True):
                copy[...] = array
        else:
            self.arrays = [array.copy() for array in arrays]

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"arrays": [_on_host(array) for array in self.arrays]}


def _on_host(array: Array) -> Any:
    owner = backend_of(array)
    return np.asarray(array) if owner is None else owner.to_numpy(array)
