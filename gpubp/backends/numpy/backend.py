"""The CPU backend, assembled from its three parts."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np

from ...kernels.cpu.build import made_by
from ...kernels.cpu.system import processor_name
from ..base import Backend
from .arrays import NumpyArrays
from .blas_threads import get_threads
from .columns import ColumnVerbs

__all__ = ["NumpyBackend", "find", "names", "owner", "the_backend"]


class NumpyBackend(NumpyArrays, ColumnVerbs, Backend):
    """NumPy arrays, with kernels compiled for the CPU or their NumPy twins.

    Parameters
    ----------
    compile : bool, default True
        Whether to compile kernels, if there is a compiler.
    """

    def __init__(self, compile: bool = True) -> None:
        super().__init__(compile)

    @property
    def device(self) -> str:
        threads = get_threads()
        plural = "thread" if threads == 1 else "threads"
        kernels = made_by() if self.compiles else f"NumPy {np.__version__}"
        processor = f"{processor_name()} ({os.cpu_count()} cores)"
        return f"{processor}, {threads} {plural}, kernels by {kernels}"


@cache
def the_backend() -> NumpyBackend:
    """Return the backend that `find` and `owner` return, always the same object."""
    return NumpyBackend()


def names() -> list[str]:
    """List the backend's name; it can run on every machine."""
    return ["numpy"]


def find(name: str) -> NumpyBackend | None:
    """Return the backend if `name` is its name, else None."""
    return the_backend() if name == "numpy" else None


def owner(array: Any) -> NumpyBackend | None:
    """Return the backend if `array` is a NumPy array, else None."""
    return the_backend() if isinstance(array, np.ndarray) else None
