"""CuPy for the GPU checks: on a GPU, or with GPUBP_TEST_BACKENDS=cupy-on-host on emulated devices."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["ON_HOST", "import_cupy", "open_backend"]

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for `support` and `gpu_check`

_until_the_end = contextlib.ExitStack()
ON_HOST = os.environ.get("GPUBP_TEST_BACKENDS") == "cupy-on-host"


def import_cupy() -> Any:
    """Import CuPy so that it finds devices, real or emulated."""
    if ON_HOST:
        _put_on_host()
    return importlib.import_module("cupy")


@cache
def _put_on_host() -> None:
    from support.cupy_on_host import gpus, install

    from gpubp.backends.cupy import cublas, cublaslt

    if gpus()[0]:
        raise RuntimeError("GPUBP_TEST_BACKENDS is cupy-on-host, but there is a GPU")
    cuda = install()
    _until_the_end.enter_context(cuda.devices())
    cublas.load_library = lambda: cuda.cublas
    cublaslt.load_library = lambda: cuda.cublaslt


def open_backend(graphs: bool = False) -> Any:
    """Open the CuPy backend on the first device; it captures steps only with `graphs`."""
    from gpubp.backends.cupy import open_cupy

    import_cupy()
    return open_cupy(0, graphs)
