"""The threads of Accelerate, macOS's BLAS, which SciPy's wheels for macOS 14 and later use.

threadpoolctl does not know it. It decides itself how many threads a product has. Since macOS 15 each thread
of a process can have its products computed by itself alone. Before that, products are left to Accelerate.

This file has never run on a Mac; the tests give it a made-up library.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any

import scipy

from ...kernels.cpu.system import is_mac, performance_cores

__all__ = ["Controller", "controller", "is_scipys", "use_one_thread"]

PLACE = "/System/Library/Frameworks/Accelerate.framework/Accelerate"
MANY, ONE = 0, 1
"""The values of Accelerate's type BLAS_THREADING: products have several threads, or one."""


class Controller:
    """Gets and sets the number of threads of the products that the calling thread computes.

    Parameters
    ----------
    library : ctypes library
        Accelerate.
    threads : int
        The number that means "several": Accelerate tells none.
    """

    def __init__(self, library: Any, threads: int) -> None:
        self._library, self._threads = library, threads

    def get(self) -> int:
        """Return the number of threads of this thread's products."""
        return 1 if self._library.BLASGetThreading() == ONE else self._threads

    def set(self, count: int) -> None:
        """Set one thread, or any number of threads if `count` is not 1."""
        self._library.BLASSetThreading(ONE if count == 1 else MANY)


def is_scipys() -> bool:
    """Whether SciPy's BLAS is Accelerate."""
    if not is_mac():
        return False
    try:
        built_with: Any = scipy.show_config(mode="dicts")
        return "accelerate" in built_with["Build Dependencies"]["blas"]["name"].lower()
    except (TypeError, KeyError):  # SciPy before 1.11, whose wheels have OpenBLAS
        return False


@cache
def controller() -> Controller | None:
    """Return the controller of SciPy's BLAS; None if it is not Accelerate or has no such functions."""
    if not is_scipys():
        return None
    try:
        library = ctypes.PyDLL(PLACE)
    except OSError:
        return None
    return Controller(library, _threads()) if hasattr(library, "BLASSetThreading") else None


def use_one_thread() -> None:
    """Let Accelerate compute this thread's products in this thread, for as long as it lives."""
    found = controller()
    if found is not None:
        found.set(1)


def _threads() -> int:
    """Return the number of fast cores, or VECLIB_MAXIMUM_THREADS if that is less."""
    limit = os.environ.get("VECLIB_MAXIMUM_THREADS", "")
    cores = performance_cores()
    return min(cores, int(limit)) if limit.isdecimal() and int(limit) else cores
