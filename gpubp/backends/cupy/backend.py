"""The CUDA backend, assembled from its three parts."""

from __future__ import annotations

from typing import Any

from ..base import Backend
from .arrays import CupyArrays
from .fused import FusedVerbs

__all__ = ["CupyBackend"]


class CupyBackend(CupyArrays, FusedVerbs, Backend):
    """CuPy arrays on one device, the CUDA kernels, and cuBLAS.

    Parameters
    ----------
    cupy : module
        CuPy.
    library : ctypes library
        cuBLAS, from `cublas.load_library`.
    device : int, default 0
        The device's number, from 0.
    graphs : bool, default True
        Whether steps become CUDA graphs if CUDA can capture them. Otherwise they become lists of launches.
    fused : bool, default False
        Whether steps use the fused launches that have not run on a GPU yet.
    form : {"rows", "elementwise"}, default "rows"
        How bias and activation, the product with σ′, and the output delta are launched.
    """

    def __init__(
        self,
        cupy: Any,
        library: Any,
        device: int = 0,
        graphs: bool = True,
        fused: bool = False,
        form: str = "rows",
    ) -> None:
        CupyArrays.__init__(self, cupy, device)
        FusedVerbs.__init__(self, library, graphs, fused, form)
