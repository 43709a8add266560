"""The backend for CUDA.

The whole suite has passed on a GPU (docs/gpu.md says on which). Where there is none, the tests run this
folder and the kernels' text on CuPy with emulated devices.
"""

from __future__ import annotations

import importlib
from typing import Any

from ..base import Backend
from . import cublas
from .arrays import CupyArrays
from .verbs import CupyVerbs

__all__ = ["PROVEN", "CupyBackend", "open_cupy"]

PROVEN = True
"""Whether the whole suite has passed on a GPU; `backend="auto"` takes CuPy only then."""


class CupyBackend(CupyArrays, CupyVerbs, Backend):
    """CuPy arrays on one device, the CUDA kernels, and cuBLAS.

    Parameters
    ----------
    cupy : module
        CuPy.
    library : ctypes library
        cuBLAS, as `cublas.load_library` gives it.
    device : int
        Numbered from 0.
    graphs : bool
        Whether steps become CUDA graphs where they can, else lists of launches.
    """

    def __init__(self, cupy: Any, library: Any, device: int = 0, graphs: bool = True) -> None:
        CupyArrays.__init__(self, cupy, device)
        CupyVerbs.__init__(self, library, graphs)


def open_cupy(device: int = 0, graphs: bool = True) -> CupyBackend:
    """The backend with the CuPy that is installed.

    Parameters
    ----------
    device : int
        Numbered from 0.
    graphs : bool
        Whether steps become CUDA graphs.

    Raises
    ------
    ImportError
        CuPy or cuBLAS does not load.
    """
    return CupyBackend(importlib.import_module("cupy"), cublas.load_library(), device, graphs)
