"""NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels import Precision
from ...kernels.cpu.source import readable
from ..base import Array, Arrays

__all__ = ["NumpyArrays"]


class NumpyArrays(Arrays):
    """Arrays in the machine's memory."""

    name = "numpy"
    xp = np

    def operands(self, shape: tuple[int, ...], precision: Precision) -> Array:
        return np.empty(shape, np.float32)

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        array = np.ascontiguousarray(values, dtype)
        return array if array.dtype.kind in "biu" else readable(array)

    def to_numpy(self, array: Array) -> Any:
        return np.asarray(array)

    def owns(self, array: Any) -> bool:
        return isinstance(array, np.ndarray)

    def synchronize(self) -> None:
        """Do nothing: verbs have finished when they return."""
