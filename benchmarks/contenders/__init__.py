"""The contenders: the same training step, prediction and epoch, as each library's users write them.

There is one module for each library. Each contender runs in a separate process (worker.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from .base import AbsentError, Contender, Predictor, has_gpu
from .jax import Jax, JaxCuda, JaxScan
from .ours import GpubpCupy, GpubpCupyLaunched, GpubpNumpy, GpubpNumpyFit, require_cupy
from .pytorch import (
    Torch,
    TorchCompile,
    TorchCompileOneThread,
    TorchCuda,
    TorchCudaCompile,
    TorchCudaGraph,
    TorchOneThread,
)
from .runtimes import OnnxRuntime, OnnxRuntimeOneThread, OpenVino, OpenVinoOneThread
from .scikit_learn import ScikitLearn

__all__ = [
    "CONTENDERS",
    "AbsentError",
    "Contender",
    "GpubpCupy",
    "GpubpCupyLaunched",
    "GpubpNumpy",
    "GpubpNumpyFit",
    "Predictor",
    "ScikitLearn",
    "has_gpu",
    "require_cupy",
]

CONTENDERS: Mapping[str, type[Predictor]] = {
    contender.name: contender
    for contender in (
        GpubpNumpy,
        GpubpNumpyFit,
        Torch,
        TorchOneThread,
        TorchCompile,
        TorchCompileOneThread,
        Jax,
        JaxScan,
        ScikitLearn,
        OnnxRuntime,
        OnnxRuntimeOneThread,
        OpenVino,
        OpenVinoOneThread,
        GpubpCupy,
        GpubpCupyLaunched,
        TorchCuda,
        TorchCudaCompile,
        TorchCudaGraph,
        JaxCuda,
    )
}
