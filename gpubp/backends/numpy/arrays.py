"""NumPy arrays."""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np

from ...kernels import Precision
from ...kernels.cpu.build import compiler_version
from ...kernels.cpu.source import readable
from ..base import Array, Arrays
from . import blas

__all__ = ["NumpyArrays"]


class NumpyArrays(Arrays):
    """Arrays in the machine's memory."""

    name = "numpy"
    xp = np
    compiles: bool

    @property
    def device(self) -> str:
        threads = blas.get_threads()
        plural = "thread" if threads == 1 else "threads"
        kernels = compiler_version() if self.compiles else f"NumPy {np.__version__}"
        return f"{_processor()}, {threads} {plural}, kernels by {kernels}"

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
        """Nothing to wait for: verbs have run when they return."""


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [
                line.partition(":")[2].strip() for line in lines if line.startswith("model name")
            ]
    except OSError:
        names = []
    return (names or [platform.processor() or platform.machine()])[0] + f" ({os.cpu_count()} cores)"
