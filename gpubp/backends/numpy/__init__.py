"""The backend for the CPU."""

from __future__ import annotations

from ...kernels.cpu.build import compiler_version
from ..base import Backend
from .arrays import NumpyArrays
from .verbs import NumpyVerbs

__all__ = ["NumpyBackend"]


class NumpyBackend(NumpyArrays, NumpyVerbs, Backend):
    """NumPy arrays, with kernels compiled for the CPU where there is a compiler and `compile` allows it."""

    def __init__(self, compile: bool = True) -> None:
        super().__init__(bool(compile and compiler_version()))
