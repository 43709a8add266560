"""The contenders: the same training step, prediction and epoch, as each library's users write them.

There is one module for each library. Each contender runs in a separate process (worker.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from .base import AbsentError, Contender, has_gpu
from .jax import Jax, JaxCuda
from .ours import GpubpCupy, GpubpCupyLaunched, GpubpNumpy, require_cupy
from .pytorch import Torch, TorchCompile, TorchCuda, TorchCudaCompile, TorchCudaGraph
from .scikit_learn import ScikitLearn

__all__ = [
    "CONTENDERS",
    "AbsentError",
    "Contender",
    "GpubpCupy",
    "GpubpCupyLaunched",
    "GpubpNumpy",
    "ScikitLearn",
    "has_gpu",
    "require_cupy",
]

CONTENDERS: Mapping[str, type[Contender]] = {
    contender.name: contender
    for contender in (
        GpubpNumpy,
        Torch,
        TorchCompile,
        Jax,
        ScikitLearn,
        GpubpCupy,
        GpubpCupyLaunched,
        TorchCuda,
        TorchCudaCompile,
        TorchCudaGraph,
        JaxCuda,
    )
}
