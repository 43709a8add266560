"""CuPy for the GPU checks: the real one, or in a rehearsal, with GPUBP_TEST_BACKENDS=cupy-on-host, its
stand-in."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

__all__ = ["ON_HOST", "import_cupy", "open_backend"]

ON_HOST = os.environ.get("GPUBP_TEST_BACKENDS") == "cupy-on-host"


def import_cupy() -> Any:
    """The module."""
    if ON_HOST and "fake_cupy" not in sys.modules:
        from fake_cupy import fake_cublas_library, fake_cupy_modules

        from gpubp.backends import cublas

        sys.modules.update(fake_cupy_modules())
        cublas.load_library = fake_cublas_library
    return importlib.import_module("cupy")


def open_backend(graphs: bool = False) -> Any:
    """The CuPy backend on the first device, which captures steps only with `graphs`."""
    from gpubp.backends.cupy import open_cupy

    import_cupy()
    return open_cupy(0, graphs)
