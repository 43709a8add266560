"""NumPy arrays."""

from __future__ import annotations

import mmap
import sys
from typing import Any

import numpy as np

from ...kernels import Precision
from ...kernels.cpu.source import is_readable, readable
from ..base import Array, Arrays

__all__ = ["NumpyArrays"]


class NumpyArrays(Arrays):
    """Arrays in the machine's memory."""

    name = "numpy"
    xp = np

    def operands(self, shape: tuple[int, ...], precision: Precision) -> Array:
        return np.empty(shape, np.float32)

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        if dtype is None and type(values) is np.ndarray and values.ndim and is_readable(values):
            return values
        array = np.ascontiguousarray(values, dtype)
        return array if array.dtype.kind in "biu" else readable(array)

    def to_numpy(self, array: Array) -> Any:
        return np.asarray(array)

    def owns(self, array: Any) -> bool:
        return isinstance(array, np.ndarray)

    def free_memory(self) -> int | None:
        try:
            return min(_available(), _left_of_limit())
        except (OSError, StopIteration):  # only Linux has these files
            return None

    def synchronize(self) -> None:
        """Do nothing: verbs have finished when they return."""


def _available() -> int:
    """Return the bytes that the system can give to processes."""
    with open("/proc/meminfo", encoding="ascii") as lines:
        size = next(line for line in lines if line.startswith("MemAvailable:"))
    return int(size.split()[1]) * 1024


def _left_of_limit() -> int:
    """Return the bytes that the process may still map, if `ulimit -v` limits them."""
    with open("/proc/self/limits", encoding="ascii") as lines:
        limit = next(line for line in lines if line.startswith("Max address space")).split()[3]
    if limit == "unlimited":
        return sys.maxsize
    with open("/proc/self/statm", encoding="ascii") as pages:
        return int(limit) - int(pages.read().split()[0]) * mmap.PAGESIZE
